"""How does an export of the kind LETTERS come to be? As a PDF for each recipient, in an archive that grows."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import ExitStack, aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from uuid import UUID

from content.letters import CompiledLetter, addressee, compile_letter
from jobs.exports.ahead import Chunk
from jobs.exports.copying import Place
from jobs.exports.states import Begun
from jobs.exports.writers import Opening
from jobs.faults import through_outages
from jobs.letters import rows
from jobs.letters.archive import directory, entry, entry_name
from jobs.letters.children import LetterSetters, NoLetter, setting_letters
from jobs.letters.rows import Letter, Outcomes, Plan
from jobs.queue import Claim
from store.database import Database
from store.exports import CannotExport, ExportColumn
from store.files import Piece
from store.merge_values import LONGEST_VALUE
from store.models import ExportFormat

# Of the letters that are read, written and set between two checkpoints, as HTML.
MOST_CHARACTERS = 8_000_000
MOST_LETTERS = 50


class LettersWriter:
    """The letters of a campaign in the order of its recipients.

    A place is the id of a recipient, and how many letters there are up to that.
    """

    columns: tuple[ExportColumn, ...] = ()

    def __init__(
        self, database: Database, plan: Plan, letter: CompiledLetter, begun: Begun, setters: LetterSetters
    ) -> None:
        self._database = database
        self._plan = plan
        self._letter = letter
        self._as_of = begun.as_of
        self._setters = setters

    async def count(self) -> int:
        async with self._database.writing(self._plan.company_id) as session:
            found = await rows.count(session, self._plan)
        if not found:
            raise CannotExport("NOT_SENT", "The campaign was sent to nobody: there are no letters.")
        return found

    def header(self) -> bytes:
        return b""

    @asynccontextmanager
    async def chunks(self, after: Place | None, _folder: Path, most_keys: int) -> AsyncIterator[AsyncIterator[Chunk]]:
        async with aclosing(self._chunks(after, min(most_keys, most_letters(self._letter)))) as found:
            yield found

    def ending(self, pieces: Sequence[Piece], path: Path) -> Piece:
        """The archive's directory."""
        with ExitStack() as stack, path.open("xb") as out:
            files = [(stack.enter_context(piece.path.open("rb")), piece.bytes) for piece in pieces]
            for some in directory(files):
                out.write(some)
            out.flush()
            os.fsync(out.fileno())
            return Piece(path, out.tell())

    async def _chunks(self, after: Place | None, most: int) -> AsyncGenerator[Chunk]:
        last, number = (int(str(part)) for part in after or (0, 0))
        while letters := await through_outages(partial(self._letters, last, most)):
            archive, outcomes = io.BytesIO(), Outcomes()
            for letter, pdf in zip(letters, await self._set(letters), strict=True):
                if isinstance(pdf, str):
                    outcomes.failures[letter.recipient_id] = pdf
                    continue
                number += 1
                archive.write(entry(entry_name(number, addressee(letter.document)), pdf, self._as_of))
                if not letter.kept:
                    outcomes.documents[letter.recipient_id] = letter.document
            last, size = letters[-1].recipient_id, archive.tell()
            archive.seek(0)
            record = partial(rows.write, plan=self._plan, outcomes=outcomes)
            yield Chunk([str(last), str(number)], len(letters), archive, size, record)

    async def _letters(self, after: int, most: int) -> list[Letter]:
        async with self._database.writing(self._plan.company_id) as session:
            return await rows.letters_after(session, self._plan, self._letter, after, most)

    async def _set(self, letters: Sequence[Letter]) -> list[bytes | str]:
        """The PDF of each, or why it has none."""
        tasks = [asyncio.create_task(self._pdf(letter)) for letter in letters]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pdf(self, letter: Letter) -> bytes | str:
        if letter.failure is not None:
            return letter.failure
        try:
            return await self._setters.pdf(letter.document)
        except NoLetter as error:
            return f"The letter could not be set: {error}."


def most_letters(letter: CompiledLetter) -> int:
    """How many are held at once, however long the values are that stand in them; at least one."""
    longest = letter.characters + len(letter.message.html.slots) * LONGEST_VALUE
    return min(MOST_LETTERS, max(1, MOST_CHARACTERS // longest))


def writing_letters(processes: int) -> Opening:
    """The opening of exports of the kind LETTERS; `processes`: how many set letters at a time for each export."""

    @asynccontextmanager
    async def opening(database: Database, claim: Claim, begun: Begun) -> AsyncIterator[LettersWriter]:
        assert begun.campaign_id is not None, "letters are of a campaign"
        if begun.format is not ExportFormat.ZIP:
            raise CannotExport("UNSUPPORTED_FORMAT", "Letters are written as a ZIP archive.")
        find = partial(find_plan, database, claim.company_id, begun.campaign_id)
        plan = await through_outages(find)
        # Once for all letters; of a long one this takes a second.
        letter = await asyncio.to_thread(compile_letter, content=plan.content, template=plan.template)
        async with setting_letters(plan.margins, processes) as setters:
            yield LettersWriter(database, plan, letter, begun, setters)

    return opening


async def find_plan(database: Database, company_id: int, campaign_id: UUID) -> Plan:
    async with database.writing(company_id) as session:
        plan = await rows.plan_of(session, company_id, campaign_id)
    if plan is None:
        raise CannotExport("NOT_SENT", "The campaign was not sent: nobody gets a letter.")
    return plan
