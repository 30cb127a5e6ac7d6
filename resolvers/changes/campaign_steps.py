"""What does each step in the life of a campaign make of it, and which rules is it held against first?

The mutations carry the steps out, and `Campaign.actions` tries them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, null
from sqlalchemy.ext.asyncio import AsyncSession

from resolvers.changes.campaign_drafts import CampaignDraft
from resolvers.changes.campaign_life import CampaignAction
from resolvers.changes.campaign_rules import Occasion
from store.delivery import cancel_waiting, carry_out, stop_the_clock
from store.models import CampaignStatus

Values = Mapping[str, object]
Tell = Callable[[AsyncSession, int, UUID], Awaitable[object]]


def unchanged(draft: CampaignDraft, _moment: datetime) -> CampaignDraft:
    return draft


@dataclass(frozen=True)
class Step:
    """`becomes`: the draft that the rules of the occasion are held against; `values`: the columns that change.

    The moment is the time that SCHEDULE gives the campaign, and the present for all others. `tell`: what its sending
    is told (given the company and the campaign), unless the campaign still waits for its time.
    """

    values: Callable[[CampaignDraft, datetime], Values]
    becomes: Callable[[CampaignDraft, datetime], CampaignDraft] = unchanged
    occasion: Occasion | None = None
    tell: Tell | None = None


def planned(draft: CampaignDraft, _moment: datetime) -> Values:
    return {"approved": draft.approved, "send_at": draft.send_at, "status": draft.status}


def sent(_draft: CampaignDraft, moment: datetime) -> Values:
    """At once, whatever time it had; its sending begins with the status."""
    return {"status": CampaignStatus.SENDING, "send_at": moment, "paused_at": null()}


STEPS: Mapping[CampaignAction, Step] = {
    CampaignAction.APPROVE: Step(planned, lambda draft, _: replace(draft, approved=True), Occasion.APPROVING),
    CampaignAction.UNAPPROVE: Step(planned, lambda draft, _: replace(draft, approved=False), Occasion.WITHDRAWING),
    CampaignAction.SCHEDULE: Step(planned, lambda draft, moment: replace(draft, send_at=moment), Occasion.APPROVING),
    CampaignAction.SEND: Step(sent, occasion=Occasion.SENDING, tell=carry_out),
    CampaignAction.CANCEL: Step(lambda *_: {"status": CampaignStatus.CANCELED}, tell=cancel_waiting),
    CampaignAction.PAUSE: Step(lambda *_: {"paused_at": func.now()}, tell=stop_the_clock),
    CampaignAction.RESUME: Step(lambda *_: {"paused_at": null()}, tell=carry_out),
}
