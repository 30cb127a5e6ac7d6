"""How does a campaign go out by e-mail: to each recipient once, as fast as the mail server and the pace allow?

Several connections take the next recipient each. That a hand-over begins is written down before, and what came of it
after; whoever goes on after a worker that was killed finds those in between, whose messages may have gone out or not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from content.addresses import ascii_address, domain_of
from content.mail_template import Built, MailTemplate, campaign_message_id, checked
from content.mime import Mailbox
from content.rendering import CompiledMessage, compile_message
from jobs.delivery import recipients
from jobs.delivery.feed import Feed, Item
from jobs.delivery.ledger import Ledger
from jobs.delivery.plan import Plan
from jobs.delivery.problems import Problem, mail_server_unavailable
from jobs.delivery.progress import Progress
from jobs.delivery.recipients import Begun, Ended
from jobs.faults import through_outages
from jobs.pacing import Breaker, Pacer, retry_after
from jobs.queue import Claim
from jobs.replies import readable
from jobs.transport import Answer, BulkTransport, Mail, MailConnection, Outcome
from store.database import Database
from store.models import DeliveryStatus

# How long those that are being handed over may take when the worker is asked to stop.
GRACE_SECONDS = 5.0
# Seconds until a connection that could not be made is tried again.
AGAIN_AFTER = 1.0
FAILED_OTHERS = "The mail server has failed others a moment ago."
# So many in a row may not be begun: then it is the campaign that does not go on.
MOST_REFUSED = 3
# Seconds after which others have their turn.
LONGEST_TURN = 60.0
# So often a mail at which the server goes away is tried again without a pause: it may be the mail that it minds.
MOST_AT_ONCE = 5
UNFIT = "The contact's data cannot be written in a mail."


@dataclass(frozen=True)
class MailMeans:
    """What every mailing of a worker uses.

    `deadline`: how long after the start of a campaign its messages are tried again. `retry`: seconds until the first
    time. `unsubscribe_link`: of a company's recipient; `return_path`: of one, at the sender's domain.
    """

    transport: BulkTransport
    connections: int
    pacer: Pacer
    breaker: Breaker
    deadline: timedelta
    unsubscribe_link: Callable[[int, int], str]
    return_path: Callable[[int, int, str], str]
    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    chance: Callable[[], float]
    retry: float = 60


class Mailing:
    """One worker's turn at a campaign by e-mail."""

    def __init__(self, database: Database, means: MailMeans, plan: Plan, claim: Claim) -> None:
        self._database = database
        self._means = means
        self._plan = plan
        self._feed = Feed(database, plan, means.pacer, means.unsubscribe_link)
        self._ledger = Ledger(database, claim)
        self._progress = Progress(database, plan, self._ledger, means.monotonic)
        self._domain = domain_of(plan.sender)
        self._sender = Mailbox(plan.sender)
        self._away: Answer | None = None
        self._stopping = False
        self._looked_at = self._probing = False
        self._refused = 0

    async def run(self) -> float | None:
        """Writes to all who are due; the seconds until there is more to do, None if nobody waits any more."""
        means = self._means
        wait = await self._next_due()
        if wait is None or wait > 0:
            return wait
        self._probing = means.breaker.is_open
        if not means.breaker.allows():
            await self._progress.wait_for(mail_server_unavailable(FAILED_OTHERS))
            return means.breaker.wait()
        first = means.transport.connection()
        if not await self._is_ready(first):
            await self._progress.write(self._problem())
            await first.close()
            return max(means.breaker.wait(), AGAIN_AFTER)
        template = MailTemplate(await asyncio.to_thread(self._compiled), sender=self._sender)
        more = 0 if self._probing else means.connections - 1
        await self._send(template, [first, *(means.transport.connection() for _ in range(more))])
        if self._away is None:
            means.breaker.succeeded()
        return await self._next_due()

    async def _next_due(self) -> float | None:
        plan = self._plan

        async def waiting() -> float | None:
            async with self._database.writing(plan.company_id) as session:
                return await recipients.next_due(session, plan.company_id, plan.campaign_id)

        return await through_outages(waiting)

    async def _send(self, template: MailTemplate, connections: list[MailConnection]) -> None:
        """Until nobody is due; when it is cancelled, what is being handed over comes to its end first."""
        self._ledger.start()
        watching = asyncio.create_task(self._progress.watch(self._stop))
        lanes = [asyncio.create_task(self._lane(template, connection)) for connection in connections]
        ending = asyncio.get_running_loop().call_later(LONGEST_TURN, self._stop)
        try:
            # Not `gather`, which would cut them off in the middle when this is cancelled.
            await asyncio.wait(lanes, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            ending.cancel()
            self._stop()
            await self._wind_up(lanes, watching, connections)
        for lane in lanes:
            if not lane.cancelled() and (error := lane.exception()) is not None:
                raise error

    async def _wind_up(
        self, lanes: list[asyncio.Task[None]], watching: asyncio.Task[None], connections: list[MailConnection]
    ) -> None:
        _, late = await asyncio.wait(lanes, timeout=GRACE_SECONDS)
        for task in (*late, watching):
            task.cancel()
        await asyncio.gather(*lanes, watching, self._feed.close(), return_exceptions=True)
        try:
            await self._ledger.close()
            await self._progress.write(self._problem())
        finally:
            await asyncio.gather(*(connection.close() for connection in connections), return_exceptions=True)

    def _compiled(self) -> CompiledMessage:
        plan = self._plan
        return compile_message(subject=plan.subject, content=plan.content, template=plan.template, footer=True)

    def _stop(self) -> None:
        self._stopping = True
        self._feed.stop()

    async def _lane(self, template: MailTemplate, connection: MailConnection) -> None:
        """One connection, from recipient to recipient; it is made again when the server has closed it."""
        while not self._stopping:
            if not await self._is_ready(connection):
                await asyncio.sleep(AGAIN_AFTER)
                continue
            item = await self._feed.next()
            if item is None:
                return
            await self._deliver(self._built(template, item), item, connection)

    async def _deliver(self, built: Built | None, item: Item, connection: MailConnection) -> None:
        plan = self._plan
        subject, html = ("", "") if built is None else (built.subject, built.html)
        begun = Begun(item.id, item.attempt + 1, subject, html)
        if not await self._ledger.begin(begun):
            # Paused or canceled, or this one is no longer as it was.
            self._refused += 1
            if self._refused >= MOST_REFUSED:
                self._stop()
            return
        self._refused = 0
        if built is None:
            self._ledger.end(Ended(begun.id, begun.attempt, DeliveryStatus.FAILED, UNFIT))
            return
        return_path = self._means.return_path(plan.company_id, item.id, self._domain)
        answer = await connection.hand_over(Mail(return_path, ascii_address(item.address), built.message))
        if answer.outcome in (Outcome.SERVER_AWAY, Outcome.UNCERTAIN):
            self._is_away(answer)
        else:
            self._means.breaker.succeeded()
        if self._probing:
            # One was enough to see whether the server is there again.
            self._stop()
        gone = answer.outcome is Outcome.ADDRESS_REFUSED
        self._ledger.end(self._ended(begun, answer), refused=item.address if gone else None)

    def _built(self, template: MailTemplate, item: Item) -> Built | None:
        """The mail; None if its values cannot be put into one. The first one is read back."""
        plan = self._plan
        to = Mailbox(item.address, item.name)
        message_id = campaign_message_id(item.id, plan.campaign_id, self._domain)
        date = self._means.now()
        link = self._means.unsubscribe_link(plan.company_id, item.id)
        try:
            built = template.bytes_for(item.values, to=to, message_id=message_id, date=date, unsubscribe_url=link)
        except ValueError:
            return None
        if not self._looked_at:
            self._looked_at = True
            checked(built, sender=self._sender, to=to, message_id=message_id, date=date, unsubscribe_url=link)
        return built

    def _ended(self, begun: Begun, answer: Answer) -> Ended:
        """What an answer makes of an attempt."""
        reply = readable(answer.reply)
        match answer.outcome:
            case Outcome.TAKEN:
                return Ended(begun.id, begun.attempt, DeliveryStatus.SENT, reply)
            case Outcome.REFUSED | Outcome.ADDRESS_REFUSED:
                return Ended(begun.id, begun.attempt, DeliveryStatus.FAILED, reply)
            case Outcome.UNCERTAIN:
                return Ended(begun.id, begun.attempt, DeliveryStatus.UNKNOWN, reply)
            case Outcome.SERVER_AWAY if begun.attempt < MOST_AT_ONCE:
                return Ended(begun.id, begun.attempt, DeliveryStatus.QUEUED)
            case Outcome.SERVER_AWAY:
                # Those at once were one try to the pauses, which grow with each.
                return self._put_off(begun, reply, begun.attempt - MOST_AT_ONCE + 1)
            case Outcome.NOT_NOW:
                return self._put_off(begun, reply, begun.attempt)

    def _put_off(self, begun: Begun, reply: str, tries: int) -> Ended:
        means = self._means
        pause = retry_after(tries, means.chance(), base=means.retry)
        deadline = self._plan.deadline_at
        if deadline is not None and means.now() + timedelta(seconds=pause) > deadline:
            return Ended(begun.id, begun.attempt, DeliveryStatus.FAILED, reply)
        return Ended(begun.id, begun.attempt, DeliveryStatus.DEFERRED, reply, pause)

    async def _is_ready(self, connection: MailConnection) -> bool:
        answer = await connection.ready()
        if answer is None:
            return True
        self._is_away(answer)
        return False

    def _is_away(self, answer: Answer) -> None:
        """The server closed a connection, or takes none, or keeps its answer; after some of these in a row all stop."""
        self._means.breaker.failed()
        self._away = answer
        if self._means.breaker.is_open or answer.outcome is Outcome.REFUSED:
            self._stop()

    def _problem(self) -> Problem | None:
        """Why nothing can be sent for now."""
        if self._away is None or not (self._means.breaker.is_open or self._away.outcome is Outcome.REFUSED):
            return None
        return mail_server_unavailable(readable(self._away.reply))
