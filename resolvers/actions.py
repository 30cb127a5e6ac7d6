"""What may the viewer do with a campaign now, and if not, why not?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import cast

from resolvers.audiences import company_catalogue, company_sender_domain
from resolvers.campaigns import TASK_USERS
from resolvers.changes.aside import aside
from resolvers.changes.campaign_drafts import STORED_COLUMNS, CampaignDraft, stored_draft
from resolvers.changes.campaign_life import STATE_COLUMNS, CampaignAction, CampaignState, place_of, refusals
from resolvers.changes.campaign_rules import Occasion, broken_rules, domain_missing
from resolvers.changes.campaign_steps import STEPS
from resolvers.changes.company import facts_of_stored
from resolvers.changes.user_errors import UserError
from resolvers.context import Context
from store.sql_types import AnyRow

ACTION_COLUMNS = tuple(dict.fromkeys((*STORED_COLUMNS, *STATE_COLUMNS)))


@dataclass(frozen=True)
class ActionState:
    """`reasons`: empty when it is allowed."""

    action: CampaignAction
    reasons: tuple[UserError, ...]

    @property
    def allowed(self) -> bool:
        return not self.reasons


# The earliest time that a client can give it.
SOON = timedelta(seconds=1)


async def campaign_actions(row: AnyRow, context: Context) -> list[ActionState]:
    """One state for each action, by the code that carries the actions out; the row has `ACTION_COLUMNS`."""
    catalogue = await company_catalogue(context)
    domain = await company_sender_domain(context)
    draft = stored_draft(row, await task_user_ids(row, context), catalogue)
    state, now = CampaignState.of(row), context.services.now()

    def reasons(action: CampaignAction) -> Iterable[UserError]:
        if refused := refusals(action, state, context.viewer):
            return (error.below(place_of(action)) for error in refused)
        return (error.below("campaign") for error in broken(action))

    def broken(action: CampaignAction) -> Iterable[UserError]:
        if action is CampaignAction.COPY:
            return domain_missing(domain)
        if action is CampaignAction.SEND_TEST:
            return broken_by(replace(draft, errors=()), Occasion.TESTING)
        step = STEPS.get(action)
        if step is None or step.occasion is None:
            return ()
        return broken_by(step.becomes(draft, now + SOON), step.occasion)

    def broken_by(held: CampaignDraft, occasion: Occasion) -> list[UserError]:
        return broken_rules(held, facts_of_stored(held, catalogue, domain, now), occasion)

    def states() -> list[ActionState]:
        return [ActionState(action, tuple(reasons(action))) for action in CampaignAction]

    return await aside(len(draft.content or ""), states)


async def task_user_ids(row: AnyRow, context: Context) -> list[int]:
    """The users of the campaign's task; those of all campaigns of an operation in one statement."""
    if row.task_distribution_strategy is None:
        return []
    found = cast("list[AnyRow]", await context.load.many(TASK_USERS, ("id",), row.id))
    return [user.id for user in found]
