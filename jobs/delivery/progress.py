"""How far is the sending of a campaign? Written once a second, for those who watch it, and read: does it go on?"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from sqlalchemy import ColumnElement, Update, and_, case, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from jobs.delivery import ending
from jobs.delivery.ledger import Ledger
from jobs.delivery.plan import Plan
from jobs.delivery.problems import Problem
from jobs.faults import report, through_outages
from store.database import Database
from store.models import Campaign, CampaignDelivery, CampaignStatus, DeliveryStatus, Recipient
from store.models.campaigns import HANDED_OVER
from store.signals import Channel, signal

EVERY = 1.0
# How many seconds of the past tell how fast it goes.
WINDOW = 10.0


class Progress:
    """Of one worker's turn at a campaign, by what its ledger has counted."""

    def __init__(self, database: Database, plan: Plan, ledger: Ledger, monotonic: Callable[[], float]) -> None:
        self._database = database
        self._plan = plan
        self._ledger = ledger
        self._monotonic = monotonic
        self._seen: deque[tuple[float, int]] = deque([(monotonic(), 0)])
        self._told = 0

    async def watch(self, stop: Callable[[], None]) -> None:
        """Writes until it is cancelled; calls `stop` when the campaign is not to be sent any more, or is paused."""
        while True:
            await asyncio.sleep(EVERY)
            try:
                goes_on = await self.write()
            except Exception as error:  # noqa: BLE001 - reported; the next second has a try of its own
                report(error, "progress")
                continue
            if not goes_on:
                stop()

    async def write(self, problem: Problem | None = None) -> bool:
        """Whether the campaign is still to be sent now. `problem`: why nothing can be, for a while."""
        sent = self._ledger.ends[DeliveryStatus.SENT]
        perhaps = sent + self._ledger.ends[DeliveryStatus.UNKNOWN]

        async def once() -> bool:
            async with self._database.writing(self._plan.company_id) as session:
                return await self._write(session, sent, perhaps > 0, problem)

        goes_on = await through_outages(once)
        self._told = sent
        return goes_on

    async def wait_for(self, problem: Problem) -> None:
        """Says why nothing is tried, unless it was said more exactly before."""
        plan = self._plan
        unsaid = (
            CampaignDelivery.company_id == plan.company_id,
            CampaignDelivery.campaign_id == plan.campaign_id,
            CampaignDelivery.problem_code.is_(None),
        )
        says = (
            update(CampaignDelivery).where(*unsaid).values(problem_code=problem.code, problem_message=problem.message)
        )

        async def once() -> None:
            async with self._database.writing(plan.company_id) as session:
                if await session.scalar(says.returning(CampaignDelivery.campaign_id)) is not None:
                    await signal(session, Channel.CAMPAIGNS, plan.company_id, plan.campaign_id)

        await through_outages(once)

    async def _write(self, session: AsyncSession, sent: int, begun: bool, problem: Problem | None) -> bool:
        """The rows are locked last, by a single statement: a worker that is stopped while it has them locked would
        keep everybody else from the campaign. The campaign comes before its delivery, as it does for those who pause
        or cancel it.
        """
        plan = self._plan
        mine = Campaign.company_id == plan.company_id, Campaign.id == plan.campaign_id
        goes_on = case(
            (and_(Campaign.status == CampaignStatus.SENDING, Campaign.paused_at.is_(None)), True), else_=False
        )
        alive = self._sign_of_life(sent, problem)
        if sent > self._told or begun:
            values = {"total_sent": self._total(sent), "sent_at": func.coalesce(Campaign.sent_at, func.now())}
            told = update(Campaign).where(*mine).values(values).returning(Campaign.id).cte("told")
            alive = alive.where(exists(select(told.c.id)))
        written = select(goes_on).where(*mine).add_cte(alive.returning(CampaignDelivery.campaign_id).cte("written"))
        await signal(session, Channel.CAMPAIGNS, plan.company_id, plan.campaign_id)
        await session.execute(ending.LET_GO)
        return bool(await session.scalar(written))

    def _sign_of_life(self, sent: int, problem: Problem | None) -> Update:
        plan = self._plan
        return (
            update(CampaignDelivery)
            .where(
                CampaignDelivery.company_id == plan.company_id,
                CampaignDelivery.campaign_id == plan.campaign_id,
                CampaignDelivery.ended_at.is_(None),
            )
            .values(
                heartbeat_at=func.clock_timestamp(),
                per_second=self._pace(sent),
                problem_code=None if problem is None else problem.code,
                problem_message=None if problem is None else problem.message,
            )
        )

    def _total(self, sent: int) -> ColumnElement[int]:
        """How many the campaign has reached.

        When it is over, whoever ended it has counted those too that others had not told yet: it is counted anew.
        """
        plan = self._plan
        counted = select(func.count(Recipient.sent_at)).where(
            Recipient.company_id == plan.company_id,
            Recipient.campaign_id == plan.campaign_id,
            Recipient.status.in_(HANDED_OVER),
        )
        so_far = func.coalesce(Campaign.total_sent, 0) + (sent - self._told)
        return case((Campaign.status == CampaignStatus.SENDING, so_far), else_=counted.scalar_subquery())

    def _pace(self, sent: int) -> float | None:
        """Messages a second lately; None until there is a stretch of time to tell it by."""
        now = self._monotonic()
        self._seen.append((now, sent))
        while len(self._seen) > 2 and self._seen[0][0] < now - WINDOW:
            self._seen.popleft()
        since, before = self._seen[0]
        return (sent - before) / (now - since) if now > since else None
