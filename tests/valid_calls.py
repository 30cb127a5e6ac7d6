"""With which arguments does every mutation succeed?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncConnection

from resolvers import global_ids
from resolvers.global_ids import encode
from store.models import (
    Base,
    Campaign,
    CampaignTask,
    Contact,
    ContactList,
    Export,
    Group,
    Notification,
    Recipient,
    RelationsPath,
    Suppression,
    Team,
    Template,
    User,
)
from tests.build import NOW, Builder, TestCompany

Arguments = Mapping[str, Any]

COMPLETE = {
    "message_subject": "Hello",
    "message_content": "<p>Hello</p>",
    "filter": [{"field": "contact.fixed_fields.last_name", "operator": "ct", "value": "e"}],
}
SCHEDULED = {"status": "PENDING", "send_at": NOW + timedelta(1)}
# The campaign that each mutation of a stored one is called with: each has its own, as many end what others begin.
CAMPAIGNS: Mapping[str, Mapping[str, object]] = {
    "updateCampaign": {},
    "copyCampaign": {},
    "deleteCampaign": {},
    "approveCampaign": {"approved": False},
    "unapproveCampaign": SCHEDULED,
    "scheduleCampaign": {},
    "sendCampaign": SCHEDULED,
    "cancelCampaign": SCHEDULED,
    "pauseCampaign": SCHEDULED,
    "resumeCampaign": {**SCHEDULED, "paused_at": NOW},
    "resendUnknown": {"status": "COMPLETED", "sent_at": NOW, "total_sent": 1},
    "sendCampaignTestEmail": {},
    "previewCampaign": {},
}
# The export that each is called with.
EXPORTS: Mapping[str, Mapping[str, object]] = {
    "regenerateExport": {"status": "EXPIRED"},
    "cancelExport": {"status": "PENDING"},
    "deleteExport": {"status": "CANCELED"},
}
# The task that each is called with.
TASKS: Mapping[str, Mapping[str, object]] = {"completeTask": {}, "reopenTask": {"done_at": NOW}}
DELETED = (
    Campaign,
    Template,
    Team,
    Group,
    User,
    RelationsPath,
    Contact,
    ContactList,
    Export,
    CampaignTask,
    Notification,
    Suppression,
)
TEMPLATES = ("previewTemplate", "updateTemplate", "copyTemplate", "deleteTemplate")


@dataclass
class Calls:
    """Valid arguments for each mutation, in one company; global ids by what they are of.

    `own` names a row of the company of each type that arguments refer to, `deleted` one that was deleted since.
    """

    sender: str
    own: dict[str, str] = field(default_factory=dict)
    deleted: dict[str, str] = field(default_factory=dict)
    of_mutation: dict[str, str] = field(default_factory=dict)

    def arguments(self, mutation: str) -> dict[str, Any]:
        """All arguments and all fields, but for keys of idempotency and the other member where one is to be chosen."""
        return {**self._ids(mutation), **self._others()[mutation]}

    def _ids(self, mutation: str) -> dict[str, str]:
        named = mutation in self.of_mutation and mutation not in ("previewCampaign", "resendUnknown")
        return {"id": self.of_mutation[mutation]} if named else {}

    def _others(self) -> dict[str, dict[str, Any]]:
        moved: dict[str, Any] = {"expectedVersion": 1}
        campaign, emails = self.campaign(), ["ada@example.com", "grace@example.com"]
        changes = {name: value for name, value in campaign.items() if name != "executeNow"}
        template = {**self.template(), "type": "LETTER", "content": "<p>{{content}}</p>", "margins": self.margins()}
        written: dict[str, Any] = {"format": "CSV", "raw": True}
        return {
            "createCampaign": {"input": campaign, "dryRun": False},
            "updateCampaign": {"input": changes, **moved, "dryRun": False},
            "copyCampaign": {},
            "deleteCampaign": {},
            "approveCampaign": moved,
            "unapproveCampaign": moved,
            "scheduleCampaign": {"sendAt": "2026-12-01 09:00:00", **moved},
            # Three would be reached.
            "sendCampaign": {**moved, "expectedRecipientCount": 2, "recipientTolerance": 1},
            "resendUnknown": {"campaignId": self.of_mutation["resendUnknown"]},
            "cancelCampaign": moved,
            "pauseCampaign": moved,
            "resumeCampaign": moved,
            "sendTestEmail": {"input": campaign, "emails": emails, "contactId": self.own["Contact"]},
            "sendCampaignTestEmail": {"emails": emails, "contactId": self.own["Contact"]},
            "previewCampaign": {"source": {"input": campaign}, "contactId": self.own["Contact"]},
            "previewTemplate": {"subject": "Hello", "content": "<p>Hello</p>", "contactId": self.own["Contact"]},
            "createTemplate": {"input": template},
            "updateTemplate": {"input": {name: value for name, value in template.items() if name != "type"}},
            "copyTemplate": {},
            "deleteTemplate": {},
            "updateCampaignSettings": {"input": self.settings()},
            "exportContacts": {
                "scope": {"listIds": [self.own["ContactList"]]},
                "columns": ["custom_fields.cars"],
                **written,
            },
            "exportDeliveryReports": {
                "scope": {"campaignId": self.own["Campaign"]},
                "columns": ["status"],
                **written,
            },
            "exportCampaignRecipients": {"campaignId": self.own["Campaign"], "columns": ["status"], **written},
            "exportMailing": {"filter": self.on_the_list(), "columns": ["first_name"], **written},
            "regenerateExport": {},
            "cancelExport": {},
            "deleteExport": {},
            "completeTask": {},
            "reopenTask": {},
            "markNotificationsRead": {"scope": {"ids": [self.own["Notification"]]}},
            "deleteSuppression": {},
        }

    def campaign(self) -> dict[str, Any]:
        return {
            "name": "Spring",
            "type": "EMAIL",
            "description": "For everyone",
            "approved": True,
            "scope": "TEAM",
            "teamId": self.own["Team"],
            "groupId": self.own["Group"],
            "message": {"subject": "Hello", "content": "<p>Hello</p>", "sender": self.sender},
            "filter": {"match": {"field": "contact.fixed_fields.last_name", "operator": "CT", "value": "e"}},
            "templateId": self.own["Template"],
            "sendAt": "2026-12-01T09:00:00Z",
            "executeNow": False,
            "task": {
                "distributionStrategy": "DISTRIBUTE",
                "distributeUserIds": [self.own["User"]],
                "relationsPathId": self.own["RelationsPath"],
                "startAt": "2026-12-02T09:00:00Z",
                "endAt": "2026-12-03T09:00:00Z",
            },
        }

    def on_the_list(self) -> dict[str, Any]:
        return {"match": {"field": "contact.list.id", "operator": "EQ", "value": self.own["ContactList"]}}

    def choices(self) -> dict[str, Any]:
        """What can stand in the members of which one is to be chosen; of lists one entry."""
        match = self.campaign()["filter"]["match"]
        return {
            "match": match,
            "and": [{"match": match}],
            "or": [{"match": match}],
            "json": [{**match, "operator": "ct"}],
            "id": self.own["Campaign"],
            "input": self.campaign(),
            "distributeUserIds": [self.own["User"]],
            "emails": ["ada@example.com"],
            "all": True,
            "listIds": [self.own["ContactList"]],
            "contactIds": [self.own["Contact"]],
            "campaignId": self.own["Campaign"],
            "period": {"startDateTime": "2026-11-01 00:00:00", "endDateTime": "2026-12-01T00:00:00Z"},
            "columns": ["id"],
            "ids": [self.own["Notification"]],
        }

    def template(self) -> dict[str, Any]:
        return {"title": "Plain", "campaign": True, "teamId": self.own["Team"], "groupId": self.own["Group"]}

    def margins(self) -> dict[str, float]:
        return {"top": 10.5, "right": 20, "bottom": 0, "left": 200}

    def settings(self) -> dict[str, Any]:
        consent = {
            "enable": True,
            "custom": True,
            "unsubscribeUrl": "https://acme.example/bye",
            "templateId": self.own["Template"],
            "subscribeUrl": "https://acme.example/hello",
            "subject": "Consent",
            "content": "<p>Do you agree?</p>",
            "helpText": "Say yes.",
        }
        return {"domainSlug": self.sender.partition("@")[2].partition(".")[0], "consent": consent}


async def add_calls(connection: AsyncConnection, company: TestCompany, slug: str) -> Calls:
    """What the calls need beside the small world: rows of the administrator."""
    build, calls = Builder(connection), Calls(f"news@{slug}.campaigns.example")
    rows, mine = company.rows, {"company_id": company.id, "user_id": company.admin}
    for mutation, values in CAMPAIGNS.items():
        row = {**COMPLETE, "message_sender": calls.sender, **values}
        calls.of_mutation[mutation] = encode("Campaign", await build.add(Campaign, **mine, **row))
    unknown = global_ids.decode(calls.of_mutation["resendUnknown"])[1]
    await build.add(Recipient, company_id=company.id, campaign_id=unknown, status="UNKNOWN")
    for name in ("Hopper", "Lovelace"):
        email = f"{name.lower()}@example.com"
        await build.add(Contact, company_id=company.id, last_name=name, email=email, email_consent_given=True)
    for mutation in TEMPLATES:
        type = "LETTER" if mutation == "updateTemplate" else "EMAIL"
        calls.of_mutation[mutation] = encode("Template", await build.add(Template, **mine, type=type))
    for mutation, values in EXPORTS.items():
        row = {"company_id": company.id, "requested_by_id": company.admin, **values}
        calls.of_mutation[mutation] = encode("Export", await build.add(Export, **row))
    for mutation, values in TASKS.items():
        row = {**await task_values(build, company), **values, "done_by_id": company.admin if values else None}
        calls.of_mutation[mutation] = encode("CampaignTask", await build.add(CampaignTask, **row))
    row = {"company_id": company.id, "address": "away@example.com", "reason": "REFUSED"}
    calls.of_mutation["deleteSuppression"] = encode("Suppression", await build.add(Suppression, **row))
    keys = {
        "Template": rows["template"],
        "Team": rows["sales"],
        "Group": rows["group"],
        "User": company.member,
        "RelationsPath": rows["path"],
        "Contact": rows["contact"],
        "ContactList": rows["list"],
        "Export": rows["export"],
        "CampaignTask": rows["task"],
        "Notification": rows["notification"],
        "Suppression": rows["suppression"],
    }
    calls.own = {typename: encode(typename, key) for typename, key in keys.items()}
    calls.own["Campaign"] = calls.of_mutation["previewCampaign"]
    for model in DELETED:
        calls.deleted[model.__name__] = await deleted(connection, model, company)
    return calls


async def deleted(connection: AsyncConnection, model: type[Base], company: TestCompany) -> str:
    """The global id of a row that was there."""
    more: dict[str, object] = {"user_id": company.admin} if model in (Campaign, Template) else {}
    if model is Export:
        more["requested_by_id"] = company.admin
    if model is User:
        more["email"] = "deleted@example.com"
    if model is CampaignTask:
        more = await task_values(Builder(connection), company)
    if model is Notification:
        more = {"user_id": company.admin, "kind": "LETTERS_READY", "campaign_id": company.rows["sent"]}
    if model is Suppression:
        more = {"address": "deleted@example.com", "reason": "BOUNCED"}
    key = await Builder(connection).add(model, **{"company_id": company.id, **more})
    table = model.__table__
    await connection.execute(delete(model).where(table.c.company_id == company.id, table.c.id == key))
    return encode(model.__name__, key)


async def task_values(build: Builder, company: TestCompany) -> dict[str, object]:
    """A task of the administrator's, of a recipient of its own."""
    own = {"company_id": company.id, "campaign_id": company.rows["sent"]}
    recipient = await build.add(Recipient, **own, status="SENT")
    times = {"start_at": NOW, "end_at": NOW + timedelta(1)}
    return {**own, "recipient_id": recipient, "user_id": company.admin, **times}
