"""How are exports asked for, stopped and deleted? Their part of the mutation root."""

from __future__ import annotations

from typing import Annotated, Any

import strawberry

from resolvers.changes import exports
from resolvers.changes.export_drafts import MOST_COLUMNS, ExportGiven
from resolvers.changes.outcomes import Outcome
from schema import payloads
from schema.export_inputs import ContactsScope, DeliveryReportsScope, contacts_given, delivery_reports_given
from schema.fields import ContextInfo
from schema.filters import ContactSelection, filter_given
from schema.mutation_fields import Key, exporting, mutation
from store.models import ExportFormat, ExportKind

ExportId = Annotated[strawberry.ID, strawberry.argument(description="The export's global id, or its databaseId.")]
CampaignId = Annotated[strawberry.ID, strawberry.argument(description="The campaign's global id, or its databaseId.")]
Contacts = Annotated[ContactsScope | None, strawberry.argument(description="Which contacts; all if absent.")]
Reports = Annotated[DeliveryReportsScope, strawberry.argument(description="Which delivery reports.")]
Mailed = Annotated[
    ContactSelection | None,
    strawberry.argument(description="Which contacts: it must hold a condition; all if absent."),
]
Format = Annotated[ExportFormat, strawberry.argument(description="How it is written: CSV, XLSX or JSONL.")]
MailingFormat = Annotated[ExportFormat, strawberry.argument(description="How it is written: CSV or XLSX.")]
Columns = Annotated[
    list[str] | None,
    strawberry.argument(
        description="The columns that it has, in this order, by the names that `exportColumns` has; all if absent. "
        f"1 to {MOST_COLUMNS}."
    ),
]
Raw = Annotated[
    bool,
    strawberry.argument(
        description="True writes texts into CSV as they are; otherwise one that a spreadsheet would take for a formula "
        "has a ' before it. Other formats hold texts as they are."
    ),
]
TAKES = "Answers at once, while it still waits for a worker. Takes `export`."


# Resolvers answer an `Outcome`, which the fields of the payloads read: hence Any.
async def requested(info: ContextInfo, given: ExportGiven, key: str | None) -> Any:
    async def change() -> Outcome:
        return await exports.request_export(info.context, given, idempotency_key=key)

    return await exporting(info, change)


async def export_contacts(
    info: ContextInfo,
    *,
    scope: Contacts = None,
    format: Format = ExportFormat.CSV,
    columns: Columns = None,
    raw: Raw = False,
    idempotency_key: Key = None,
) -> Any:
    return await requested(info, contacts_given(scope, format, columns, raw=raw), idempotency_key)


async def export_delivery_reports(
    info: ContextInfo,
    *,
    scope: Reports,
    format: Format = ExportFormat.CSV,
    columns: Columns = None,
    raw: Raw = False,
    idempotency_key: Key = None,
) -> Any:
    return await requested(info, delivery_reports_given(scope, format, columns, raw=raw), idempotency_key)


async def export_campaign_recipients(
    info: ContextInfo,
    *,
    campaign_id: CampaignId,
    format: Format = ExportFormat.XLSX,
    columns: Columns = None,
    raw: Raw = False,
    idempotency_key: Key = None,
) -> Any:
    given = ExportGiven(ExportKind.CAMPAIGN_RECIPIENTS, format, campaign_id=str(campaign_id), columns=columns, raw=raw)
    return await requested(info, given, idempotency_key)


async def export_mailing(
    info: ContextInfo,
    *,
    filter: Mailed = None,
    format: MailingFormat = ExportFormat.CSV,
    columns: Columns = None,
    raw: Raw = False,
    idempotency_key: Key = None,
) -> Any:
    wanted = None if filter is None else filter_given(filter)
    given = ExportGiven(ExportKind.MAILING, format, filter=wanted, columns=columns, raw=raw)
    return await requested(info, given, idempotency_key)


async def regenerate_export(info: ContextInfo, id: ExportId, idempotency_key: Key = None) -> Any:
    return await exporting(info, lambda: exports.regenerate_export(info.context, id, idempotency_key=idempotency_key))


async def cancel_export(info: ContextInfo, id: ExportId) -> Any:
    return await exporting(info, lambda: exports.cancel_export(info.context, id))


async def delete_export(info: ContextInfo, id: ExportId) -> Any:
    return await exporting(info, lambda: exports.delete_export(info.context, id))


@strawberry.type
class ExportMutations:
    """The mutations of exports."""

    export_contacts: payloads.ExportContactsPayload | None = mutation(
        export_contacts, f"Asks for contacts with all their fields as a file. {TAKES}"
    )
    export_delivery_reports: payloads.ExportDeliveryReportsPayload | None = mutation(
        export_delivery_reports, f"Asks for what became of messages as a file. {TAKES}"
    )
    export_campaign_recipients: payloads.ExportCampaignRecipientsPayload | None = mutation(
        export_campaign_recipients, f"Asks for the recipients of a campaign as a file. {TAKES}"
    )
    export_mailing: payloads.ExportMailingPayload | None = mutation(
        export_mailing, f"Asks for names and addresses for a mail merge as a file. {TAKES}"
    )
    regenerate_export: payloads.RegenerateExportPayload | None = mutation(
        regenerate_export,
        "Asks for a new export like one whose file has expired, or that failed or was canceled; EXPORT_NOT_EXPIRED "
        f"while that is still being made or can be downloaded. {TAKES}",
    )
    cancel_export: payloads.CancelExportPayload | None = mutation(
        cancel_export,
        "Stops an export that waits or runs; a running one is CANCELING until its worker has noticed. For who asked "
        "for it and for administrators. Takes `export`.",
    )
    delete_export: payloads.DeleteExportPayload | None = mutation(
        delete_export,
        "Deletes an export, and soon after it the file, to which no link is given any more; a running one is canceled "
        "first. For who asked for it and for administrators. Takes `export`.",
    )
