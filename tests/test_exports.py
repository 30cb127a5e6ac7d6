"""How do exports and their files read?"""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, update

from store.database import owner_transaction
from store.models import Export, File
from tests.build import Builder
from tests.client import Gateway
from tests.conftest import World

pytestmark = pytest.mark.anyio


async def test_export(gateway: Gateway, world: World) -> None:
    """An export is read with who asked for it, its campaign, its file, and what it repeats, both ways."""
    answer = await gateway.ask(
        """
        query ($id: ID!) {
          export(id: $id) {
            kind format status parameters rowsTotal rowsProcessed bytes sha256 isAvailableForDownload exportedAt
            error { code }
            requestedBy { lastName } campaign { name exports { totalCount } }
            file { name contentType bytes export { databaseId } }
            regeneratedFrom { status isAvailableForDownload regenerations { nodes { kind } } }
          }
        }
        """,
        world.acme.tokens["member"],
        {"id": str(world.acme.rows["export"])},
    )
    assert answer.data["export"] == {
        "kind": "CAMPAIGN_RECIPIENTS",
        "format": "XLSX",
        "status": "COMPLETED",
        "parameters": {},
        "rowsTotal": 1,
        "rowsProcessed": 1,
        "bytes": 3,
        "sha256": "0" * 64,
        "isAvailableForDownload": True,
        "exportedAt": "2026-11-21T12:00:00Z",
        "error": None,
        "requestedBy": {"lastName": "Manager"},
        "campaign": {"name": "Sent", "exports": {"totalCount": 1}},
        "file": {
            "name": "contacts.csv",
            "contentType": "text/csv",
            "bytes": 3,
            "export": {"databaseId": str(world.acme.rows["export"])},
        },
        "regeneratedFrom": {
            "status": "EXPIRED",
            "isAvailableForDownload": False,
            "regenerations": {"nodes": [{"kind": "CAMPAIGN_RECIPIENTS"}]},
        },
    }


async def test_exports_newest_first(gateway: Gateway, world: World) -> None:
    """The list is newest first with its total, and narrows by kind, state and who asked."""
    answer = await gateway.ask(
        """
        query ($users: [ID!]) {
          exports { totalCount nodes { status error { code message } } }
          some: exports(filter: {statusIn: [EXPIRED, COMPLETED], kindIn: [CONTACTS]}) { nodes { status } }
          theirs: exports(filter: {requestedByIdIn: $users}) { nodes { status } }
        }
        """,
        world.acme.tokens["admin"],
        {"users": [str(world.acme.manager), str(world.globex.member)]},
    )
    failed = {"code": "DISK_FULL", "message": "There was no room for the file."}
    assert answer.data == {
        "exports": {
            "totalCount": 3,
            "nodes": [
                {"status": "FAILED", "error": failed},
                {"status": "COMPLETED", "error": None},
                {"status": "EXPIRED", "error": None},
            ],
        },
        "some": {"nodes": [{"status": "EXPIRED"}]},
        "theirs": {"nodes": [{"status": "COMPLETED"}]},
    }


async def test_a_file_at_the_end_of_its_life_cannot_be_had(gateway: Gateway, world: World) -> None:
    """An export whose file's life is over is not available, whatever its status still says."""
    query = "query ($id: ID!) { export(id: $id) { status isAvailableForDownload } }"
    async with owner_transaction(world.url) as connection:
        await connection.execute(update(File).values(expires_at=func.now() - timedelta(seconds=1)))
    answer = await gateway.ask(query, world.acme.tokens["admin"], {"id": str(world.acme.rows["export"])})
    assert answer.data["export"] == {"status": "COMPLETED", "isAvailableForDownload": False}


async def test_delivery_reports_of_a_period_are_their_requesters(gateway: Gateway, world: World) -> None:
    """An export of many campaigns' reports, hidden ones perhaps, is for who asked for it and for administrators."""
    async with owner_transaction(world.url) as connection:
        own = {"company_id": world.acme.id, "requested_by_id": world.acme.manager}
        export = await Builder(connection).add(Export, **own, kind="DELIVERY_REPORTS")
    query = "query ($id: ID!) { export(id: $id) { kind } }"
    for role, codes in (("admin", []), ("manager", []), ("member", ["NOT_FOUND"])):
        assert (await gateway.ask(query, world.acme.tokens[role], {"id": str(export)})).codes == codes
