"""How do the viewer, users, teams, groups, templates and settings read?"""

from __future__ import annotations

import pytest
from sqlalchemy import update

from store.database import owner_transaction
from store.models import CampaignSettings, Template
from tests.client import Gateway
from tests.conftest import World

pytestmark = pytest.mark.anyio


async def test_viewer(gateway: Gateway, world: World) -> None:
    """The viewer is the user behind the token, with company, teams and what the token allows."""
    answer = await gateway.ask(
        """
        { viewer { tokenScopes company { name timeZone } user { lastName role teams { name group { name } } } } }
        """,
        world.acme.tokens["manager"],
    )
    viewer = answer.data["viewer"]
    assert sorted(viewer["tokenScopes"]) == ["EXPORT", "READ", "SEND", "WRITE"]
    assert viewer["company"] == {"name": "Acme", "timeZone": "Europe/Copenhagen"}
    assert viewer["user"] == {
        "lastName": "Manager",
        "role": "MANAGER",
        "teams": [{"name": "Sales", "group": {"name": "Nordics"}}],
    }


async def test_users_teams_and_groups(gateway: Gateway, world: World) -> None:
    """People are reached from their teams and groups and the other way round; users narrow by role and name."""
    answer = await gateway.ask(
        """
        {
          users(filter: {roleIn: [MANAGER, MEMBER]}) {
            totalCount
            nodes { lastName campaigns { totalCount } templates { totalCount } exports { totalCount } }
          }
          groups { nodes { name teams { nodes { name users { nodes { lastName } } campaigns { totalCount } } } } }
          teams { totalCount nodes { name templates { nodes { title } } } }
        }
        """,
        world.acme.tokens["admin"],
    )
    assert answer.data["users"] == {
        "totalCount": 2,
        "nodes": [
            {
                "lastName": "Manager",
                "campaigns": {"totalCount": 2},
                "templates": {"totalCount": 1},
                "exports": {"totalCount": 1},
            },
            {
                "lastName": "Member",
                "campaigns": {"totalCount": 1},
                "templates": {"totalCount": 0},
                "exports": {"totalCount": 1},
            },
        ],
    }
    sales = {"name": "Sales", "users": {"nodes": [{"lastName": "Manager"}]}, "campaigns": {"totalCount": 2}}
    assert answer.data["groups"] == {"nodes": [{"name": "Nordics", "teams": {"nodes": [sales]}}]}
    assert answer.data["teams"]["nodes"][0] == {"name": "Sales", "templates": {"nodes": [{"title": "Plain"}]}}


async def test_template(gateway: Gateway, world: World) -> None:
    """A template is read with its author and campaigns; margins are there for letters only."""
    query = """
        query ($id: ID!) { template(id: $id) { title type campaign content margins { top left } user { lastName }
            campaigns { nodes { name } } } }
    """
    variables = {"id": str(world.acme.rows["template"])}
    answer = await gateway.ask(query, world.acme.tokens["manager"], variables)
    assert answer.data["template"] == {
        "title": "Plain",
        "type": "EMAIL",
        "campaign": True,
        "content": "<p>{{content}}</p>",
        "margins": None,
        "user": {"lastName": "Manager"},
        "campaigns": {"nodes": [{"name": "Sent"}]},
    }
    async with owner_transaction(world.url) as connection:
        await connection.execute(update(Template).values(margin_top=25, margin_left=20.5))
    answer = await gateway.ask(query, world.acme.tokens["manager"], variables)
    assert answer.data["template"]["margins"] == {"top": 25.0, "left": 20.5}


async def test_settings(gateway: Gateway, world: World) -> None:
    """Campaigns come from the slug under the shared domain, or from the company's own domain when it has one."""
    query = """
        { campaignSettings { domain domainSlug domainSlugSuffix defaultSender
            consent { enable unsubscribeUrl subject template { title } } } }
    """
    answer = await gateway.ask(query, world.acme.tokens["admin"])
    assert answer.data["campaignSettings"] == {
        "domain": None,
        "domainSlug": "acme",
        "domainSlugSuffix": "campaigns.example",
        "defaultSender": "noreply@acme.campaigns.example",
        "consent": {"enable": False, "unsubscribeUrl": None, "subject": None, "template": {"title": "Plain"}},
    }
    async with owner_transaction(world.url) as connection:
        await connection.execute(update(CampaignSettings).values(domain="acme.example"))
    answer = await gateway.ask(query, world.acme.tokens["admin"])
    assert answer.data["campaignSettings"]["defaultSender"] == "noreply@acme.example"


async def test_relations_paths_lead_to_campaigns(gateway: Gateway, world: World) -> None:
    """A path of cases leads to the campaigns whose tasks are made on it."""
    answer = await gateway.ask(
        "{ relationsPaths { nodes { name campaigns { nodes { name task { endAt } } } } } }", world.acme.tokens["admin"]
    )
    campaigns = {"nodes": [{"name": "Sent", "task": {"endAt": "2026-11-23T12:00:00Z"}}]}
    assert answer.data["relationsPaths"] == {"nodes": [{"name": "New sale", "campaigns": campaigns}]}
