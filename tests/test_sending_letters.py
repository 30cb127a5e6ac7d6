"""Is a campaign of letters carried out: an export that makes them, waited for, and its end written down?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from jobs.delivery.letters import NOT_MADE
from jobs.exports.states import end
from jobs.letters.rows import DELETED
from jobs.queue import Claim, Write
from jobs.transport import NO_SERVER
from jobs.worker import Duty
from store.models import ExportStatus, JobKind
from tests.conftest import World
from tests.exporting import Exports, exporting, exports_of
from tests.lettering import archived, lines_of, text_of
from tests.post import at_work as doing
from tests.post import until
from tests.sending import QUICK, Sending, at_work, sending_of

pytestmark = pytest.mark.anyio

REACHABLE = (
    "UPDATE contacts SET letter_consent_given = true, address = 'Street ' || substr(first_name, 7), zip_code = '8000',"
    " city = 'Aarhus' WHERE country = 'Audience'"
)
NOTIFICATIONS = "SELECT user_id, kind FROM notifications WHERE campaign_id = :id"
EXPORTS = "SELECT id, kind, format, status, requested_by_id FROM exports WHERE campaign_id = :id ORDER BY created_at"

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
