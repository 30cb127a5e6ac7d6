"""How are the addresses read that nothing is mailed to any more?"""

from __future__ import annotations

from sqlalchemy import ARRAY, Text, any_

from resolvers.campaigns import CAMPAIGN
from resolvers.edges import Filter, One, Paged
from resolvers.pages import Direction, Sort, SortKind
from resolvers.search import containing, like_pattern
from resolvers.sources import Source
from store import access
from store.models import Suppression

SUPPRESSION = Source("Suppression", Suppression, access.whole_company(Suppression))

SUPPRESSIONS = Paged(
    "Query.suppressions",
    SUPPRESSION,
    key="company_id",
    child_key="company_id",
    sorts={"CREATED_AT": Sort(Suppression.created_at, SortKind.TIME)},
    order="CREATED_AT",
    direction=Direction.DESC,
    filters={
        "reason_in": Filter(ARRAY(Text()), lambda wanted: Suppression.reason == any_(wanted)),
        "search": Filter(Text(), lambda words: containing(Suppression.address, words), like_pattern),
    },
)

SUPPRESSION_CAMPAIGN = One("Suppression.campaign", CAMPAIGN, key="campaign_id")
