"""How does a test ask for exports? The documents, and what is then stored."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import NullPool
from sqlalchemy.ext.asyncio import create_async_engine

from store.models import Export, File, Job
from tests.build import NEVER_EXPIRES, NOW
from tests.campaign_documents import ERRORS, Desk

EXPORT = """
  id databaseId kind format status parameters rowsProcessed isAvailableForDownload
  progress { sequence } requestedBy { databaseId } campaign { databaseId } regeneratedFrom { databaseId }
"""
CHOICES = "columns: $columns, raw: $raw, idempotencyKey: $key"
CHOOSING = "$columns: [String!], $raw: Boolean! = false, $key: String"
CONTACTS = f"""
mutation ($scope: ContactsScope, $format: ExportFormat! = CSV, {CHOOSING}) {{
  exportContacts(scope: $scope, format: $format, {CHOICES}) {{ export {{ {EXPORT} }} {ERRORS} }}
}}
"""
REPORTS = f"""
mutation ($scope: DeliveryReportsScope!, $format: ExportFormat! = CSV, {CHOOSING}) {{
  exportDeliveryReports(scope: $scope, format: $format, {CHOICES}) {{ export {{ {EXPORT} }} {ERRORS} }}
}}
"""
RECIPIENTS = f"""
mutation ($campaignId: ID!, $format: ExportFormat! = XLSX, {CHOOSING}) {{
  exportCampaignRecipients(campaignId: $campaignId, format: $format, {CHOICES}) {{ export {{ {EXPORT} }} {ERRORS} }}
}}
"""
MAILING = f"""
mutation ($filter: ContactSelection, $format: ExportFormat! = CSV, {CHOOSING}) {{
  exportMailing(filter: $filter, format: $format, {CHOICES}) {{ export {{ {EXPORT} }} {ERRORS} }}
}}
"""
REGENERATE = f"""
mutation ($id: ID!, $key: String) {{
  regenerateExport(id: $id, idempotencyKey: $key) {{ export {{ {EXPORT} }} {ERRORS} }}
}}
"""
CANCEL = f"mutation ($id: ID!) {{ cancelExport(id: $id) {{ export {{ {EXPORT} }} {ERRORS} }} }}"
DELETE = f"mutation ($id: ID!) {{ deleteExport(id: $id) {{ deletedExportId {ERRORS} }} }}"
# A call of each that asks for a new export.
ASKING: Mapping[str, Mapping[str, Any]] = {
    CONTACTS: {"scope": {"listIds": ["$list"]}},
    REPORTS: {"scope": {"campaignId": "$sent"}},
    RECIPIENTS: {"campaignId": "$sent"},
    MAILING: {},
    REGENERATE: {"id": "$expired_export"},
}


async def export(desk: Desk, requester: str = "admin", **values: Any) -> str:
    """The id of a stored export of contacts, as CSV, unless the values say otherwise; COMPLETED ones have a file."""
    row: dict[str, Any] = {"requested_by_id": getattr(desk.acme, requester), **values}
    if row.get("status") == "COMPLETED" and "file_id" not in row:
        row["file_id"] = await desk.add(File)
    if row.get("status") == "FAILED":
        row["error_code"] = "DISK_FULL"
    return str(await desk.add(Export, **row))


async def waiting_export(desk: Desk, requester: str = "admin", **job: Any) -> str:
    """The id of a stored export that waits for a worker, with its job; `claimed_until`: a worker has it."""
    id = await export(desk, requester)
    await desk.add(Job, kind="EXPORT", subject_id=id, due_at=NEVER_EXPIRES, **job)
    return id


async def row_of(desk: Desk, id: str) -> dict[str, Any]:
    """The stored row."""
    (row,) = await desk.run("SELECT * FROM exports WHERE id = CAST(:id AS uuid)", id=id)
    return dict(row._mapping)


async def jobs_of(desk: Desk, id: str) -> list[tuple[object, ...]]:
    """The jobs about an export: company, kind, attempt, and by when they are claimed."""
    rows = await desk.run(
        "SELECT company_id, kind, attempt, claimed_until FROM jobs WHERE subject_id = CAST(:id AS uuid)", id=id
    )
    return [tuple(row) for row in rows]


async def counts(desk: Desk) -> dict[str, int]:
    """How many rows there are of what a request makes, of all companies."""
    tables = ("exports", "jobs", "idempotency_keys")
    found = await desk.run(" UNION ALL ".join(f"SELECT '{name}', count(*) FROM {name}" for name in tables))
    return {row[0]: row[1] for row in found}


@asynccontextmanager
async def signals(url: str) -> AsyncIterator[list[str]]:
    """What is told on the channel of exports while this lasts; complete at its end."""
    engine = create_async_engine(url, poolclass=NullPool)
    heard: list[str] = []
    async with engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        await driver.add_listener("exports", lambda *told: heard.append(told[-1]))
        yield heard
        # What was told before comes before the answer to this.
        await driver.fetchval("SELECT 1")


PAST = NOW.replace(year=2020)
