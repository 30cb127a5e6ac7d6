"""How are the campaign settings of a company changed?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TypedDict
from urllib.parse import urlsplit

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from content.addresses import ascii_domain
from resolvers.changes.campaign_life import UNDER_WAY
from resolvers.changes.campaign_rules import is_missing, required
from resolvers.changes.outcomes import Outcome
from resolvers.changes.user_errors import (
    Path,
    Refused,
    UserError,
    UserErrorCode,
    absent,
    line_errors,
    refused,
    text_errors,
)
from resolvers.context import Context, Viewer
from resolvers.templates import TEMPLATE
from store import access
from store.models import Campaign, CampaignSettings, CampaignType, Role, Template
from store.sql_types import AnyRow

LONGEST_URL = 2_000
LONGEST_HOST = 253
LONGEST_TEXT = 10_000
# Names that people take for the operators' own (RFC 2142, and the usual hosts).
RESERVED_SLUGS = frozenset(
    (
        *("abuse", "admin", "api", "autoconfig", "autodiscover", "ftp", "hostmaster", "imap", "mail", "mx", "noreply"),
        *(
            "ns",
            "ns1",
            "ns2",
            "pop",
            "postmaster",
            "root",
            "security",
            "smtp",
            "support",
            "webmail",
            "webmaster",
            "www",
        ),
    )
)
# One label of a domain name (RFC 1123, 2.1), in small letters.
SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
UNIQUE_VIOLATION = "23505"


class ConsentGiven(TypedDict, total=False):
    enable: bool
    unsubscribe_url: str | None
    template_id: str | None
    subscribe_url: str | None
    subject: str | None
    content: str | None
    help_text: str | None


class SettingsGiven(TypedDict, total=False):
    """What a client wrote of the settings; what they left out is not here."""

    domain_slug: str | None
    consent: ConsentGiven


async def update_settings(context: Context, given: SettingsGiven) -> Outcome:
    """What is given changes, what is absent stays; administrators only. The domain is the operators'."""
    viewer = context.viewer
    if viewer.identity.role is not Role.ADMIN:
        raise refused([], UserErrorCode.FORBIDDEN, "Only administrators change the settings.")
    async with context.writing() as session:
        row = await locked(session, viewer, context.services.domain_suffix)
        errors = [*slug_errors(row, given), *consent_errors(row, given.get("consent", {}))]
        sends_from = None if row.domain is not None else row.domain_slug
        if sends_from is not None and given.get("domain_slug", sends_from) != sends_from:
            errors += await waiting_errors(session, viewer)
        values = plain_values(given)
        template_id = given.get("consent", {}).get("template_id")
        if template_id is not None:
            values["consent_template_id"] = await template_key(session, viewer, template_id, errors)
        if errors:
            raise Refused(error.below("input") for error in errors)
        mine = CampaignSettings.company_id == viewer.company_id
        changed = update(CampaignSettings).where(mine).values({**values, "updated_at": func.now()})
        try:
            await session.execute(changed)
        except IntegrityError as error:
            if getattr(error.orig, "sqlstate", None) != UNIQUE_VIOLATION:
                raise
            message = "This slug is another company's."
            raise refused(["input", "domainSlug"], UserErrorCode.DUPLICATE, message) from None
    return Outcome((viewer.company_id,))


async def locked(session: AsyncSession, viewer: Viewer, domain_suffix: str) -> AnyRow:
    """The company's settings, which nobody else changes until the unit of work ends; made where there are none."""
    empty = insert(CampaignSettings).values(company_id=viewer.company_id, domain_slug_suffix=domain_suffix)
    await session.execute(empty.on_conflict_do_nothing())
    wanted = select(
        CampaignSettings.domain,
        CampaignSettings.domain_slug,
        CampaignSettings.consent_enabled,
        CampaignSettings.consent_unsubscribe_url,
    ).where(CampaignSettings.company_id == viewer.company_id)
    return (await session.execute(wanted.with_for_update())).one()


def slug_errors(row: AnyRow, given: SettingsGiven) -> Iterator[UserError]:
    """A label of a domain name; it may go only where there is a domain to send from."""
    path = ("domainSlug",)
    slug = given.get("domain_slug")
    if slug is not None and SLUG.fullmatch(slug) is None:
        message = "A slug has up to 63 small letters, digits and hyphens, and neither begins nor ends with a hyphen."
        yield UserError(path, UserErrorCode.INVALID_DOMAIN_SLUG, message)
    if slug in RESERVED_SLUGS:
        yield UserError(path, UserErrorCode.INVALID_DOMAIN_SLUG, "This slug is reserved.")
    if "domain_slug" in given and slug is None and row.domain is None:
        yield required(*path, why=" as long as the company has no domain of its own")


async def waiting_errors(session: AsyncSession, viewer: Viewer) -> list[UserError]:
    """Campaigns that are still to go out come from the domain of the slug, which another company could take then."""
    waiting = select(func.count()).where(
        Campaign.company_id == viewer.company_id, Campaign.type == CampaignType.EMAIL, Campaign.status.in_(UNDER_WAY)
    )
    count = await session.scalar(waiting) or 0
    message = f"{count} scheduled campaign{'s are' if count > 1 else ' is'} sent from the domain of this slug."
    return [UserError(("domainSlug",), UserErrorCode.IN_USE, message)] if count else []


def consent_errors(row: AnyRow, given: ConsentGiven) -> Iterator[UserError]:
    """Rule 14: an unsubscribe URL is required when the company's own page is enabled."""
    for name, key in (("unsubscribeUrl", "unsubscribe_url"), ("subscribeUrl", "subscribe_url")):
        url = given.get(key)
        if isinstance(url, str):
            yield from url_errors(("consent", name), url)
    for name, key in (("subject", "subject"), ("content", "content"), ("helpText", "help_text")):
        text = given.get(key)
        if isinstance(text, str):
            yield from text_errors(("consent", name), text, LONGEST_TEXT)
    enabled = given.get("enable", row.consent_enabled)
    url = given.get("unsubscribe_url", row.consent_unsubscribe_url)
    if enabled and is_missing(url):
        yield required("consent", "unsubscribeUrl", why=" when the company's own page is enabled")


def url_errors(path: Path, url: str) -> list[UserError]:
    if errors := line_errors(path, url, LONGEST_URL):
        return errors
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        usable = parts.scheme in ("http", "https") and parts.username is None and parts.port != 0
        usable = usable and len(host) <= LONGEST_HOST and ascii_domain(host) is not None
    except ValueError:
        usable = False
    if not usable or any(letter.isspace() or letter in '<>"' or not letter.isprintable() for letter in url):
        return [UserError(path, UserErrorCode.INVALID_URL, "This must be a URL that begins with https:// or http://.")]
    return []


def plain_values(given: SettingsGiven) -> dict[str, object]:
    """The columns that hold what was given, but for the template."""
    consent: Mapping[str, object] = given.get("consent", {})
    columns = {
        "enable": "consent_enabled",
        "unsubscribe_url": "consent_unsubscribe_url",
        "template_id": "consent_template_id",
        "subscribe_url": "consent_subscribe_url",
        "subject": "consent_subject",
        "content": "consent_content",
        "help_text": "consent_help_text",
    }
    found: dict[str, object] = {columns[name]: value for name, value in consent.items()}
    if "domain_slug" in given:
        found["domain_slug"] = given["domain_slug"]
    return found


async def template_key(session: AsyncSession, viewer: Viewer, text: str, errors: list[UserError]) -> int | None:
    key = TEMPLATE.parse_or_none(text)
    wanted = select(Template.id).where(access.templates(), Template.id == key)
    found: int | None = None if key is None else await session.scalar(wanted, viewer.identity.scope.parameters())
    if found is None:
        errors.append(absent(TEMPLATE.typename, ["consent", "templateId"]))
    return found
