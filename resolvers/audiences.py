"""Whom does a filter select, and whom of those would a campaign reach?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from resolvers.changes.campaign_drafts import FilterForm, FilterGiven, Reading
from resolvers.changes.company import FIND_SENDER_DOMAIN, catalogue_of
from resolvers.contacts import CONTACT
from resolvers.context import Context
from resolvers.edges import Columns, One
from resolvers.errors import ClientError, ErrorCode
from store.audience import Audience, ExclusionReason, audience_counts, audience_samples
from store.filters import CATALOGUE_ROWS, Catalogue, Filter
from store.models import CampaignType, JsonValue
from store.sql_types import AnyRow

AUDIENCE_CONTACT = One("Audience.sample", CONTACT, key="id")
LARGEST_SAMPLE = 20


@dataclass(frozen=True)
class AudienceCount:
    """How many contacts are reached, and how many are left out, by the reason."""

    count: int
    exclusions: Mapping[ExclusionReason, int]


async def company_catalogue(context: Context) -> Catalogue:
    """The fields that the company's filters may name; read once an operation."""

    async def batch(company_ids: list[Any]) -> list[object]:
        rows = [await context.reader.rows(CATALOGUE_ROWS, {"company_id": key}) for key in company_ids]
        return [catalogue_of(list(found)) for found in rows]

    return cast("Catalogue", await context.load.through("catalogue", batch, context.viewer.company_id))


async def company_sender_domain(context: Context) -> str | None:
    """The domain that the company's mails come from; read once an operation."""

    async def batch(company_ids: list[Any]) -> list[object]:
        rows = await context.reader.rows(FIND_SENDER_DOMAIN, {})
        return [rows[0][0] if rows else None for _ in company_ids]

    return cast("str | None", await context.load.through("sender domain", batch, context.viewer.company_id))


async def read_condition(context: Context, given: FilterGiven) -> Filter | None:
    """The filter that a client wrote in a query; raises BAD_USER_INPUT with everything that is wrong with it."""
    catalogue = await company_catalogue(context)
    reading = Reading(catalogue)
    found = reading.filter(given)
    if reading.errors:
        problems = [
            {"path": error.path[1:], "code": error.code.value, "message": error.message} for error in reading.errors
        ]
        message = " ".join(dict.fromkeys(error.message for error in reading.errors))
        raise ClientError(ErrorCode.BAD_USER_INPUT, message, problems=problems)
    return found


async def campaign_audience(row: AnyRow, context: Context) -> Audience | None:
    """Whom a campaign (a row with its type and filter) would reach; None without a filter that can be read."""
    stored: JsonValue = row.filter
    if stored is None:
        return None
    catalogue = await company_catalogue(context)
    found = Reading(catalogue).filter(FilterGiven(stored, FilterForm.STORED))
    return None if found is None else Audience(CampaignType(row.type), found)


def counted(context: Context, audience: Audience) -> Awaitable[AudienceCount]:
    """The numbers of an audience; those of all campaigns of an operation in one statement."""

    async def batch(audiences: list[Any]) -> list[object]:
        rows = await context.reader.rows(audience_counts(context.viewer.company_id, audiences), {})
        found: list[dict[str | None, int]] = [{} for _ in audiences]
        for row in rows:
            found[row.position][row.reason] = row.contacts
        return [
            AudienceCount(
                numbers.get(None, 0), {reason: numbers[reason] for reason in ExclusionReason if reason in numbers}
            )
            for numbers in found
        ]

    return cast("Awaitable[AudienceCount]", context.load.through("audience", batch, audience))


async def sampled(context: Context, audience: Audience, size: int, columns: Columns) -> list[object]:
    """The newest contacts of an audience, with these columns; raises BAD_USER_INPUT for a size out of bounds."""
    if not 1 <= size <= LARGEST_SAMPLE:
        raise ClientError(ErrorCode.BAD_USER_INPUT, f"`first` must be between 1 and {LARGEST_SAMPLE}.")
    loaded = context.load.through(f"sample of {size}", sample_batch(context, size), audience)
    contact_ids = cast("list[UUID]", await loaded)
    found = await asyncio.gather(*(context.load.one(AUDIENCE_CONTACT, columns, key) for key in contact_ids))
    return [contact for contact in found if contact is not None]


def sample_batch(context: Context, size: int) -> Callable[[list[Any]], Any]:
    async def batch(audiences: list[Any]) -> list[object]:
        rows = await context.reader.rows(audience_samples(context.viewer.company_id, audiences, size), {})
        found: list[list[UUID]] = [[] for _ in audiences]
        for row in rows:
            found[row.position].append(row.contact_id)
        return list(found)

    return batch
