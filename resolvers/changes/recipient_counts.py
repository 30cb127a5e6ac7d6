"""Would a campaign that is to be sent now reach anyone, and as many as the client expects?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from resolvers.changes.campaign_drafts import CampaignDraft
from resolvers.changes.user_errors import UserError, UserErrorCode
from resolvers.context import Viewer
from store.audience import Audience, audience_counts

WIDEST_TOLERANCE = 1_000_000


@dataclass(frozen=True)
class Expected:
    """How many recipients the client expects (None: any number), and by how many more or fewer it may be wrong."""

    count: int | None = None
    tolerance: int = 0

    def problems(self) -> Iterator[UserError]:
        """What is wrong with the numbers themselves."""
        if self.count is not None and self.count < 0:
            message = "There are no fewer recipients than 0."
            yield UserError(("expectedRecipientCount",), UserErrorCode.OUT_OF_RANGE, message)
        if not 0 <= self.tolerance <= WIDEST_TOLERANCE:
            message = f"This is between 0 and {WIDEST_TOLERANCE:,}."
            yield UserError(("recipientTolerance",), UserErrorCode.OUT_OF_RANGE, message)
        elif self.tolerance and self.count is None:
            message = "This is required with a tolerance."
            yield UserError(("expectedRecipientCount",), UserErrorCode.REQUIRED, message)

    def missed(self, count: int) -> Iterator[UserError]:
        """What is wrong when there are so many."""
        if self.count is not None and abs(count - self.count) > self.tolerance:
            message = f"You expect {self.count:,} recipients; the campaign would reach {count:,}."
            yield UserError(("expectedRecipientCount",), UserErrorCode.RECIPIENT_COUNT_CHANGED, message)


def nobody_reached() -> UserError:
    """At the filter of the campaign."""
    return UserError(("filter",), UserErrorCode.EMPTY_AUDIENCE, "This campaign would reach nobody.")


async def find_recipient_count(session: AsyncSession, viewer: Viewer, draft: CampaignDraft) -> int:
    """How many contacts a campaign with a filter would reach at this moment."""
    assert draft.filter is not None
    counts = await session.execute(audience_counts(viewer.company_id, [Audience(draft.type, draft.filter)]))
    return sum(row.contacts for row in counts if row.reason is None)
