"""How does a test change campaigns? The documents, inputs that fit the small world, and what is then stored."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import anyio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from gateway.auth import NewToken, hashed
from store.models import AccessToken, Base, Campaign, CampaignSettings, Template
from tests.build import NEVER_EXPIRES, Builder, TestCompany
from tests.client import Answer, Gateway, running_gateway
from tests.conftest import World, database, on_server

Input = dict[str, Any]

ERRORS = "userErrors { code field message }"
CAMPAIGN = """
  id databaseId name description type status scope approved version sendAt sentAt totalSent pausedAt filter
  message { subject content sender }
  user { databaseId } team { databaseId } group { databaseId } template { databaseId }
  task { distributionStrategy startAt endAt relationsPath { databaseId } distributeUsers { databaseId } }
"""
READ = f"query ($id: ID!) {{ campaign(id: $id) {{ {CAMPAIGN} }} }}"
CREATE = f"""
mutation ($input: CampaignInput!, $key: String, $dryRun: Boolean! = false) {{
  createCampaign(input: $input, idempotencyKey: $key, dryRun: $dryRun) {{ campaign {{ {CAMPAIGN} }} {ERRORS} }}
}}
"""
UPDATE = f"""
mutation ($id: ID!, $input: UpdateCampaignInput!, $version: Int, $dryRun: Boolean! = false) {{
  updateCampaign(id: $id, input: $input, expectedVersion: $version, dryRun: $dryRun) {{
    campaign {{ {CAMPAIGN} }} conflicts {{ field yours current }} {ERRORS}
  }}
}}
"""
COPY = f"""
mutation ($id: ID!, $key: String) {{
  copyCampaign(id: $id, idempotencyKey: $key) {{ campaign {{ {CAMPAIGN} }} {ERRORS} }}
}}
"""
DELETE = f"mutation ($id: ID!) {{ deleteCampaign(id: $id) {{ deletedCampaignId {ERRORS} }} }}"
SCHEDULE = f"""
mutation ($id: ID!, $sendAt: Moment!, $version: Int) {{
  scheduleCampaign(id: $id, sendAt: $sendAt, expectedVersion: $version) {{ campaign {{ {CAMPAIGN} }} {ERRORS} }}
}}
"""
SEND = f"""
mutation ($id: ID!, $version: Int, $expected: Int, $tolerance: Int! = 0) {{
  sendCampaign(
    id: $id, expectedVersion: $version, expectedRecipientCount: $expected, recipientTolerance: $tolerance
  ) {{ campaign {{ {CAMPAIGN} }} {ERRORS} }}
}}
"""
RESEND = f"""
mutation ($id: ID!) {{ resendUnknown(campaignId: $id) {{ queued campaign {{ {CAMPAIGN} }} {ERRORS} }} }}
"""
TEST_EMAIL = f"""
mutation ($input: CampaignInput!, $emails: [String!], $contactId: ID, $key: String) {{
  sendTestEmail(input: $input, emails: $emails, contactId: $contactId, idempotencyKey: $key) {{
    testDeliveries {{ id email status }} {ERRORS}
  }}
}}
"""
CAMPAIGN_TEST_EMAIL = f"""
mutation ($id: ID!, $emails: [String!]!, $key: String) {{
  sendCampaignTestEmail(id: $id, emails: $emails, idempotencyKey: $key) {{ testDeliveries {{ id email }} {ERRORS} }}
}}
"""
SETTINGS = f"""
mutation ($input: CampaignSettingsInput!) {{
  updateCampaignSettings(input: $input) {{ campaignSettings {{ domainSlug consent {{ enable }} }} {ERRORS} }}
}}
"""


def step(name: str) -> str:
    """The document of a step that takes no more than the campaign."""
    return f"""
    mutation ($id: ID!, $version: Int) {{
      {name}(id: $id, expectedVersion: $version) {{ campaign {{ {CAMPAIGN} }} {ERRORS} }}
    }}
    """


# Times of the small world, whose NOW is 2026-11-21T12:00Z; its companies are in Europe/Copenhagen.
SEND_AT = "2026-12-01T09:00:00Z"
PAST = "2026-11-21T11:59:59Z"
# Stands in the place of what a client leaves out.
ABSENT = object()
MESSAGE = {"subject": "Spring is here", "content": "<p>Come and see.</p>", "sender": "news@acme.campaigns.example"}
CONDITION = {"field": "contact.fixed_fields.last_name", "operator": "CT", "value": "e"}
EMAIL: Input = {
    "name": "Spring",
    "type": "EMAIL",
    "message": MESSAGE,
    "filter": {"match": CONDITION},
    "sendAt": SEND_AT,
}
TASK: Input = {
    "distributionStrategy": "DISTRIBUTE",
    "distributeUserIds": ["$manager", "$member"],
    "relationsPathId": "$path",
    "startAt": "2026-12-02T08:00:00Z",
    "endAt": "2026-12-09T16:00:00Z",
}
# What an update can take away.
NULLABLE = ("description", "teamId", "groupId", "filter", "templateId", "sendAt", "task")
STORED: Input = {
    "name": "Stored",
    "approved": False,
    "message_subject": "Hello",
    "message_content": "<p>Hello</p>",
    "message_sender": "news@acme.campaigns.example",
}


def but(base: Input, changes: Mapping[str, object] | None = None) -> Input:
    """The input with other values at some paths, such as `message.subject`; `ABSENT` takes one out."""
    found = dict(base)
    for path, value in (changes or {}).items():
        name, _, rest = path.partition(".")
        if rest:
            found[name] = but(found.get(name, {}), {rest: value})
        elif value is ABSENT:
            found.pop(name, None)
        else:
            found[name] = value
    return found


def as_update(given: Input) -> Input:
    """The update that makes of any draft what createCampaign makes of the input."""
    message = {**dict.fromkeys(MESSAGE), **(given.get("message") or {})}
    defaults: Input = {**dict.fromkeys(NULLABLE), "approved": True, "scope": "GLOBAL"}
    return {**defaults, **{key: value for key, value in given.items() if value is not None}, "message": message}


def broken_rules(payload: Mapping[str, Any]) -> set[str]:
    """The user errors of a payload as `CODE path.to.value`; none of them twice."""
    found = [f"{error['code']} {'.'.join(error['field'])}".rstrip() for error in payload["userErrors"]]
    assert len(found) == len(set(found)), found
    return set(found)


class Desk:
    """A gateway over the small world, and the tables behind it.

    `names`: ids of rows of Acme (`$manager`, `$template`, ...) and of Globex (`$their_template`, ...); they are put
    in wherever an input has such a text.
    """

    def __init__(self, gateway: Gateway, world: World, owner: AsyncEngine) -> None:
        self.gateway = gateway
        self.acme = world.acme
        self.globex = world.globex
        self.names = {**ids_of(world.acme, "$"), **ids_of(world.globex, "$their_")}
        self._owner = owner

    async def ask(self, document: str, role: str = "admin", **variables: object) -> Answer:
        """One operation of somebody of Acme, by role, or of whoever has the token."""
        return await self.gateway.ask(document, self.acme.tokens.get(role, role), self.filled(variables))

    async def payload(self, document: str, role: str = "admin", **variables: object) -> Any:
        """What the one field of the document answers."""
        (found,) = (await self.ask(document, role, **variables)).data.values()
        return found

    async def made(self, document: str, role: str = "admin", **variables: object) -> Any:
        """The campaign that the mutation made or changed, which it must not refuse."""
        found = await self.payload(document, role, **variables)
        assert found["userErrors"] == []
        return found["campaign"]

    def filled(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self.filled(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [self.filled(entry) for entry in value]
        return self.names.get(value, value) if isinstance(value, str) else value

    async def add(self, model: type[Base], company: TestCompany | None = None, **values: object) -> Any:
        """A row of Acme, or of the given company; its id, if it has one."""
        async with self._owner.begin() as connection:
            return await Builder(connection).add(model, company_id=(company or self.acme).id, **values)

    async def campaign(self, author: str = "admin", **values: object) -> str:
        """The id of a stored campaign by e-mail, a complete draft unless the values say otherwise."""
        user_id = getattr(self.acme, author)
        return str(await self.add(Campaign, user_id=user_id, **{**STORED, **values}))

    async def token(self, role: str, *scopes: str) -> str:
        """Another token of somebody of Acme, with these scopes."""
        token = NewToken(uuid4().hex[:16], "secret-of-a-token-with-few-scopes")
        await self.add(
            AccessToken,
            id=token.id,
            user_id=getattr(self.acme, role),
            name="Test",
            secret_sha256=hashed(token.secret),
            scopes=list(scopes),
            expires_at=NEVER_EXPIRES,
        )
        return str(token)

    async def run(self, sql: str, **parameters: object) -> list[Any]:
        """The rows, if any, of a statement of the tables' owner."""
        async with self._owner.begin() as connection:
            result = await connection.execute(text(sql), parameters)
            return list(result.all()) if result.returns_rows else []

    async def set_domain(self, *, domain: str | None = None, slug: str | None = "acme") -> None:
        """Acme's settings, all others as they are at first."""
        await self.run("DELETE FROM campaign_settings WHERE company_id = :id", id=self.acme.id)
        await self.add(CampaignSettings, domain=domain, domain_slug=slug)

    async def stop_all(self) -> None:
        """Nothing of Acme waits to be sent."""
        await self.run(
            "UPDATE campaigns SET status = 'DRAFT', paused_at = NULL WHERE company_id = :id", id=self.acme.id
        )

    @asynccontextmanager
    async def until_waiting(self, campaign_id: str, count: int) -> AsyncIterator[None]:
        """Holds the campaign's row until so many others wait for it, which are begun while this lasts."""
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        async with self._owner.begin() as connection:
            row = text("SELECT FROM campaigns WHERE id = CAST(:id AS uuid) FOR UPDATE")
            await connection.execute(row, {"id": campaign_id})
            yield
            with anyio.fail_after(30):
                while (await self.run(waiting))[0][0] < count:  # noqa: ASYNC110 - PostgreSQL has no event for it
                    await anyio.sleep(0.005)

    async def tables(self) -> list[tuple[str, str]]:
        """Every row of every table, by its digest."""
        names = [table.name for table in Base.metadata.sorted_tables]
        rows = await self.run(" UNION ALL ".join(f"SELECT '{name}', md5(t::text) FROM {name} t" for name in names))
        return sorted((row[0], row[1]) for row in rows)


def ids_of(company: TestCompany, prefix: str) -> dict[str, str]:
    people = {role: getattr(company, role) for role in ("admin", "manager", "member")}
    return {f"{prefix}{name}": str(key) for name, key in {**company.rows, **people}.items()}


@asynccontextmanager
async def desk_over(world: World, **settings: Any) -> AsyncIterator[Desk]:
    """With `$letter_template` and `$email_template`, which everyone in Acme sees."""
    owner = create_async_engine(world.url, hide_parameters=True)
    try:
        async with running_gateway(world.url, **{"test_mails_per_hour": 10_000, **settings}) as gateway:
            desk = Desk(gateway, world, owner)
            for kind in ("letter", "email"):
                key = await desk.add(Template, type=kind.upper(), user_id=world.acme.admin)
                desk.names[f"${kind}_template"] = str(key)
            yield desk
    finally:
        await owner.dispose()


@asynccontextmanager
async def desk_of_a_module(server: str, template: tuple[str, TestCompany, TestCompany]) -> AsyncIterator[Desk]:
    """Over a copy of the small world that many tests share, none of which minds what others have made before."""
    name, acme, globex = template
    copy = f"shared_{uuid4().hex}"
    await on_server(server, f"CREATE DATABASE {copy} TEMPLATE {name}")
    try:
        async with desk_over(World(database(server, copy), acme, globex)) as desk:
            yield desk
    finally:
        await on_server(server, f"DROP DATABASE {copy} WITH (FORCE)")
