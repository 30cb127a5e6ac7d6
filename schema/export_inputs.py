"""What does a client write to ask for an export?"""

from __future__ import annotations

import strawberry
from strawberry import Maybe

from resolvers.changes.export_drafts import MOST_CONTACTS, MOST_LISTS, ExportGiven, PeriodGiven
from schema.scalars import Moment
from store.models import ExportFormat, ExportKind

SCOPE = ("scope",)


@strawberry.input(one_of=True, description="Which contacts are exported. Exactly one of these.")
class ContactsScope:
    all: Maybe[bool] = strawberry.field(description="True: every contact of the company.")
    list_ids: Maybe[list[strawberry.ID]] = strawberry.field(
        description=f"The contacts that are on any of these lists; 1 to {MOST_LISTS:,}."
    )
    contact_ids: Maybe[list[strawberry.ID]] = strawberry.field(description=f"These contacts; 1 to {MOST_CONTACTS:,}.")


@strawberry.input(description="A time from a start on, up to an end and without it.")
class ExportPeriod:
    start_date_time: Moment = strawberry.field(description="When it begins.")
    end_date_time: Moment = strawberry.field(description="When it ends; after startDateTime.")


@strawberry.input(one_of=True, description="Which delivery reports are exported. Exactly one of these.")
class DeliveryReportsScope:
    campaign_id: Maybe[strawberry.ID] = strawberry.field(description="Those of this campaign.")
    period: Maybe[ExportPeriod] = strawberry.field(
        description="Those of this time, of all the campaigns that you may see."
    )


def contacts_given(
    scope: ContactsScope | None, format: ExportFormat, columns: list[str] | None, *, raw: bool
) -> ExportGiven:
    """An export of contacts as the client wrote it; without a scope of all."""
    all_, lists, contacts = (None, None, None) if scope is None else (scope.all, scope.list_ids, scope.contact_ids)
    return ExportGiven(
        ExportKind.CONTACTS,
        format,
        scope=SCOPE,
        everything=True if all_ is None else all_.value,
        list_ids=None if lists is None else [str(id) for id in lists.value],
        contact_ids=None if contacts is None else [str(id) for id in contacts.value],
        columns=columns,
        raw=raw,
    )


def delivery_reports_given(
    scope: DeliveryReportsScope, format: ExportFormat, columns: list[str] | None, *, raw: bool
) -> ExportGiven:
    campaign, period = scope.campaign_id, None if scope.period is None else scope.period.value
    return ExportGiven(
        ExportKind.DELIVERY_REPORTS,
        format,
        scope=SCOPE,
        campaign_id=None if campaign is None else str(campaign.value),
        period=None if period is None else PeriodGiven(period.start_date_time, period.end_date_time),
        columns=columns,
        raw=raw,
    )
