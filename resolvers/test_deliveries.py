"""How are test mails read?"""

from __future__ import annotations

from sqlalchemy import ARRAY, Text, any_

from resolvers.campaigns import CAMPAIGN
from resolvers.edges import Filter, One, Paged
from resolvers.pages import Direction, Sort, SortKind
from resolvers.people import USER
from resolvers.sources import Source
from store import access
from store.models import TestDelivery

TEST_DELIVERY = Source("TestDelivery", TestDelivery, access.test_deliveries)

SORTS = {"CREATED_AT": Sort(TestDelivery.created_at, SortKind.TIME)}
FILTERS = {"status_in": Filter(ARRAY(Text()), lambda wanted: TestDelivery.status == any_(wanted))}


def test_deliveries_of(name: str, *, key: str, child_key: str) -> Paged:
    """The test mails of a parent, newest first."""
    return Paged(
        name,
        TEST_DELIVERY,
        key=key,
        child_key=child_key,
        sorts=SORTS,
        order="CREATED_AT",
        direction=Direction.DESC,
        filters=FILTERS,
    )


TEST_DELIVERIES = test_deliveries_of("Query.testDeliveries", key="company_id", child_key="company_id")
USER_TEST_DELIVERIES = test_deliveries_of("User.testDeliveries", key="id", child_key="user_id")
CAMPAIGN_TEST_DELIVERIES = test_deliveries_of("Campaign.testDeliveries", key="id", child_key="campaign_id")

TEST_DELIVERY_USER = One("TestDelivery.user", USER, key="user_id")
TEST_DELIVERY_CAMPAIGN = One("TestDelivery.campaign", CAMPAIGN, key="campaign_id")
