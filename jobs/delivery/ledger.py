"""How are the states of thousands of messages a second written down? Those that wait together, in one transaction."""

from __future__ import annotations

import asyncio
from collections import Counter
from operator import attrgetter

from jobs.delivery.direct import DirectConnection
from jobs.delivery.recipients import TURN, Begun, Ended, turn_parameters
from jobs.faults import through_outages
from jobs.queue import Claim
from store.database import Database
from store.models import DeliveryStatus, SuppressionReason
from store.suppression import suppress

MOST_AT_A_TIME = 200


class Ledger:
    """The states of one campaign's messages. One task writes; whoever wants to begin waits for it, nobody else does."""

    def __init__(self, database: Database, claim: Claim) -> None:
        """`claim`: on the campaign's job. Once it is lost, nothing is begun any more; what ended is still written."""
        self._database = database
        self._direct = DirectConnection(database, claim.company_id, TURN)
        self._claim = claim
        self._begun: list[tuple[Begun, asyncio.Future[bool]]] = []
        self._ended: list[Ended] = []
        self._refused: list[str] = []
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        # How many messages came to each end.
        self.ends: Counter[DeliveryStatus] = Counter()

    def start(self) -> None:
        self._task = asyncio.create_task(self._write_all())

    async def begin(self, message: Begun) -> bool:
        """Whether the message may be handed over now: the database has it, and the campaign is still to be sent."""
        if self._task is None or self._task.done():
            raise asyncio.CancelledError
        allowed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._begun.append((message, allowed))
        self._wake.set()
        return await allowed

    def end(self, ended: Ended, *, refused: str | None = None) -> None:
        """Remembers what became of a message; `refused`: its address, if nobody is there."""
        self._ended.append(ended)
        self.ends[ended.status] += 1
        if refused is not None:
            self._refused.append(refused)
        self._wake.set()

    async def close(self) -> None:
        """Writes what is left. Raises what kept it from being written."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task

    async def _write_all(self) -> None:
        try:
            while self._begun or self._ended or not self._closing:
                if not (self._begun or self._ended):
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                await self._write_some()
        finally:
            await self._direct.close()
            # Nobody waits for what is not written any more.
            for _, allowed in self._begun:
                if not allowed.done():
                    allowed.cancel()

    async def _write_some(self) -> None:
        begun, self._begun = self._begun[:MOST_AT_A_TIME], self._begun[MOST_AT_A_TIME:]
        ended, self._ended = self._ended[:MOST_AT_A_TIME], self._ended[MOST_AT_A_TIME:]
        addresses, self._refused = self._refused, []
        # In the order in which statements over a whole campaign come to them, so that neither waits for the other.
        ended.sort(key=attrgetter("id"))
        tries = 0

        async def write() -> set[object]:
            nonlocal tries
            tries += 1
            wanted = [each for each, waiting in begun if not waiting.done()]
            parameters = turn_parameters(self._claim, wanted, ended, again=tries > 1)
            return {id for (id,) in await self._direct.rows(parameters)}

        try:
            if addresses:
                # Before the ends that tell of them, as whoever is cut off in between would forget.
                await through_outages(lambda: self._suppress(addresses))
            allowed = await through_outages(write)
        except BaseException:
            for _, waiting in begun:
                waiting.cancel()
            raise
        for each, waiting in begun:
            if not waiting.done():
                waiting.set_result(each.id in allowed)

    async def _suppress(self, addresses: list[str]) -> None:
        claim = self._claim
        async with self._database.writing(claim.company_id) as session:
            await suppress(session, claim.company_id, addresses, SuppressionReason.REFUSED, claim.subject_id)
