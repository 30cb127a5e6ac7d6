"""What does a client see of what may be done with a campaign?"""

from __future__ import annotations

import strawberry

from resolvers.changes.campaign_life import CampaignAction
from schema.payloads import UserError


@strawberry.type(description="Whether one thing may be done with a campaign now.")
class CampaignActionState:
    action: CampaignAction = strawberry.field(description="What is to be done.")
    allowed: bool = strawberry.field(description="Whether it may be done now, by you.")
    reasons: list[UserError] = strawberry.field(description="Why not; empty when it may be done.")
