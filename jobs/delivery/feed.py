"""To whom is written next? To those who wait, in their order, but that no domain holds up the others."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from content.addresses import address_problem, domain_of
from jobs.delivery import recipients
from jobs.delivery.plan import Plan
from jobs.delivery.recipients import Ended
from jobs.faults import through_outages
from jobs.pacing import Pacer
from store.database import Database
from store.merge_values import MERGE_ROWS, contact_values
from store.models import DeliveryStatus
from store.sql_types import AnyRow

BATCH = 200
# So many wait in memory at most, when the pace of some domains is slow.
MOST_HELD = 2_000
# Of a domain of which so many wait no more are read, so that those of other domains are found behind them.
MANY_OF_DOMAIN = 200
# Seconds after which is looked whether to stop.
LONGEST_SLEEP = 0.25
DELETED = "The contact was deleted before the message was sent."
WITHDRAWN = "The contact withdrew their consent before the message was sent."
SUPPRESSED = "The address is not mailed to any more: messages to it came back."
NO_ADDRESS = "The contact has no address."


@dataclass(frozen=True)
class Item:
    """A recipient, and what the merge fields of their message stand for."""

    id: int
    attempt: int
    address: str = field(repr=False)
    name: str = field(repr=False)
    values: Mapping[str, str | None] = field(repr=False)


class Feed:
    """The recipients of a campaign that are due when they are asked for, each once."""

    def __init__(
        self, database: Database, plan: Plan, pacer: Pacer, unsubscribe_link: Callable[[int, int], str]
    ) -> None:
        self._database = database
        self._plan = plan
        self._pacer = pacer
        self._unsubscribe_link = unsubscribe_link
        self._waiting: dict[str, deque[Item]] = {}
        self._held = 0
        self._after = 0
        # Where the reading goes back to, as people of these domains were passed over from there on; and who was not.
        self._back_to = 0
        self._passed_over: set[str] = set()
        self._read: set[int] = set()
        self._ended = self._stopped = False
        self._coming: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    async def next(self) -> Item | None:
        """The next one, when the pace of their domain allows it; None when there is nobody any more."""
        async with self._turn:
            while not self._stopped:
                self._look_ahead()
                item, delay = self._taken()
                if item is not None:
                    return item
                if self._coming is not None and (delay is None or self._held < MOST_HELD):
                    await self._coming
                elif delay is None:
                    return None
                else:
                    await asyncio.sleep(min(delay, LONGEST_SLEEP))
        return None

    def stop(self) -> None:
        """Nobody is next any more."""
        self._stopped = True

    async def close(self) -> None:
        if self._coming is not None:
            self._coming.cancel()
            await asyncio.gather(self._coming, return_exceptions=True)

    def _taken(self) -> tuple[Item | None, float | None]:
        """One whose domain may be mailed to; or the time until one may, None if nobody waits."""
        delays = []
        for domain, items in self._waiting.items():
            delay = self._pacer.take(domain)
            if not delay:
                item = items.popleft()
                self._held -= 1
                # The domain is at the end of the line now.
                del self._waiting[domain]
                if items:
                    self._waiting[domain] = items
                return item, 0
            delays.append(delay)
        return None, min(delays, default=None)

    def _look_ahead(self) -> None:
        if self._coming is not None and self._coming.done():
            self._coming.result()
            self._coming = None
        few = any(self._number_of(domain) < BATCH // 2 for domain in self._passed_over)
        if self._coming is None and self._ended and few:
            self._after, self._ended = self._back_to, False
            self._passed_over.clear()
        if self._coming is None and not self._ended and (self._held < BATCH or self._is_held_up()):
            self._coming = asyncio.create_task(self._fetch())

    def _number_of(self, domain: str) -> int:
        return len(self._waiting.get(domain, ()))

    def _is_held_up(self) -> bool:
        """Whether all who wait have to, while others, of other domains, might not."""
        return self._held < MOST_HELD and all(self._pacer.delay_of(domain) for domain in self._waiting)

    async def _fetch(self) -> None:
        items = await through_outages(self._fetched)
        for item in items:
            self._waiting.setdefault(domain_of(item.address), deque()).append(item)
            self._read.add(item.id)
        self._held += len(items)

    async def _fetched(self) -> list[Item]:
        plan = self._plan
        many = [domain for domain in self._waiting if self._number_of(domain) >= MANY_OF_DOMAIN]
        async with self._database.writing(plan.company_id) as session:
            found_now = await recipients.due(
                session, plan.company_id, plan.campaign_id, after=self._after, most=BATCH, without=many
            )
            rows = [row for row in found_now if row.id not in self._read]
            contacts = [row.contact_id for row in rows if row.contact_id is not None]
            parameters = {"company_id": plan.company_id, "contact_ids": contacts, "author_id": plan.author_id}
            found = {row.id: row for row in await session.execute(MERGE_ROWS, parameters)}
            unreachable = [ended for row in rows if (ended := why_not(row, found)) is not None]
            if unreachable:
                await recipients.settle(session, plan.company_id, plan.campaign_id, unreachable)
        left_out = {ended.id for ended in unreachable}
        if many and not self._passed_over:
            self._back_to = self._after
        self._passed_over.update(many)
        if found_now:
            self._after = found_now[-1].id
        self._ended = len(found_now) < BATCH
        return [self._item(row, found[row.contact_id]) for row in rows if row.id not in left_out]

    def _item(self, row: AnyRow, merged: AnyRow) -> Item:
        link = self._plan.unsubscribe_url or self._unsubscribe_link(self._plan.company_id, row.id)
        values = contact_values(merged, link)
        # No longer than values are: the encoding of a header takes long.
        names = values["contact.first_name"], values["contact.last_name"]
        return Item(row.id, row.attempt, row.address, " ".join(filter(None, names)), values)


def why_not(row: AnyRow, contacts: Container[UUID]) -> Ended | None:
    """Why nothing goes to a recipient who waits, if it does not; `contacts`: those that are still there."""
    if row.contact_id not in contacts:
        return Ended(row.id, row.attempt, DeliveryStatus.FAILED, DELETED)
    if not row.consent:
        return Ended(row.id, row.attempt, DeliveryStatus.FAILED, WITHDRAWN)
    if row.suppressed:
        return Ended(row.id, row.attempt, DeliveryStatus.FAILED, SUPPRESSED)
    problem = NO_ADDRESS if row.address is None else address_problem(row.address)
    return None if problem is None else Ended(row.id, row.attempt, DeliveryStatus.FAILED, problem)
