"""How do campaigns read?"""

from __future__ import annotations

import pytest

from tests.client import Gateway
from tests.conftest import World

pytestmark = pytest.mark.anyio


async def test_campaign_with_its_people(gateway: Gateway, world: World) -> None:
    """A campaign is read with its user, template, recipients and their contacts."""
    answer = await gateway.ask(
        """
        query ($id: ID!) {
          campaign(id: $id) {
            name status message { subject content sender } filter
            user { lastName } team { name } group { name } template { title }
            task { distributionStrategy startAt relationsPath { name } distributeUsers { lastName } }
            recipients { totalCount nodes {
              status contact { firstName } message { subject } deliveryReports { reply }
            } }
          }
        }
        """,
        world.acme.tokens["admin"],
        {"id": str(world.acme.rows["sent"])},
    )
    assert answer.data["campaign"] == {
        "name": "Sent",
        "status": "COMPLETED",
        "message": {"subject": "Hello", "content": "<p>Hello</p>", "sender": "news@example.com"},
        "filter": [{"field": "contact.fixed_fields.last_name", "operator": "ct", "value": "e"}],
        "user": {"lastName": "Member"},
        "team": {"name": "Sales"},
        "group": {"name": "Nordics"},
        "template": {"title": "Plain"},
        "task": {
            "distributionStrategy": "DISTRIBUTE",
            "startAt": "2026-11-22T12:00:00Z",
            "relationsPath": {"name": "New sale"},
            "distributeUsers": [{"lastName": "Member"}, {"lastName": "Manager"}],
        },
        "recipients": {
            "totalCount": 1,
            "nodes": [
                {
                    "status": "DELIVERED",
                    "contact": {"firstName": "Maegan"},
                    "message": {"subject": "Hello"},
                    "deliveryReports": [{"reply": "250 OK"}],
                }
            ],
        },
    }
