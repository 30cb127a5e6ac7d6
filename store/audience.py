"""Whom would a campaign reach, and who of the selected contacts is left out for which reason?

Statements only: whoever runs them does so within the company (row security) and gives its id here as well. Values
are parameters, so statements for audiences of the same shape have the same text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import (
    Integer,
    Text,
    and_,
    case,
    exists,
    func,
    literal,
    literal_column,
    null,
    select,
    union_all,
)

from store.filters import Filter, condition
from store.models import CampaignType, Contact, Suppression
from store.sql_types import AnyColumn, AnyExpression, AnySelect
from store.suppression import trimmed


class ExclusionReason(StrEnum):
    """Why a selected contact is not reached; of several reasons the first in this order counts.

    CONSENT_MISSING: never asked counts as no. SUPPRESSED: the company does not mail to the address any more.
    DUPLICATE_ADDRESS: an included contact that was created earlier (of those created at once, the one with the smaller
    id) has the same address.
    """

    CONSENT_WITHDRAWN = "CONSENT_WITHDRAWN"
    CONSENT_MISSING = "CONSENT_MISSING"
    NO_ADDRESS = "NO_ADDRESS"
    SUPPRESSED = "SUPPRESSED"
    DUPLICATE_ADDRESS = "DUPLICATE_ADDRESS"


@dataclass(frozen=True)
class Audience:
    """The contacts that a filter selects, as a campaign of a type would reach them."""

    type: CampaignType
    filter: Filter


@dataclass(frozen=True)
class Channel:
    """How contacts are reached: whether they agreed (null: never asked), and their address (null: none), such that
    equal addresses reach the same.

    `written`: the address as it is used, where it is one line (null otherwise). `suppressible`: whether addresses can
    be suppressed.
    """

    consent: AnyExpression
    address: AnyColumn
    written: AnyColumn
    suppressible: bool = False


NOTHING = literal_column("''", Text())
NO_LINE = literal_column("NULL", Text())


def email_address() -> AnyColumn:
    """The e-mail address in small letters, without spaces around it, if it has an @ between characters."""
    email = Contact.folded_email
    return case((email.like(literal_column("'%_@_%'", Text())), trimmed(email)))


def postal_address() -> AnyColumn:
    """The lines of a letter in small letters, if there are a street address and a zip code or a city."""
    lines = (
        Contact.folded_first_name,
        Contact.folded_last_name,
        func.lower(Contact.address),
        Contact.folded_zip_code,
        Contact.folded_city,
        Contact.folded_state_region,
        Contact.folded_country,
    )
    written = func.concat_ws(literal_column("chr(10)"), *(func.nullif(line, NOTHING) for line in lines))
    place = func.concat(Contact.zip_code, Contact.city)
    return case((and_(Contact.address != NOTHING, place != NOTHING), written))


def telephone_number() -> AnyColumn:
    """The digits and plus signs of the mobile number, else of the landline number."""
    return func.coalesce(dialled(Contact.mobile_phone_number), dialled(Contact.landline_phone_number))


def dialled(number: AnyExpression) -> AnyColumn:
    """What is dialled of a number as people write it; null without a digit."""
    kept = func.regexp_replace(number, literal_column("'[^0-9+]'"), NOTHING, literal_column("'g'"))
    return case((number.regexp_match(literal_column("'[0-9]'", Text())), kept))


CHANNELS = {
    CampaignType.EMAIL: Channel(
        Contact.email_consent_given, email_address(), trimmed(Contact.email), suppressible=True
    ),
    CampaignType.LETTER: Channel(Contact.letter_consent_given, postal_address(), NO_LINE),
    CampaignType.TELEPHONE: Channel(Contact.call_consent_given, telephone_number(), telephone_number()),
}


def included_contacts(company_id: int, audience: Audience) -> AnySelect:
    """The contacts that are reached: `contact_id` (UUID), `created_at` and `address`, in no order, to build upon.

    `address`: the e-mail address without spaces around it, the number that is dialled, or null for letters.
    """
    verdicts = classified(company_id, audience).subquery()
    columns = verdicts.c.contact_id, verdicts.c.created_at, verdicts.c.address
    return select(*columns).where(verdicts.c.reason.is_(None))


def audience_counts(company_id: int, audiences: Sequence[Audience]) -> AnySelect:
    """How many contacts of each audience (there is at least one) are reached or not.

    Rows of `position` (in `audiences`, from 0), `reason` (an `ExclusionReason` as text; None: reached) and `contacts`
    (an int above 0; what is nought has no row).
    """
    counts = []
    for position, audience in enumerate(audiences):
        verdicts = classified(company_id, audience).subquery()
        at = literal(position, Integer()).label("position")
        counted = select(at, verdicts.c.reason, func.count().label("contacts")).group_by(verdicts.c.reason)
        counts.append(counted)
    return select(union_all(*counts).subquery())


def audience_samples(company_id: int, audiences: Sequence[Audience], size: int) -> AnySelect:
    """The newest contacts of each audience that are reached, at most `size` of each.

    Rows of `position` and `contact_id`; those of an audience newest first, of those created at once the larger id.
    """
    samples = []
    for position, audience in enumerate(audiences):
        included = included_contacts(company_id, audience).subquery()
        at = literal(position, Integer()).label("position")
        newest = included.c.created_at.desc(), included.c.contact_id.desc()
        sample = select(at, included.c.contact_id, included.c.created_at).order_by(*newest).limit(size).subquery()
        samples.append(select(sample))
    sampled = union_all(*samples).subquery()
    order = sampled.c.position, sampled.c.created_at.desc(), sampled.c.contact_id.desc()
    return select(sampled.c.position, sampled.c.contact_id).order_by(*order)


def classified(company_id: int, audience: Audience) -> AnySelect:
    """Every selected contact: `contact_id`, `created_at`, `address` (as it is used), and the `reason` why it is not
    reached (null: it is).
    """
    channel = CHANNELS[audience.type]
    consent = channel.consent
    columns: tuple[AnyExpression, ...] = (
        Contact.id,
        Contact.created_at,
        consent.label("consent"),
        # Only those that may and can be reached compete for an address.
        case((consent, channel.address)).label("address"),
        channel.written.label("written"),
    )
    selected = select(*columns).where(Contact.company_id == company_id, condition(audience.filter)).subquery()
    of_address = func.row_number().over(
        partition_by=selected.c.address, order_by=(selected.c.created_at, selected.c.id)
    )
    reasons = [
        (selected.c.consent.is_(None), constant(ExclusionReason.CONSENT_MISSING)),
        (~selected.c.consent, constant(ExclusionReason.CONSENT_WITHDRAWN)),
        (selected.c.address.is_(None), constant(ExclusionReason.NO_ADDRESS)),
        (of_address > literal_column("1"), constant(ExclusionReason.DUPLICATE_ADDRESS)),
    ]
    if channel.suppressible:
        # All who have the address are suppressed with it: it makes no difference that they competed for it.
        reasons.insert(-1, (suppressed(company_id, selected.c.address), constant(ExclusionReason.SUPPRESSED)))
    return select(
        selected.c.id.label("contact_id"),
        selected.c.created_at,
        selected.c.written.label("address"),
        case(*reasons, else_=null()).label("reason"),
    )


def suppressed(company_id: int, address: AnyColumn) -> AnyColumn:
    """Not joined: as it is, PostgreSQL looks at it for addresses only, in a table of hashes or in the index."""
    return exists(
        select(literal_column("1")).where(Suppression.company_id == company_id, Suppression.address == address)
    )


def constant(reason: ExclusionReason) -> AnyColumn:
    return literal_column(f"'{reason}'", Text())
