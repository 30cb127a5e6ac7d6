"""Is a campaign of letters one archive, in which everybody has their own letter, whatever happens on the way?"""

from __future__ import annotations

import os
import random
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import anyio
import psutil
import pytest

from jobs.letters import children
from jobs.letters.rows import DELETED, WITHDRAWN
from tests.conftest import World
from tests.export_worker import kill, worker_process
from tests.exporting import Exports, exporting, exports_of
from tests.lettering import archived, letters_to, lines_of, setters, text_of
from tests.post import until

pytestmark = pytest.mark.anyio

KILLS = 5
# So few letters between two checkpoints that a worker is at it for a second.
CHUNK = 5
LETTERS_KEPT = "SELECT count(*) FROM campaign_messages m JOIN recipients r ON r.id = m.id WHERE r.campaign_id = :id"


@pytest.fixture
async def exports(world: World, tmp_path: Path) -> AsyncIterator[Exports]:
    async with exports_of(world.url, world.acme, tmp_path) as found:
        yield found


async def test_everybody_has_their_own_letter(exports: Exports, world: World) -> None:
    """A letter for each recipient, in their order: their address, their values, in the frozen template."""
    template = "<h1>Acme</h1>{{content}}<p>Regards</p>"
    letters = await letters_to(exports, world.acme, 60, template_content=template)
    async with exporting(exports.url, exports.folder):
        id = await letters.ask()
        found = archived(await exports.content_of(id))
    row = await exports.row(id)
    assert (row.rows_total, row.rows_processed, row.columns) == (60, 60, [])
    assert re.fullmatch(
        r"letters-[0-9-]{10}-[0-9a-f]{8}\.zip",
        await exports.value("SELECT name FROM files WHERE id = :id", id=row.file_id),
    )
    assert list(found) == [f"{n:06}-ann{n}-person-{n:05}.pdf" for n in range(1, 61)]
    for n, pdf in enumerate(found.values(), 1):
        address = f"Ann{n} Person {n:05}\nStreet {n}\n8000 City {n}\nDenmark"
        said = f"Acme\nDear Ann{n} Person {n:05},\nyou have {n} cars.\nRegards"
        assert text_of(pdf) == f"{address}\n{said}"
    assert exports.left() == await exports.known()


async def test_letters_are_kept(exports: Exports, world: World) -> None:
    """What each letter says is kept, and so is everybody's status: that is for whoever sends the campaign to change."""
    letters = await letters_to(exports, world.acme, 3)
    async with exporting(exports.url, exports.folder):
        await exports.content_of(await letters.ask())
    sql = (
        "SELECT m.content, m.subject FROM campaign_messages m JOIN recipients r ON r.id = m.id WHERE campaign_id = :id"
    )
    content = await exports.value(f"{sql} ORDER BY r.id LIMIT 1", id=letters.campaign_id)
    assert '<address class="recipient">Ann1 Person 00001<br>' in content
    assert "<p>you have 1 cars.</p>" in content
    assert await exports.value(LETTERS_KEPT, id=letters.campaign_id) == 3
    assert await letters.statuses() == ["QUEUED"] * 3


async def test_made_again(exports: Exports, world: World) -> None:
    """An archive that is made again holds the same letters, whatever has changed since: they were sent like that."""
    letters = await letters_to(exports, world.acme, 4)
    async with exporting(exports.url, exports.folder):
        first = archived(await exports.content_of(await letters.ask()))
        await exports.change("UPDATE recipients SET status = 'SENT' WHERE campaign_id = :id", id=letters.campaign_id)
        await exports.change("UPDATE contacts SET first_name = 'Zoe' WHERE last_name LIKE 'Person%'")
        await exports.change("DELETE FROM contacts WHERE last_name = 'Person 00002'")
        await exports.change("UPDATE campaigns SET message_content = 'x' WHERE id = :id", id=letters.campaign_id)
        again = archived(await exports.content_of(await letters.ask()))
    assert again == first
    assert await letters.statuses() == ["SENT"] * 4


async def test_deleted_contacts(exports: Exports, world: World) -> None:
    """Whose contact is gone gets no letter: FAILED, with a report that says why; the others are numbered on."""
    letters = await letters_to(exports, world.acme, 5)
    await exports.change("DELETE FROM contacts WHERE last_name IN ('Person 00001', 'Person 00004')")
    async with exporting(exports.url, exports.folder):
        id = await letters.ask()
        found = archived(await exports.content_of(id))
        later = await letters.ask()
        again = archived(await exports.content_of(later))
    assert list(found) == [
        "000001-ann2-person-00002.pdf",
        "000002-ann3-person-00003.pdf",
        "000003-ann5-person-00005.pdf",
    ]
    assert again == found
    assert [(await exports.row(each)).rows_processed for each in (id, later)] == [5, 3]
    assert await letters.statuses() == ["FAILED", "QUEUED", "QUEUED", "FAILED", "QUEUED"]
    sql = "SELECT array_agg(reply || status) FROM delivery_reports WHERE campaign_id = :id"
    assert await exports.value(sql, id=letters.campaign_id) == [f"{DELETED}FAILED"] * 2


@pytest.mark.parametrize("consent", ["false", "NULL"])
async def test_withdrawn_consent(exports: Exports, world: World, consent: str) -> None:
    """Who withdrew their consent before their letter was made gets none; one that was made before stays."""
    letters = await letters_to(exports, world.acme, 3)
    withdrawn = f"UPDATE contacts SET letter_consent_given = {consent} WHERE last_name = :name"
    await exports.change(withdrawn, name="Person 00002")
    async with exporting(exports.url, exports.folder):
        found = archived(await exports.content_of(await letters.ask()))
        await exports.change(withdrawn, name="Person 00003")
        again = archived(await exports.content_of(await letters.ask()))
    assert list(found) == ["000001-ann1-person-00001.pdf", "000002-ann3-person-00003.pdf"]
    assert again == found
    assert await letters.statuses() == ["QUEUED", "FAILED", "QUEUED"]
    sql = "SELECT array_agg(reply || status) FROM delivery_reports WHERE campaign_id = :id"
    assert await exports.value(sql, id=letters.campaign_id) == [f"{WITHDRAWN}FAILED"]


async def test_a_letter_that_cannot_be_set(exports: Exports, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A letter that a process cannot set does not cost the archive: it has FAILED, and the others are there."""
    monkeypatch.setattr(children, "MOST_BYTES", 10_000)
    letters = await letters_to(exports, world.acme, 6, content="<p>{{contact.title}}</p>" * 150)
    await exports.change("UPDATE contacts SET title = repeat('many words ', 20) WHERE last_name = 'Person 00003'")
    async with exporting(exports.url, exports.folder):
        found = archived(await exports.content_of(await letters.ask()))
    assert len(found) == 5
    assert await letters.statuses() == [*["QUEUED"] * 2, "FAILED", *["QUEUED"] * 3]
    reply = await exports.value("SELECT reply FROM delivery_reports WHERE campaign_id = :id", id=letters.campaign_id)
    assert reply == "The letter could not be set: it takes too long, or too much memory."
    assert await exports.value(LETTERS_KEPT, id=letters.campaign_id) == 5


async def test_margins(exports: Exports, world: World) -> None:
    """Text stands within the margins that were frozen with the template, within the usual ones if none were."""
    frozen = {"margin_top": 31.0, "margin_right": 40.0, "margin_bottom": 45.0, "margin_left": 33.0}
    content = f"<p>Begin</p><p>{'MM ' * 3000}</p>"
    # Of "MM ", and from one base line to the next.
    wide, high = 7.6, 5.1
    for margins, (top, right, bottom, left) in ((frozen, (31, 40, 45, 33)), ({}, (20, 25, 20, 25))):
        letters = await letters_to(exports, world.acme, 1, content=content, **margins)
        async with exporting(exports.url, exports.folder):
            (pdf,) = archived(await exports.content_of(await letters.ask())).values()
        await exports.change("DELETE FROM contacts WHERE last_name LIKE 'Person%'")
        page = lines_of(pdf, 1)
        assert [line.x for line in page] == pytest.approx([left] * len(page), abs=0.1)
        assert -1 < 210 - left - right - wide * len(page[0].text.split()) < wide
        # The letters of the first line begin where the margin ends.
        assert page[0].y == pytest.approx(top + 2.5, abs=0.2)
        assert 0 <= 297 - bottom - page[-1].y < high
        # The window of an envelope is where it is, and the letter begins below.
        person, *_, begin = lines_of(pdf)[:5]
        assert (person.text, begin.text) == ("Ann1 Person 00001", "Begin")
        assert (person.x, person.y) == pytest.approx((25, 65.1), abs=0.2)
        assert begin.x == pytest.approx(left, abs=0.1)
        assert begin.y > 98.5


async def test_never_sent(exports: Exports, world: World) -> None:
    """Without a sending there is nothing frozen, and so no letter; and letters are an archive, nothing else."""
    campaign = world.acme.rows["personal"]
    async with exporting(exports.url, exports.folder):
        row = await exports.end_of(await exports.ask("ZIP", kind="LETTERS", campaign_id=campaign))
        other = await exports.end_of(await exports.ask("CSV", kind="LETTERS", campaign_id=campaign))
    assert (row.status, row.error_code) == ("FAILED", "NOT_SENT")
    assert (other.status, other.error_code) == ("FAILED", "UNSUPPORTED_FORMAT")


@pytest.mark.parametrize("status", ["FAILED", "CANCELED"])
async def test_nobody(exports: Exports, world: World, status: str) -> None:
    """When nobody is left who gets a letter there is no archive, and the export says so."""
    letters = await letters_to(exports, world.acme, 2)
    gone = "UPDATE recipients SET status = :status WHERE campaign_id = :id"
    await exports.change(gone, status=status, id=letters.campaign_id)
    async with exporting(exports.url, exports.folder):
        row = await exports.end_of(await letters.ask())
    assert (row.status, row.error_code, row.file_id) == ("FAILED", "NOT_SENT", None)


async def test_killed(exports: Exports, world: World) -> None:
    """kill -9 in the middle, again and again: the next worker goes on, and the archive is the same to the byte."""
    letters = await letters_to(exports, world.acme, 400)
    as_of = "UPDATE exports SET as_of = '2026-11-21T12:00:00Z' WHERE id = :id"
    moments = random.Random(7)
    id = await letters.ask()
    await exports.change(as_of, id=id)
    resumed, processed = 0, 0
    for attempt in range(1, KILLS + 1):
        with worker_process(exports.url, exports.folder, CHUNK) as process:
            await further(exports, id, attempt, processed)
            await anyio.sleep(moments.uniform(0, 0.05))
            below = setters(process.pid)
            kill(process, signal.SIGKILL)
        row = await exports.row(id)
        assert row.status == "RUNNING"
        assert processed < row.rows_processed < 400
        resumed += processed > 0
        processed = row.rows_processed
        # Nobody told them to end.
        await until_gone(below)
        assert await exports.value(LETTERS_KEPT, id=letters.campaign_id) == processed
        await exports.end_the_leases()
    async with exporting(exports.url, exports.folder, chunk=CHUNK):
        disturbed = await exports.content_of(id)
        undisturbed = await letters.ask()
        await exports.change(as_of, id=undisturbed)
        assert resumed == KILLS - 1
        assert len(archived(disturbed)) == 400
        await exports.change("DELETE FROM campaign_messages")
        assert await exports.content_of(undisturbed) == disturbed
    assert exports.left() == await exports.known()


async def further(exports: Exports, id: UUID, attempt: int, rows: int) -> None:
    """Returns when this attempt has written more rows than these."""
    with anyio.fail_after(30):
        while True:
            row = await exports.row(id)
            if row.attempt >= attempt and row.rows_processed > rows:
                return
            assert row.status in ("PENDING", "RUNNING")
            await anyio.sleep(0.002)


async def until_gone(processes: list[psutil.Process]) -> None:
    async def are_gone() -> bool:
        return not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in processes)

    await until(are_gone)


async def test_its_processes_are_killed(exports: Exports, world: World) -> None:
    """A process that the system ends in the middle of a letter is replaced, and no letter is missing."""
    letters = await letters_to(exports, world.acme, 300)
    async with exporting(exports.url, exports.folder, chunk=50):
        id = await letters.ask()
        for rows in (50, 100, 150):
            await exports.until_rows(id, rows)
            os.kill(setters()[0].pid, signal.SIGKILL)
        assert len(archived(await exports.content_of(id))) == 300
        assert (await exports.row(id)).attempt == 1
    assert setters() == []


async def test_canceled(exports: Exports, world: World) -> None:
    """An archive that nobody wants any more leaves no process and no file, but what the letters said."""
    letters = await letters_to(exports, world.acme, 300)
    async with exporting(exports.url, exports.folder, chunk=CHUNK):
        id = await letters.ask()
        await exports.until_rows(id, 20)
        await exports.change("UPDATE exports SET status = 'CANCELING' WHERE id = :id", id=id)
        assert (await exports.end_of(id)).status == "CANCELED"
        await until_gone(setters())
    assert exports.left() == set()


async def test_signs_of_life(exports: Exports, world: World) -> None:
    """While a letter takes long the worker says that it lives, and that it is still at it."""
    letters = await letters_to(exports, world.acme, 1)
    async with exporting(exports.url, exports.folder):
        id = await letters.ask()
        await until(has_setters)
        (process,) = setters()
        process.suspend()
        sequence = (await exports.row(id)).sequence
        try:
            await until(
                lambda: exports.value("SELECT sequence > :n + 1 FROM exports WHERE id = :id", n=sequence, id=id)
            )
        finally:
            process.resume()
        assert len(archived(await exports.content_of(id))) == 1


async def has_setters() -> bool:
    return bool(setters())
