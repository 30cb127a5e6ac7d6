"""How do contacts, accounts, their fields and lists read?"""

from __future__ import annotations

import pytest

from tests.client import Gateway
from tests.conftest import World

pytestmark = pytest.mark.anyio


async def test_contact(gateway: Gateway, world: World) -> None:
    """A contact is read with its account, user, team, lists, profile and consent, channel by channel."""
    answer = await gateway.ask(
        """
        query ($id: ID!) {
          contact(id: $id) {
            databaseId b2c status firstName lastName email socialProfile latestActivityAt createdAt
            account { name b2c } user { lastName } team { name } lists { name }
            consent { email { consentGiven updatedAt } letter { consentGiven updatedAt } call { consentGiven } }
            recipients { totalCount nodes { status campaign { name } } }
          }
        }
        """,
        world.acme.tokens["admin"],
        {"id": str(world.acme.rows["contact"])},
    )
    assert answer.data["contact"] == {
        "databaseId": str(world.acme.rows["contact"]),
        "b2c": False,
        "status": "LEAD",
        "firstName": "Maegan",
        "lastName": "Mertz",
        "email": "maegan@example.com",
        "socialProfile": {},
        "latestActivityAt": None,
        "createdAt": "2026-11-21T12:00:00Z",
        "account": {"name": "Byron Ltd", "b2c": False},
        "user": {"lastName": "Manager"},
        "team": {"name": "Sales"},
        "lists": [{"name": "Newsletter"}],
        "consent": {
            "email": {"consentGiven": True, "updatedAt": "2026-11-21T12:00:00Z"},
            "letter": {"consentGiven": None, "updatedAt": None},
            "call": {"consentGiven": None},
        },
        "recipients": {
            "totalCount": 2,
            "nodes": [
                {"status": "QUEUED", "campaign": {"name": "Personal"}},
                {"status": "DELIVERED", "campaign": {"name": "Sent"}},
            ],
        },
    }


async def test_fields_have_definitions_and_values(gateway: Gateway, world: World) -> None:
    """Fixed and custom fields come as the company defined them, in its order, with the row's values or null."""
    answer = await gateway.ask(
        """
        query ($ids: [ID!]!) {
          contacts(orderBy: {field: NAME}) { nodes {
            lastName
            fixedFields { name label type value sortOrder }
            customFields { id databaseId name value }
            account { fixedFields { name value } customFields { name value } }
          } }
          nodes(ids: $ids) { ... on ContactField { name owner custom } }
          contactFields(filter: {owner: CONTACT, custom: true}) { totalCount nodes { id name } }
        }
        """,
        world.acme.tokens["member"],
        {"ids": []},
    )
    mertz, vandervort = answer.data["contacts"]["nodes"]
    assert mertz["fixedFields"] == [
        {"name": "first_name", "label": "first name", "type": "TEXT", "value": "Maegan", "sortOrder": 0},
        {"name": "last_name", "label": "last name", "type": "TEXT", "value": "Mertz", "sortOrder": 1},
        {"name": "date_of_birth", "label": "date of birth", "type": "DATE", "value": "1980-02-29", "sortOrder": 2},
    ]
    (cars,) = mertz["customFields"]
    assert (cars["name"], cars["value"]) == ("cars", 2)
    assert answer.data["contactFields"] == {"totalCount": 1, "nodes": [{"id": cars["id"], "name": "cars"}]}
    assert mertz["account"] == {
        "fixedFields": [{"name": "vat", "value": "DK1"}],
        "customFields": [{"name": "industry", "value": "Toys"}],
    }
    assert vandervort["customFields"][0]["value"] is None
    assert [field["value"] for field in vandervort["fixedFields"]] == ["Maximus", "Vandervort", None]
    assert vandervort["account"] is None


async def test_lists_and_filters(gateway: Gateway, world: World) -> None:
    """Contacts are found by state and text, through their list, account, user and team alike."""
    answer = await gateway.ask(
        """
        {
          leads: contacts(filter: {statusIn: [LEAD]}) { nodes { lastName } }
          searched: contacts(filter: {search: "vANDER"}) { totalCount nodes { lastName } }
          private: contacts(filter: {b2c: true}) { totalCount }
          contactLists { nodes { name contacts { totalCount nodes { account { contacts { totalCount } } } } } }
          teams { nodes { name contacts { totalCount } } }
          users(filter: {search: "manag"}) { nodes { lastName contacts { nodes { lastName } } } }
        }
        """,
        world.acme.tokens["member"],
    )
    assert answer.data == {
        "leads": {"nodes": [{"lastName": "Mertz"}]},
        "searched": {"totalCount": 1, "nodes": [{"lastName": "Vandervort"}]},
        "private": {"totalCount": 0},
        "contactLists": {
            "nodes": [
                {
                    "name": "Newsletter",
                    "contacts": {"totalCount": 1, "nodes": [{"account": {"contacts": {"totalCount": 1}}}]},
                }
            ]
        },
        "teams": {
            "nodes": [
                {"name": "Sales", "contacts": {"totalCount": 1}},
                {"name": "Support", "contacts": {"totalCount": 0}},
            ]
        },
        "users": {"nodes": [{"lastName": "Manager", "contacts": {"nodes": [{"lastName": "Mertz"}]}}]},
    }
