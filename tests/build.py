"""What rows does a test start from? Rows made with sensible defaults, and a small world of two companies."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from sqlalchemy import Table, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.auth import NewToken, hashed
from store.models import (
    AccessToken,
    Account,
    Base,
    Campaign,
    CampaignDelivery,
    CampaignMessage,
    CampaignSettings,
    CampaignTask,
    CampaignTaskUser,
    Company,
    Contact,
    ContactList,
    ContactListMember,
    DeliveryReport,
    Export,
    Field,
    File,
    Group,
    IdempotencyKey,
    Job,
    Notification,
    Preview,
    Recipient,
    RelationsPath,
    Suppression,
    Team,
    TeamMember,
    Template,
    TestDelivery,
    TokenScope,
    User,
)

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
NEVER_EXPIRES = datetime(2100, 1, 1, tzinfo=UTC)

DEFAULTS: dict[type[Base], dict[str, object]] = {
    Company: {"name": "Acme", "time_zone": "Europe/Copenhagen"},
    Group: {"name": "Nordics"},
    Team: {"name": "Sales"},
    User: {"first_name": "Ada", "last_name": "Byron", "role": "ADMIN"},
    Account: {"name": "Byron Ltd"},
    Contact: {"first_name": "Maegan", "last_name": "Mertz", "email": "maegan@example.com"},
    ContactList: {"name": "Newsletter"},
    RelationsPath: {"name": "New sale"},
    Template: {"type": "EMAIL", "title": "Plain", "content": "<p>{{content}}</p>"},
    Campaign: {"name": "Spring", "type": "EMAIL", "status": "DRAFT"},
    Recipient: {"status": "QUEUED"},
    CampaignMessage: {"content": "<p>Hello</p>"},
    DeliveryReport: {"status": "SENT"},
    Field: {"owner": "CONTACT", "custom": False, "type": "TEXT"},
    File: {"name": "contacts.csv", "content_type": "text/csv", "key": "k", "bytes": 3, "sha256": "0" * 64},
    Export: {"kind": "CONTACTS", "format": "CSV"},
    TestDelivery: {
        "email": "test@example.com",
        "sender": "news@acme.campaigns.example",
        "subject": "Hello",
        "html": "<p>Hello</p>",
        "text": "Hello",
        "message": b"Subject: Hello\r\n\r\nHello\r\n",
        "headers": [["Subject", "Hello"]],
    },
    CampaignSettings: {"domain_slug": "acme", "domain_slug_suffix": "campaigns.example"},
}


class Builder:
    """Inserts rows as the tables' owner; values that a test does not name have defaults."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)

    async def add(self, model: type[Base], **values: object) -> Any:
        """Inserts a row and returns its id (None for rows without one)."""
        table = cast("Table", model.__table__)
        row = {**DEFAULTS.get(model, {}), **values}
        if model is User and "email" not in row:
            row["email"] = f"user{next(self._numbers)}@example.com"
        if model is File:
            row.setdefault("expires_at", NEVER_EXPIRES)
        statement = insert(table).values(row)
        if "id" not in table.columns:
            await self._connection.execute(statement)
            return None
        return await self._connection.scalar(statement.returning(table.c.id))

    async def token(
        self, company_id: int, user_id: int, scopes: tuple[str, ...] = tuple(TokenScope), **values: object
    ) -> str:
        """Makes a personal access token and returns what the client sends."""
        number = next(self._numbers)
        token = NewToken(f"{company_id:04}{number:04}", f"secret-of-token-number-{number}")
        await self.add(
            AccessToken,
            company_id=company_id,
            id=token.id,
            user_id=user_id,
            name="Test",
            secret_sha256=hashed(token.secret),
            scopes=list(scopes),
            **{"expires_at": NEVER_EXPIRES, **values},
        )
        return str(token)


@dataclass
class TestCompany:
    """A company of the small world: the ids of its rows by what they are, and a token for each role."""

    __test__ = False

    id: int
    admin: int = 0
    manager: int = 0
    member: int = 0
    tokens: dict[str, str] = field(default_factory=dict)
    rows: dict[str, Any] = field(default_factory=dict)


async def small_company(build: Builder, name: str) -> TestCompany:
    """A company with at least one row of every type, each edge leading somewhere.

    The manager is in team `sales` of group `nordics`, the member in team `support`, which has no group.
    Campaigns: `global_`, `team` (sales), `group` (nordics), `personal` (the manager's), `sent` (global, completed).
    """
    company = TestCompany(await build.add(Company, name=name))
    own = {"company_id": company.id}
    rows = company.rows
    rows["group"] = await build.add(Group, **own)
    rows["sales"] = await build.add(Team, **own, group_id=rows["group"])
    rows["support"] = await build.add(Team, **own, name="Support")
    await people(build, company)
    rows["account"] = await build.add(Account, **own, custom_fields={"industry": "Toys"}, fixed_fields={"vat": "DK1"})
    await fields(build, company)
    await contacts(build, company)
    rows["path"] = await build.add(RelationsPath, **own)
    rows["template"] = await build.add(
        Template, **own, user_id=company.manager, team_id=rows["sales"], group_id=rows["group"]
    )
    await build.add(CampaignSettings, **own, domain_slug=name.lower(), consent_template_id=rows["template"])
    await campaigns(build, company)
    await delivery(build, company)
    await exports(build, company)
    await requests(build, company)
    return company


async def people(build: Builder, company: TestCompany) -> None:
    own = {"company_id": company.id}
    company.admin = await build.add(User, **own, last_name="Admin", role="ADMIN")
    company.manager = await build.add(User, **own, last_name="Manager", role="MANAGER")
    company.member = await build.add(User, **own, last_name="Member", role="MEMBER")
    await build.add(TeamMember, **own, team_id=company.rows["sales"], user_id=company.manager)
    await build.add(TeamMember, **own, team_id=company.rows["support"], user_id=company.member)
    for role in ("admin", "manager", "member"):
        company.tokens[role] = await build.token(company.id, getattr(company, role))


async def fields(build: Builder, company: TestCompany) -> None:
    own = {"company_id": company.id}
    for place, name in enumerate(("first_name", "last_name", "date_of_birth")):
        kind = "DATE" if name == "date_of_birth" else "TEXT"
        await build.add(Field, **own, name=name, label=name.replace("_", " "), type=kind, sort_order=place)
    company.rows["field"] = await build.add(Field, **own, name="cars", label="Cars", type="INTEGER", custom=True)
    await build.add(Field, **own, owner="ACCOUNT", name="vat", label="VAT number")
    await build.add(Field, **own, owner="ACCOUNT", name="industry", label="Industry", custom=True)


async def contacts(build: Builder, company: TestCompany) -> None:
    rows, own = company.rows, {"company_id": company.id}
    rows["contact"] = await build.add(
        Contact,
        **own,
        account_id=rows["account"],
        user_id=company.manager,
        team_id=rows["sales"],
        status="LEAD",
        custom_fields={"cars": 2},
        date_of_birth=datetime(1980, 2, 29, tzinfo=UTC).date(),
        email_consent_given=True,
        email_consent_updated_at=NOW,
        created_at=NOW,
    )
    rows["other_contact"] = await build.add(
        Contact, **own, first_name="Maximus", last_name="Vandervort", email=None, created_at=NOW + timedelta(1)
    )
    rows["list"] = await build.add(ContactList, **own)
    await build.add(ContactListMember, **own, list_id=rows["list"], contact_id=rows["contact"])


async def campaigns(build: Builder, company: TestCompany) -> None:
    rows, own = company.rows, {"company_id": company.id}
    manager, member = company.manager, company.member
    rows["global_"] = await build.add(Campaign, **own, user_id=manager, name="Global", created_at=NOW)
    rows["team"] = await build.add(
        Campaign, **own, user_id=company.admin, name="Team", scope="TEAM", team_id=rows["sales"],
        created_at=NOW + timedelta(1),
    )  # fmt: skip
    rows["group_campaign"] = await build.add(
        Campaign, **own, user_id=company.admin, name="Group", scope="GROUP", group_id=rows["group"],
        created_at=NOW + timedelta(2),
    )  # fmt: skip
    rows["personal"] = await build.add(
        Campaign, **own, user_id=manager, name="Personal", scope="PERSONAL", created_at=NOW + timedelta(3)
    )
    rows["sent"] = await build.add(
        Campaign,
        **own,
        user_id=member,
        name="Sent",
        status="COMPLETED",
        message_subject="Hello",
        message_content="<p>Hello</p>",
        message_sender="news@example.com",
        template_id=rows["template"],
        team_id=rows["sales"],
        group_id=rows["group"],
        filter=[{"field": "contact.fixed_fields.last_name", "operator": "ct", "value": "e"}],
        send_at=NOW,
        sent_at=NOW,
        total_sent=1,
        task_distribution_strategy="DISTRIBUTE",
        task_relations_path_id=rows["path"],
        task_start_at=NOW + timedelta(1),
        task_end_at=NOW + timedelta(2),
        created_at=NOW + timedelta(4),
    )
    for position, user in enumerate((member, manager)):
        await build.add(CampaignTaskUser, **own, campaign_id=rows["sent"], user_id=user, position=position)


async def delivery(build: Builder, company: TestCompany) -> None:
    rows, own = company.rows, {"company_id": company.id}
    rows["recipient"] = await build.add(
        Recipient,
        **own,
        campaign_id=rows["sent"],
        contact_id=rows["contact"],
        status="DELIVERED",
        address="maegan@example.com",
        sent_at=NOW,
    )
    rows["message"] = await build.add(CampaignMessage, **own, id=rows["recipient"], subject="Hello")
    rows["report"] = await build.add(
        DeliveryReport,
        **own,
        recipient_id=rows["recipient"],
        campaign_id=rows["sent"],
        reply="250 OK",
        occurred_at=NOW,
    )
    rows["delivery"] = await build.add(
        CampaignDelivery,
        **own,
        campaign_id=rows["sent"],
        started_at=NOW,
        ended_at=NOW,
        recipients=1,
        excluded={"CONSENT_MISSING": 1},
        sender="news@example.com",
    )
    rows["task"] = await build.add(
        CampaignTask,
        **own,
        campaign_id=rows["sent"],
        recipient_id=rows["recipient"],
        contact_id=rows["contact"],
        user_id=company.member,
        start_at=NOW + timedelta(1),
        end_at=NOW + timedelta(2),
        done_at=NOW + timedelta(1),
        done_by_id=company.manager,
        created_at=NOW,
    )
    rows["suppression"] = await build.add(
        Suppression,
        **own,
        address="gone@example.com",
        reason="BOUNCED",
        campaign_id=rows["sent"],
        created_at=NOW,
    )
    rows["notification"] = await build.add(
        Notification,
        **own,
        user_id=company.admin,
        kind="CAMPAIGN_COMPLETED",
        campaign_id=rows["sent"],
        created_at=NOW,
    )
    rows["hidden_recipient"] = await build.add(
        Recipient, **own, campaign_id=rows["personal"], contact_id=rows["contact"]
    )


async def exports(build: Builder, company: TestCompany) -> None:
    rows, own = company.rows, {"company_id": company.id}
    rows["expired_export"] = await build.add(
        Export, **own, status="EXPIRED", requested_by_id=company.member, created_at=NOW
    )
    rows["file"] = await build.add(File, **own)
    rows["export"] = await build.add(
        Export,
        **own,
        kind="CAMPAIGN_RECIPIENTS",
        format="XLSX",
        status="COMPLETED",
        requested_by_id=company.manager,
        campaign_id=rows["sent"],
        file_id=rows["file"],
        rows_total=1,
        rows_processed=1,
        bytes=3,
        sha256="0" * 64,
        regenerated_from_id=rows["expired_export"],
        exported_at=NOW,
        created_at=NOW + timedelta(1),
    )
    rows["failed_export"] = await build.add(
        Export,
        **own,
        status="FAILED",
        requested_by_id=company.admin,
        error_code="DISK_FULL",
        error_message="There was no room for the file.",
        created_at=NOW + timedelta(2),
    )


async def requests(build: Builder, company: TestCompany) -> None:
    rows, own = company.rows, {"company_id": company.id}
    rows["test_delivery"] = await build.add(
        TestDelivery, **own, user_id=company.manager, campaign_id=rows["sent"], created_at=NOW
    )
    await build.add(Job, **own, kind="TEST_MAIL", subject_id=rows["test_delivery"], due_at=NEVER_EXPIRES)
    await build.add(Preview, **own, html="<p>Hello</p>", expires_at=NEVER_EXPIRES)
    await build.add(IdempotencyKey, **own, user_id=company.admin, key="of-the-world", request_sha256=b"")
