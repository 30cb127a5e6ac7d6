"""Is a campaign of letters carried out: an export that makes them, waited for, and its end written down?

And what becomes of the letters when the campaign is paused or canceled meanwhile?
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from jobs.delivery.letters import AT_ONCE, NOT_MADE, write_letters
from jobs.delivery.plan import Plan, read_plan
from jobs.exports.states import end
from jobs.letters.rows import DELETED
from jobs.queue import Claim, Write
from jobs.transport import NO_SERVER
from jobs.worker import Duty
from store.delivery import cancel_waiting
from store.models import ExportStatus, JobKind
from tests.campaign_documents import Desk, desk_over, step
from tests.conftest import World
from tests.exporting import Exports, exporting, exports_of
from tests.lettering import archived, lines_of, text_of
from tests.post import at_work as doing
from tests.post import until
from tests.sending import QUICK, Sending, at_work, sending_of
from tests.test_exporter import HeldFiles

pytestmark = pytest.mark.anyio

REACHABLE = (
    "UPDATE contacts SET letter_consent_given = true, address = 'Street ' || substr(first_name, 7), zip_code = '8000',"
    " city = 'Aarhus' WHERE country = 'Audience'"
)
NOTIFICATIONS = "SELECT user_id, kind FROM notifications WHERE campaign_id = :id"
EXPORTS = "SELECT id, kind, format, status, requested_by_id FROM exports WHERE campaign_id = :id ORDER BY created_at"
FAILED_EXPORTS = "SELECT id FROM exports WHERE campaign_id = :id AND status = 'FAILED'"
LOCKED_OUT = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
PAUSE, RESUME, CANCEL = (step(f"{name}Campaign") for name in ("pause", "resume", "cancel"))
JOBS_OF_EXPORTS = "SELECT count(*) FROM jobs WHERE kind = 'EXPORT' AND due_at < '2099-01-01'"

FAILED: dict[str, object] = {
    "status": ExportStatus.FAILED,
    "error_code": "DISK_FULL",
    "error_message": "There was no room for the file.",
}


@pytest.fixture
async def sending(world: World) -> AsyncIterator[Sending]:
    async with sending_of(world.url, world.acme) as found:
        yield found


@pytest.fixture
async def exports(world: World, tmp_path: Path) -> AsyncIterator[Exports]:
    async with exports_of(world.url, world.acme, tmp_path) as found:
        yield found


@pytest.fixture
async def desk(world: World) -> AsyncIterator[Desk]:
    async with desk_over(world) as found:
        yield found


class Fake:
    """In the place of what writes letters: does something, and then has the export end."""

    def __init__(self, sending: Sending, values: dict[str, object], before: str = "SELECT 1") -> None:
        """`values`: how the export ends."""
        self._sending = sending
        self._values = values
        self._before = before

    async def __call__(self, claim: Claim) -> Write:
        await self._sending.change(self._before)

        async def write(session: AsyncSession) -> None:
            await end(session, claim, **self._values)

        return write

    def given_up(self, claim: Claim, error: BaseException) -> Write:
        raise error

    async def over(self, claim: Claim) -> None:
        """There is nothing to remove."""


async def letters(sending: Sending, people: int, **values: object) -> UUID:
    await sending.add_contacts(people)
    await sending.change(REACHABLE)
    return await sending.send(type="LETTER", message_subject=None, message_sender=None, **values)


def completed(world: World) -> dict[str, object]:
    return {"status": ExportStatus.COMPLETED, "file_id": world.acme.rows["file"]}


async def ended(sending: Sending, id: UUID, fake: Fake) -> Any:
    duties = {JobKind.EXPORT: Duty(fake)}
    async with at_work(sending.url, NO_SERVER), doing(sending.url, duties, pace=QUICK):
        return await sending.end_of(id)


async def test_letters_are_made(sending: Sending, exports: Exports) -> None:
    """An archive of everybody's letter is made by an export; when it is there the campaign is over, and its author is
    told that the letters are ready.
    """
    await sending.add_contacts(1, first=4)  # who has no postal address
    await sending.change("UPDATE contacts SET letter_consent_given = true WHERE country = 'Audience'")
    await sending.change(
        "INSERT INTO templates (company_id, user_id, type, title, content, margin_top, margin_left)"
        " VALUES (:company_id, :user_id, 'LETTER', 'L', '<h1>Acme</h1>{{content}}', 60, 44)",
        company_id=sending.company_id,
        user_id=sending.user_id,
    )
    template_id = await sending.value("SELECT max(id) FROM templates")
    await sending.add_contacts(3)
    await sending.change(f"{REACHABLE} AND first_name <> 'First 4'")
    id = await sending.send(type="LETTER", template_id=template_id)
    async with at_work(sending.url, NO_SERVER):
        await until(lambda: sending.rows(EXPORTS, id=id))
        # What is done to the template after the campaign began changes none of its letters.
        await sending.change("UPDATE templates SET content = 'New', margin_left = 5")
        assert await sending.recipients(id) == {"QUEUED": 3}
        async with exporting(exports.url, exports.folder):
            row = await sending.end_of(id)
    assert (row.status, row.total_sent, row.recipients, row.problem_code) == ("COMPLETED", 3, 3, None)
    assert row.excluded == {"NO_ADDRESS": 1}
    assert row.sent_at is not None
    (export,) = await sending.rows(EXPORTS, id=id)
    assert export[1:] == ("LETTERS", "ZIP", "COMPLETED", sending.user_id)
    found = archived(await exports.content_of(export.id))
    for pdf in found.values():
        assert [line.x for line in lines_of(pdf) if line.text == "Acme"] == [pytest.approx(44, abs=1)]
    assert {text_of(pdf) for pdf in found.values()} == {
        f"First {n} Last {n}\nStreet {n}\n8000 Aarhus\nAudience\nAcme\nDear First {n} Last {n}" for n in (1, 2, 3)
    }
    assert await sending.recipients(id) == {"SENT": 3}
    assert await sending.reports(id) == {("SENT", None): 3}
    assert await sending.rows(NOTIFICATIONS, id=id) == [(sending.user_id, "LETTERS_READY")]


@pytest.mark.parametrize("values", [FAILED, {"status": ExportStatus.CANCELED}], ids=["failed", "canceled"])
async def test_letters_that_are_not_made(sending: Sending, values: dict[str, object]) -> None:
    """When the export fails or is canceled, so does the campaign: nobody was reached, and its author is told."""
    id = await letters(sending, 2)
    row = await ended(sending, id, Fake(sending, values))
    assert (row.status, row.problem_code, row.total_sent, row.sent_at) == ("FAILED", "LETTERS_FAILED", 0, None)
    assert row.problem_message
    assert await sending.reports(id) == {("FAILED", NOT_MADE): 2}
    assert await sending.rows(NOTIFICATIONS, id=id) == [(sending.user_id, "CAMPAIGN_FAILED")]


async def test_again_after_a_failure(sending: Sending, world: World) -> None:
    """A campaign whose letters could not be made can be sent again, with an export and recipients of its own."""
    id = await letters(sending, 2)
    await ended(sending, id, Fake(sending, FAILED))
    await sending.change("DELETE FROM contacts WHERE first_name = 'First 1'")
    await sending.change("UPDATE campaigns SET status = 'SENDING' WHERE id = :id", id=id)
    await sending.carry_out(id)
    row = await ended(sending, id, Fake(sending, completed(world)))
    assert (row.status, row.problem_code, row.total_sent, row.recipients) == ("COMPLETED", None, 1, 1)
    assert [export.status for export in await sending.rows(EXPORTS, id=id)] == ["FAILED", "COMPLETED"]


async def test_contact_deleted_meanwhile(sending: Sending, exports: Exports) -> None:
    """Who is gone before their letter is written has FAILED; the others have theirs."""
    id = await letters(sending, 3)
    async with at_work(sending.url, NO_SERVER):
        await until(lambda: sending.rows(EXPORTS, id=id))
        await sending.change("DELETE FROM contacts WHERE first_name = 'First 2'")
        async with exporting(exports.url, exports.folder):
            row = await sending.end_of(id)
    assert (row.status, row.total_sent, row.problem_code) == ("COMPLETED", 2, None)
    assert await sending.reports(id) == {("SENT", None): 2, ("FAILED", DELETED): 1}
    assert await sending.rows(NOTIFICATIONS, id=id) == [(sending.user_id, "LETTERS_READY")]


async def test_everybody_is_gone(sending: Sending, world: World) -> None:
    """When no letter is in the archive, nobody was reached."""
    id = await letters(sending, 2)
    gone = "UPDATE recipients SET status = 'FAILED' WHERE status = 'QUEUED'"
    row = await ended(sending, id, Fake(sending, completed(world), gone))
    assert (row.status, row.problem_code, row.total_sent) == ("FAILED", "NOBODY_REACHED", 0)
    assert await sending.rows(NOTIFICATIONS, id=id) == [(sending.user_id, "CAMPAIGN_FAILED")]


async def test_asked_for_once(sending: Sending, world: World) -> None:
    """However often the campaign is taken up while its letters are being made, there is one export of them; when
    nothing tells that it has ended, the campaign looks by itself.
    """
    id = await letters(sending, 2)
    for _ in range(3):
        async with at_work(sending.url, NO_SERVER):
            await until(lambda: sending.rows(EXPORTS, id=id))
            await sending.carry_out(id)
            await until(lambda: waits(sending, id))
    assert (await sending.row(id)).status == "SENDING"
    ((export_id, *_),) = await sending.rows(EXPORTS, id=id)
    done = "UPDATE exports SET status = :status, file_id = :file_id WHERE id = :id"
    await sending.change(done, id=export_id, **completed(world))
    # As if the time had passed.
    await sending.change("UPDATE jobs SET due_at = now() WHERE kind = 'CAMPAIGN'")
    async with at_work(sending.url, NO_SERVER):
        row = await sending.end_of(id)
    assert (row.status, row.total_sent) == ("COMPLETED", 2)


async def test_archives_that_are_made_again(sending: Sending) -> None:
    """Of a sending that was paused for long the letters were made, though their file's life is over; an archive that
    somebody asked for again meanwhile, and that failed, changes nothing.
    """
    id = await letters(sending, 2)
    async with at_work(sending.url, NO_SERVER):
        await until(lambda: sending.rows(EXPORTS, id=id))
        await until(lambda: waits(sending, id))
    await sending.change("UPDATE exports SET status = 'EXPIRED' WHERE campaign_id = :id", id=id)
    await sending.change(
        "INSERT INTO exports (company_id, kind, format, status, error_code, requested_by_id, campaign_id,"
        " regenerated_from_id, created_at) SELECT company_id, kind, format, 'FAILED', 'DISK_FULL', requested_by_id,"
        " campaign_id, id, clock_timestamp() FROM exports WHERE campaign_id = :id",
        id=id,
    )
    await sending.change("UPDATE jobs SET due_at = now() WHERE kind = 'CAMPAIGN'")
    async with at_work(sending.url, NO_SERVER):
        row = await sending.end_of(id)
    assert (row.status, row.total_sent, row.problem_code) == ("COMPLETED", 2, None)


async def waits(sending: Sending, id: UUID) -> bool:
    found = await sending.value(
        "SELECT count(*) FROM jobs WHERE subject_id = :id AND claimed_until IS NULL AND due_at > now()", id=id
    )
    return bool(found)


async def begun(sending: Sending, people: int) -> UUID:
    """A campaign whose letters were asked for, and are waited for."""
    id = await letters(sending, people)
    async with at_work(sending.url, NO_SERVER):
        await until(lambda: sending.rows(EXPORTS, id=id))
        await until(lambda: waits(sending, id))
    return id


async def plan_of(sending: Sending, id: UUID) -> Plan:
    async with sending.database.writing(sending.company_id) as session:
        return await read_plan(session, sending.company_id, id)


async def test_paused_while_letters_are_made(sending: Sending, exports: Exports, desk: Desk) -> None:
    """While a campaign is paused its letters are made, but nobody is SENT one, and it is not over; when it is resumed
    it ends at once, with the archive that is there.
    """
    id = await letters(sending, 3)
    async with at_work(sending.url, NO_SERVER):
        await until(lambda: sending.rows(EXPORTS, id=id))
        await desk.made(PAUSE, id=str(id))
        ((export_id, *_),) = await sending.rows(EXPORTS, id=id)
        async with exporting(exports.url, exports.folder):
            assert len(archived(await exports.content_of(export_id))) == 3
        # The export's end had it looked at.
        await until(lambda: waits(sending, id))
        assert (await sending.row(id)).status == "SENDING"
        assert await sending.recipients(id) == {"QUEUED": 3}
        assert await sending.rows(NOTIFICATIONS, id=id) == []
        await desk.made(RESUME, id=str(id))
        row = await sending.end_of(id)
    assert (row.status, row.total_sent) == ("COMPLETED", 3)
    assert await sending.recipients(id) == {"SENT": 3}
    assert [found.id for found in await sending.rows(EXPORTS, id=id)] == [export_id]
    assert await sending.rows(NOTIFICATIONS, id=id) == [(sending.user_id, "LETTERS_READY")]


async def test_failed_while_paused(sending: Sending, desk: Desk) -> None:
    """Letters that cannot be made end a paused campaign only when it is resumed."""
    id = await begun(sending, 2)
    await desk.made(PAUSE, id=str(id))
    async with at_work(sending.url, NO_SERVER):
        async with doing(sending.url, {JobKind.EXPORT: Duty(Fake(sending, FAILED))}, pace=QUICK):
            await until(lambda: sending.rows(FAILED_EXPORTS, id=id))
        await until(lambda: waits(sending, id))
        assert (await sending.row(id)).status == "SENDING"
        assert await sending.recipients(id) == {"QUEUED": 2}
        await desk.made(RESUME, id=str(id))
        row = await sending.end_of(id)
    assert (row.status, row.problem_code) == ("FAILED", "LETTERS_FAILED")


async def test_paused_in_the_last_moment(sending: Sending, world: World, desk: Desk) -> None:
    """A pause that comes between the look at the campaign and the end of its letters holds."""
    id = await begun(sending, 2)
    done = "UPDATE exports SET status = :status, file_id = :file_id WHERE campaign_id = :id"
    await sending.change(done, id=id, **completed(world))
    plan = await plan_of(sending, id)
    async with desk.until_waiting(str(id), 2):
        pausing = asyncio.create_task(desk.made(PAUSE, id=str(id)))
        # Who comes first is let in first.
        await until(lambda: sending.value(LOCKED_OUT))
        writing = asyncio.create_task(write_letters(sending.database, plan))
    await pausing
    assert await writing == AT_ONCE
    assert await sending.recipients(id) == {"QUEUED": 2}


async def test_canceled_before_letters_are_asked_for(sending: Sending, desk: Desk) -> None:
    """No letters are asked for of a campaign that was canceled, or paused, since it was looked at."""
    id = await begun(sending, 2)
    await sending.change("DELETE FROM exports WHERE campaign_id = :id", id=id)
    plan = await plan_of(sending, id)
    for document in (PAUSE, CANCEL):
        await desk.made(document, id=str(id))
        assert await write_letters(sending.database, plan) == AT_ONCE
        assert await sending.rows(EXPORTS, id=id) == []


@pytest.mark.parametrize("running", [False, True], ids=["waiting", "running"])
async def test_canceled_while_letters_are_made(sending: Sending, exports: Exports, desk: Desk, running: bool) -> None:
    """Canceling the campaign cancels the export of its letters, whether a worker has it or not: no file is left, nobody
    gets a letter, and nobody is told of an end.
    """
    id = await begun(sending, 4)
    ((export_id, *_),) = await sending.rows(EXPORTS, id=id)
    files = HeldFiles(exports.folder / "files")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(at_work(sending.url, NO_SERVER))
        if running:
            await stack.enter_async_context(exporting(exports.url, exports.folder, files=files))
            await files.asked.wait()
            assert exports.left() != set()
        made = await desk.made(CANCEL, id=str(id))
        assert made["status"] == "CANCELED"
        if not running:
            assert (await exports.row(export_id)).status == "CANCELED"
            await stack.enter_async_context(exporting(exports.url, exports.folder, files=files))
        await until(lambda: no_exports_to_make(sending))
        # As if the time had passed after which the campaign is looked at again.
        await sending.change("UPDATE jobs SET due_at = now() WHERE kind = 'CAMPAIGN'")
        row = await sending.end_of(id)
    assert (await exports.row(export_id)).status == "CANCELED"
    assert exports.left() == set()
    assert (row.status, row.total_sent, row.problem_code) == ("CANCELED", 0, None)
    assert await sending.recipients(id) == {"CANCELED": 4}
    assert await sending.reports(id) == {("CANCELED", None): 4}
    assert await sending.rows(NOTIFICATIONS, id=id) == []


async def test_canceled_while_letters_end(sending: Sending) -> None:
    """Whoever cancels a campaign while the export of its letters comes to its end waits for that, or that for them,
    but not both.
    """
    id = await begun(sending, 2)
    ((export_id, *_),) = await sending.rows(EXPORTS, id=id)
    claim = Claim(sending.company_id, 1, JobKind.EXPORT, export_id, attempt=1, failures=0)

    async def end_it() -> None:
        async with sending.database.writing(sending.company_id) as session:
            await end(session, claim, **FAILED)

    async with sending.database.writing(sending.company_id) as session:
        await session.execute(text("SELECT FROM jobs WHERE subject_id = :id FOR UPDATE"), {"id": id})
        ending = asyncio.create_task(end_it())
        await until(lambda: sending.value(LOCKED_OUT))
        await cancel_waiting(session, sending.company_id, id)
    await ending
    assert await sending.recipients(id) == {"CANCELED": 2}
    assert [export.status for export in await sending.rows(EXPORTS, id=id)] == ["CANCELED"]


async def no_exports_to_make(sending: Sending) -> bool:
    return not await sending.value(JOBS_OF_EXPORTS)
