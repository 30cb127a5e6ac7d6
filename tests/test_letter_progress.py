"""Does a client see how far the letters of a campaign are while they are being made?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from jobs.exports.states import end, write_progress
from jobs.queue import Claim
from store.models import Export, ExportStatus, JobKind
from tests.build import NEVER_EXPIRES, NOW, TestCompany
from tests.campaign_documents import Desk, Input, desk_of_a_module
from tests.conftest import World
from tests.exporting import exporting, exports_of
from tests.lettering import letters_to
from tests.test_campaign_progress import LONG_AGO, delivery_of, sent_to, statistics_of
from tests.test_exporter import HeldFiles
from tests.watching import Stand, running_export, stand_of

pytestmark = pytest.mark.anyio

LIVE = """
campaign { statistics { total queued sent failed percent } delivery { perSecond secondsRemaining stalled } }
"""
WATCH = f"subscription ($id: ID!) {{ campaignChanged(id: $id) {{ {LIVE} }} }}"
BOARD = f"subscription {{ campaignsChanged(first: 1) {{ {LIVE.replace('campaign {', 'campaigns {')} }} }}"
RUNNING: Input = {
    "kind": "LETTERS",
    "format": "ZIP",
    "status": "RUNNING",
    "rows_total": 8,
    "rows_processed": 2,
    "rows_per_second": 0.5,
    "heartbeat_at": NOW,
}


@pytest.fixture(scope="module")
async def shared_desk(server: str, world_template: tuple[str, TestCompany, TestCompany]) -> AsyncIterator[Desk]:
    async with desk_of_a_module(server, world_template) as desk:
        yield desk


@pytest.fixture
async def stand(world: World) -> AsyncIterator[Stand]:
    async with stand_of(world) as found:
        yield found


async def add_export(desk: Desk, campaign_id: str, **values: Any) -> UUID:
    """Letters of the campaign that are being made, unless the values say otherwise."""
    row: Input = {**RUNNING, "requested_by_id": desk.acme.admin, "created_at": NOW, **values}
    id: UUID = await desk.add(Export, campaign_id=campaign_id, **row)
    return id


async def by_letter(desk: Desk, **values: Any) -> str:
    """The id of a campaign by letter that is being sent, to four people."""
    return await sent_to(desk, *["QUEUED"] * 4, type="LETTER", **values)


async def seen(desk: Desk, campaign_id: str) -> tuple[Any, ...]:
    """How much is done, how fast it goes, and for how long it will."""
    delivery = await delivery_of(desk, campaign_id)
    percent = (await statistics_of(desk, campaign_id))["percent"]
    return percent, delivery["perSecond"], delivery["secondsRemaining"]


@pytest.mark.parametrize(
    ("campaign", "export", "shown"),
    [
        ({}, {}, (25, 0.5, 12)),
        ({}, {"status": "PENDING", "rows_total": None, "rows_processed": 0, "rows_per_second": None}, (0, None, None)),
        ({}, {"rows_processed": 0, "rows_per_second": 0.0}, (0, 0, None)),
        ({}, {"rows_total": None}, (0, 0.5, None)),
        ({}, {"rows_processed": 8}, (100, 0.5, 0)),
        ({"paused_at": NOW}, {}, (25, 0.5, None)),
        ({"paused_at": NOW}, {"status": "COMPLETED", "rows_processed": 8}, (100, None, None)),
        ({"status": "CANCELED"}, {"status": "CANCELING"}, (0, None, None)),
        ({"status": "COMPLETED"}, {"status": "COMPLETED", "rows_processed": 8}, (0, None, None)),
    ],
)
async def test_letters_that_are_being_made(
    shared_desk: Desk, campaign: Input, export: Input, shown: tuple[float | None, ...]
) -> None:
    """A campaign by letter that is being sent is as far, and as fast, as its letters are made."""
    campaign_id = await by_letter(shared_desk, **campaign)
    file = {"file_id": shared_desk.acme.rows["file"]} if export.get("status") == "COMPLETED" else {}
    await add_export(shared_desk, campaign_id, **export, **file)
    assert await seen(shared_desk, campaign_id) == shown


async def test_signs_of_life(shared_desk: Desk) -> None:
    """The last sign of life is that of the letters, from which the end is reckoned."""
    campaign_id = await by_letter(shared_desk, delivery={"heartbeat_at": NOW - timedelta(seconds=5)})
    assert (await delivery_of(shared_desk, campaign_id))["heartbeatAt"] == "2026-11-21T11:59:55Z"
    await add_export(shared_desk, campaign_id)
    found = await delivery_of(shared_desk, campaign_id)
    assert (found["heartbeatAt"], found["endsAt"]) == ("2026-11-21T12:00:00Z", "2026-11-21T12:00:12Z")


@pytest.mark.parametrize(
    "other",
    [
        {"kind": "CAMPAIGN_RECIPIENTS", "format": "CSV"},
        {"created_at": LONG_AGO - timedelta(1)},
        {"created_at": NOW - timedelta(1)},
        {"regenerated_from_id": "$expired_export"},
    ],
    ids=["another kind", "an earlier sending", "an older one", "asked for again"],
)
async def test_other_exports(shared_desk: Desk, other: Input) -> None:
    """Only the newest letters that the sending itself has made tell how far it is."""
    campaign_id = await by_letter(shared_desk)
    late: Input = {"created_at": NOW + timedelta(1), "rows_processed": 7, "rows_per_second": 7.0}
    others = {**late, "heartbeat_at": LONG_AGO, **shared_desk.filled(other)}
    if other.get("created_at") != NOW - timedelta(1):
        await add_export(shared_desk, campaign_id, **others)
        assert await seen(shared_desk, campaign_id) == (0, None, None)
        assert (await delivery_of(shared_desk, campaign_id))["stalled"] is False
    await add_export(shared_desk, campaign_id, heartbeat_at=NEVER_EXPIRES)
    await add_export(shared_desk, campaign_id, **others)
    assert await seen(shared_desk, campaign_id) == (25, 0.5, 12)
    assert (await delivery_of(shared_desk, campaign_id))["stalled"] is False


async def test_e_mails_have_a_pace_of_their_own(shared_desk: Desk) -> None:
    """What is sent otherwise is told by its recipients, whatever exports there are of it."""
    campaign_id = await sent_to(shared_desk, "QUEUED", "SENT", delivery={"per_second": 4.0, "heartbeat_at": LONG_AGO})
    await add_export(shared_desk, campaign_id)
    assert await seen(shared_desk, campaign_id) == (50, 4, 0.25)
    assert (await delivery_of(shared_desk, campaign_id))["heartbeatAt"] == "2020-01-01T00:00:00Z"


async def test_a_page_of_letters(shared_desk: Desk) -> None:
    """In a list each campaign has the progress of its own letters, by one statement for all of them."""
    for number in range(5):
        campaign_id = await by_letter(shared_desk, name=f"Page {number}")
        await add_export(shared_desk, campaign_id, rows_processed=number, rows_per_second=2.0**number)
    paces = {f"Page {n}": {"perSecond": 2.0**n, "secondsRemaining": (8 - n) / 2.0**n} for n in range(5)}
    percents = {f"Page {n}": {"percent": n * 12.5} for n in range(5)}
    for name, shown in (("delivery", paces), ("statistics", percents)):
        fields = " ".join(shown["Page 0"])
        document = f'{{ campaigns(filter: {{search: "Page "}}) {{ nodes {{ name {name} {{ {fields} }} }} }} }}'
        async with shared_desk.gateway.counting() as statements:
            nodes = (await shared_desk.ask(document)).data["campaigns"]["nodes"]
        assert len(statements) == 2
        assert {node["name"]: node[name] for node in nodes} == shown


@pytest.mark.parametrize("document", [WATCH, BOARD], ids=["campaign", "board"])
async def test_letters_live(stand: Stand, document: str) -> None:
    """Whoever watches a campaign sees its letters become more whenever their export tells of it, and not in between."""
    acme = stand.world.acme
    key, token = acme.rows["sent"], acme.tokens["admin"]
    await stand.sql("UPDATE campaigns SET status = 'SENDING', type = 'LETTER' WHERE id = :id", id=key)
    # Of what is made in a time to come no age is reckoned.
    more: Input = {"created_at": NEVER_EXPIRES, "heartbeat_at": NEVER_EXPIRES, "attempt": 1}
    id = await running_export(stand, **{**RUNNING, **more}, campaign_id=key)
    await stand.sql("DELETE FROM campaign_deliveries WHERE campaign_id = :id", id=key)
    await stand.sql(
        "INSERT INTO campaign_deliveries (company_id, campaign_id) VALUES (:company, :id)", company=acme.id, id=key
    )
    claim = Claim(acme.id, 1, JobKind.EXPORT, id, attempt=1, failures=0)

    async def write(rows: int, *, telling: bool) -> None:
        async with stand.database.writing(acme.id) as session:
            await write_progress(session, claim, {"rows_processed": rows}, telling=telling)

    async with stand.watching(document, token, {"id": str(key)} if document == WATCH else {}) as watched:

        async def percent() -> float:
            (found,) = (await watched.event()).values()
            campaign = found[0] if isinstance(found, list) else found
            return float(campaign["statistics"]["percent"])

        assert await percent() == 25
        await write(4, telling=True)
        assert await percent() == 50
        await write(5, telling=False)
        await write(6, telling=True)
        assert await percent() == 75
        async with stand.database.writing(acme.id) as session:
            over = {"status": ExportStatus.FAILED, "error_code": "X", "rows_processed": 8}
            await end(session, claim, **over)
        assert await percent() == 100


async def test_letters_of_a_worker(stand: Stand, tmp_path: Path) -> None:
    """Whoever watches sees the letters being made up to the last, also where some cannot be made; nobody is SENT one
    before the archive is there.
    """
    acme = stand.world.acme
    async with exports_of(stand.world.url, acme, tmp_path) as exports:
        letters = await letters_to(exports, acme, 40)
        await exports.change("DELETE FROM contacts WHERE last_name IN ('Person 00007', 'Person 00040')")
        files = HeldFiles(exports.folder / "files")
        seen: list[Any] = []
        async with (
            stand.watching(WATCH, acme.tokens["admin"], {"id": str(letters.campaign_id)}) as watched,
            exporting(exports.url, exports.folder, files=files, chunk=5),
        ):
            seen.append((await watched.event())["campaign"])
            id = await letters.ask()
            while seen[-1]["statistics"]["percent"] < 100:
                seen.append((await watched.event())["campaign"])
            row = await exports.row(id)
            assert (row.status, row.rows_total, row.rows_processed) == ("RUNNING", 40, 40)
            files.going_on.set()
            await exports.content_of(id)
    percents = [campaign["statistics"]["percent"] for campaign in seen]
    assert percents[0] == 0
    assert percents == sorted(percents)
    assert seen[-1]["statistics"] == {"total": 40, "queued": 38, "sent": 0, "failed": 2, "percent": 100}
    assert not any(campaign["delivery"]["stalled"] for campaign in seen)
