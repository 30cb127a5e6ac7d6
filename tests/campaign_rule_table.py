"""Which rules of campaigns are there, what does each say of a case that breaks it, and what does it let pass?

The numbers are those of the domain's rules; what the gateway holds by itself has a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from resolvers import global_ids
from tests.build import NOW
from tests.campaign_documents import ABSENT, CONDITION, EMAIL, MESSAGE, PAST, SEND_AT, TASK, Input, but


class Way(Enum):
    """Through which mutation a case goes."""

    CREATE = "createCampaign"
    TRY = "createCampaign, dryRun"
    UPDATE = "updateCampaign"
    TEST = "sendTestEmail"
    COPY = "copyCampaign"
    DELETE = "deleteCampaign"
    SETTINGS = "updateCampaignSettings"


NEW = (Way.CREATE, Way.TRY, Way.TEST)
SAVING = (*NEW, Way.UPDATE)


@dataclass(frozen=True)
class Case:
    """`given`: the input; `stored`: what is there of the campaign that is changed; `domain`: see `set_domain`."""

    given: Input
    role: str = "admin"
    author: str | None = None
    stored: Input = field(default_factory=dict)
    domain: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Line:
    """`errors`: `CODE path` of each, by semicolons; a code alone is of an answer that the schema itself gives.

    `status`: of the campaign that passes.
    """

    rule: str
    name: str
    broken: Case | None
    errors: str
    passes: Case
    status: str = "PENDING"
    ways: tuple[Way, ...] = SAVING


LETTER = but(EMAIL, {"type": "LETTER", "message": {"content": "<p>Dear you</p>"}})
TELEPHONE = but(EMAIL, {"type": "TELEPHONE", "message": ABSENT})
WITH_TASK = but(EMAIL, {"task": TASK})
# Only drafts need all of the message whatever their type, and no filter.
DRAFT = {"approved": False, "message": MESSAGE}


def email(changes: Mapping[str, object] | None = None, **more: object) -> Case:
    return Case(but(EMAIL, changes), **more)  # type: ignore[arg-type]  # the attributes of a case


def letter(changes: Mapping[str, object] | None = None) -> Case:
    return Case(but(LETTER, changes))


def telephone(changes: Mapping[str, object] | None = None) -> Case:
    return Case(but(TELEPHONE, changes))


def with_task(changes: Mapping[str, object] | None = None) -> Case:
    return Case(but(WITH_TASK, changes))


def given(**values: object) -> Case:
    return Case(values)


def stored(role: str = "admin", **values: object) -> Case:
    return Case(EMAIL, role=role, author="admin", stored=values)


def from_domain(sender: str, domain: str | None = None, slug: str | None = "acme") -> Case:
    return email({"message.sender": sender}, domain={"domain": domain, "slug": slug})


def is_in(lists: list[str]) -> Input:
    return {"match": {"field": "contact.list.id", "operator": "IN", "value": lists}}


ALL_MISSING = "REQUIRED input.message.content; REQUIRED input.message.subject; REQUIRED input.message.sender"
UNFIT = "GRAPHQL_VALIDATION_FAILED"
NO_TEMPLATE = "NOT_FOUND input.templateId"
OTHER_TYPE = "TEMPLATE_TYPE_MISMATCH input.templateId"
NO_TIME = "REQUIRED input.sendAt"
PAST_TIME = "NOT_IN_FUTURE input.sendAt"
NOT_A_TIME = "INVALID_TIME input.sendAt"
FOREIGN = "SENDER_NOT_OF_DOMAIN input.message.sender"
TOO_SOON = "NOT_AFTER input.task.startAt"
FAR_AWAY = {"sendAt": "2026-12-05T09:00:00Z", "task.startAt": "2026-12-02T08:00:00Z"}
AT_ONCE = {"sendAt": ABSENT, "executeNow": True}
HUNDRED_AND_ONE = "; ".join(
    [
        "TOO_MANY input.task.distributeUserIds",
        *(f"DUPLICATE input.task.distributeUserIds.{place}" for place in range(1, 100)),
    ]
)
PENDING = {"status": "PENDING"}
PAGE = "https://acme.example/goodbye"

TABLE = (
    Line("1", "no name", email({"name": ABSENT}), UNFIT, email(), ways=NEW),
    Line("1", "empty name", email({"name": ""}), "REQUIRED input.name", email({"name": "x"})),
    Line("1", "blank name", email({"name": " \u00a0"}), "REQUIRED input.name", email()),
    Line("1", "no type", email({"type": ABSENT}), UNFIT, email(), ways=NEW),
    Line("1", "unknown type", email({"type": "PIGEON"}), UNFIT, email()),
    Line("1", "approved unless it is said", None, "", email({"approved": ABSENT})),
    Line("2", "approved e-mail", email({"message": ABSENT}), ALL_MISSING, email({"message": MESSAGE})),
    Line("2", "draft e-mail", email({"approved": False, "message": ABSENT}), ALL_MISSING, email(DRAFT), "DRAFT"),
    Line(
        "2",
        "approved letter",
        letter({"message": {"subject": "x", "sender": "news@acme.campaigns.example"}}),
        "REQUIRED input.message.content",
        letter({"message": {"content": "<p>x</p>"}}),
    ),
    Line("2", "draft letter", letter({"approved": False, "message": None}), ALL_MISSING, letter(DRAFT), "DRAFT"),
    Line("2", "approved telephone", None, "", telephone({"message": ABSENT})),
    Line("2", "draft telephone", telephone({"approved": False}), ALL_MISSING, telephone(DRAFT), "DRAFT"),
    Line("2", "subject", email({"message.subject": ABSENT}), "REQUIRED input.message.subject", email()),
    Line("2", "blank subject", email({"message.subject": " "}), "REQUIRED input.message.subject", email()),
    Line("2", "null content", email({"message.content": None}), "REQUIRED input.message.content", email()),
    Line("2", "sender", email({"message.sender": ABSENT}), "REQUIRED input.message.sender", email()),
    Line("3", "no filter", email({"filter": ABSENT}), "REQUIRED input.filter", email()),
    Line("3", "null filter", email({"filter": None}), "REQUIRED input.filter", email()),
    Line("3", "{}", email({"filter": {"json": {}}}), "REQUIRED input.filter", email()),
    Line("3", "[]", email({"filter": {"json": []}}), "REQUIRED input.filter", email()),
    Line("3", "and: []", email({"filter": {"and": []}}), "REQUIRED input.filter", email()),
    Line("3", "or: []", email({"filter": {"or": []}}), "REQUIRED input.filter", email()),
    Line("3", "{and: []}", email({"filter": {"json": {"and": []}}}), "REQUIRED input.filter", email()),
    Line("3", "draft without", None, "", email({"approved": False, "filter": ABSENT}), "DRAFT"),
    Line("4", "unknown", email({"templateId": "999999999"}), NO_TEMPLATE, email({"templateId": "$email_template"})),
    Line("4", "no id", email({"templateId": "x"}), NO_TEMPLATE, email({"templateId": None})),
    Line("4", "id of a user", email({"templateId": global_ids.encode("User", 1)}), NO_TEMPLATE, email()),
    Line("4", "another company's", email({"templateId": "$their_template"}), NO_TEMPLATE, email()),
    Line(
        "4",
        "not to be seen",
        email({"templateId": "$template"}, role="member"),
        NO_TEMPLATE,
        email({"templateId": "$template"}, role="manager"),
    ),
    Line("4", "letter for e-mail", email({"templateId": "$letter_template"}), OTHER_TYPE, email()),
    Line(
        "4",
        "e-mail for letter",
        letter({"templateId": "$email_template"}),
        OTHER_TYPE,
        letter({"templateId": "$letter_template"}),
    ),
    Line("4", "telephone", telephone({"templateId": "$email_template"}), OTHER_TYPE, telephone()),
    Line("5", "past", email({"sendAt": PAST}), PAST_TIME, email({"sendAt": "2026-11-21T12:00:01Z"})),
    Line(
        "5", "now", email({"sendAt": NOW.isoformat()}), PAST_TIME, email({"sendAt": "2026-11-21T12:00:00.000001+00:00"})
    ),
    Line("5", "past draft", email({**DRAFT, "sendAt": PAST}), PAST_TIME, email(DRAFT), "DRAFT"),
    Line("5", "no time", email({"sendAt": ABSENT}), NO_TIME, email({"sendAt": ABSENT, "approved": False}), "DRAFT"),
    Line("5", "null time", email({"sendAt": None, "approved": True}), NO_TIME, email({"approved": True})),
    Line("5", "approved null", email({"sendAt": ABSENT, "approved": None}), NO_TIME, email({"approved": None})),
    Line(
        "5", "executeNow null", email({"sendAt": ABSENT, "executeNow": None}), NO_TIME,
        email({"sendAt": ABSENT, "executeNow": False}), "DRAFT",
    ),
    Line("5", "executeNow false", None, "", email({"executeNow": False})),
    Line("5", "executeNow true", None, "", email(AT_ONCE), "SENDING"),
    Line("5", "executeNow true with a time", None, "", email({**AT_ONCE, "sendAt": PAST}), "SENDING"),
    Line(
        "5", "executeNow of a draft with a time", email({**DRAFT, "sendAt": PAST, "executeNow": True}), PAST_TIME,
        email({**DRAFT, "executeNow": True}), "DRAFT",
    ),
    Line("5", "executeNow of a draft", None, "", email({**AT_ONCE, "approved": False}), "DRAFT"),
    Line("6", "no strategy", with_task({"task.distributionStrategy": ABSENT}), UNFIT, with_task()),
    Line("6", "no users", with_task({"task.distributeUserIds": ABSENT}), UNFIT, with_task()),
    Line("6", "no path", with_task({"task.relationsPathId": ABSENT}), UNFIT, with_task()),
    Line("6", "no start", with_task({"task.startAt": ABSENT}), UNFIT, with_task()),
    Line("6", "null end", with_task({"task.endAt": None}), UNFIT, with_task()),
    Line(
        "6", "empty users", with_task({"task.distributeUserIds": []}), "REQUIRED input.task.distributeUserIds",
        with_task({"task.distributeUserIds": ["$admin"]}),
    ),
    Line(
        "6",
        "one user twice",
        with_task({"task.distributeUserIds": ["$admin", "$member", "$admin"]}),
        "DUPLICATE input.task.distributeUserIds.2",
        with_task({"task.distributeUserIds": ["$admin", "$member"]}),
    ),
    Line("6", "101 users", with_task({"task.distributeUserIds": ["$admin"] * 101}), HUNDRED_AND_ONE, with_task()),
    Line(
        "6", "another company's user", with_task({"task.distributeUserIds": ["$member", "$their_member", "x"]}),
        "NOT_FOUND input.task.distributeUserIds.1; NOT_FOUND input.task.distributeUserIds.2", with_task(),
    ),
    Line(
        "6", "another company's path", with_task({"task.relationsPathId": "$their_path"}),
        "NOT_FOUND input.task.relationsPathId", with_task(),
    ),
    Line(
        "6", "start with sending", with_task({"task.startAt": SEND_AT}), TOO_SOON,
        with_task({"task.startAt": "2026-12-01T09:00:01Z"}),
    ),
    Line(
        "6", "start before sending, of a draft", with_task({**DRAFT, "task.startAt": PAST}), TOO_SOON,
        with_task({**DRAFT, "sendAt": ABSENT}), "DRAFT",
    ),
    Line(
        "6", "end with start", with_task({"task.endAt": TASK["startAt"]}), "NOT_AFTER input.task.endAt",
        with_task({"task.endAt": "2026-12-02T08:00:01Z"}),
    ),
    Line(
        "6", "start at once", with_task({**AT_ONCE, "task.startAt": NOW.isoformat()}), TOO_SOON,
        with_task({**AT_ONCE, "task.startAt": "2026-11-21T12:00:01Z"}), "SENDING",
    ),
    Line(
        "6", "start before sending, of a draft with executeNow",
        with_task({**DRAFT, **FAR_AWAY, "executeNow": True}), TOO_SOON,
        with_task({**DRAFT, "executeNow": True}), "DRAFT",
    ),
    Line("7", "no domain", email(domain={"slug": None}), "DOMAIN_MISSING input", email(domain={"slug": "acme"})),
    Line(
        "7", "a domain alone", email(domain={"slug": None}), "DOMAIN_MISSING input",
        from_domain("news@acme.example", domain="acme.example", slug=None),
    ),
    Line(
        "7", "copy", Case({}, domain={"slug": None}), "DOMAIN_MISSING campaign", Case({}), "DRAFT", ways=(Way.COPY,)
    ),
    Line(
        "7", "slug taken away", given(domainSlug=None), "REQUIRED input.domainSlug",
        Case({"domainSlug": None}, domain={"domain": "acme.example"}), ways=(Way.SETTINGS,),
    ),
    Line(
        "7", "slug that is used", Case({"domainSlug": "new"}, stored=PENDING), "IN_USE input.domainSlug",
        Case({"domainSlug": "new"}, stored=PENDING, domain={"domain": "acme.example"}), ways=(Way.SETTINGS,),
    ),
    Line(
        "8", "sent", stored(status="COMPLETED"), "ALREADY_SENT id", stored(status="PENDING"),
        ways=(Way.UPDATE, Way.DELETE),
    ),
    Line(
        "8", "sending", stored(status="SENDING"), "ALREADY_SENT id", stored(status="DRAFT"),
        ways=(Way.UPDATE, Way.DELETE),
    ),
    Line(
        "8", "partly sent", stored(status="CANCELED", total_sent=1), "ALREADY_SENT id", stored(status="CANCELED"),
        ways=(Way.UPDATE, Way.DELETE),
    ),
    Line(
        "9", "copy of what one does not see", stored(role="member", scope="PERSONAL"), "NOT_FOUND id",
        stored(role="member", scope="GLOBAL", status="COMPLETED", approved=True), "DRAFT", ways=(Way.COPY,),
    ),
    Line("11", "approved and scheduled", None, "", email({"approved": True}), "PENDING"),
    Line("11", "not approved", None, "", email(DRAFT), "DRAFT"),
    Line("11", "nothing scheduled", None, "", email({"sendAt": ABSENT, "executeNow": False}), "DRAFT"),
    Line("11", "sent at once", None, "", email(AT_ONCE), "SENDING"),
    Line("11", "unknown status", None, "", stored(status="FAILED"), "PENDING", ways=(Way.UPDATE,)),
    Line("13", "DISTRIBUTE", with_task({"task.distributionStrategy": "NOBODY"}), UNFIT, with_task()),
    Line(
        "13", "RESPONSIBLE_USER",
        with_task({"task.distributionStrategy": "RESPONSIBLE_USER", "task.distributeUserIds": []}),
        "REQUIRED input.task.distributeUserIds", with_task({"task.distributionStrategy": "RESPONSIBLE_USER"}),
    ),
    Line("14", "sender elsewhere", from_domain("news@elsewhere.example"), FOREIGN, email()),
    Line(
        "14", "another company's sender", from_domain("news@globex.campaigns.example"), FOREIGN,
        from_domain("News@ACME.Campaigns.Example"),
    ),
    Line(
        "14", "subdomain", from_domain("news@x.acme.campaigns.example"), FOREIGN,
        from_domain("noreply@acme.campaigns.example"),
    ),
    Line(
        "14", "the domain wins", from_domain("news@acme.campaigns.example", domain="acme.example"), FOREIGN,
        from_domain("news@acme.example", domain="acme.example"),
    ),
    Line(
        "14", "domain beyond ASCII", from_domain("news@bucher.example", domain="bücher.example"), FOREIGN,
        from_domain("news@xn--bcher-kva.example", domain="bücher.example"),
    ),
    Line("14", "no address", from_domain("news"), "INVALID_EMAIL input.message.sender", email()),
    Line(
        "14", "name and address", from_domain("News <news@acme.campaigns.example>"),
        "INVALID_EMAIL input.message.sender", email(),
    ),
    Line(
        "14", "page enabled without URL", given(consent={"enable": True}), "REQUIRED input.consent.unsubscribeUrl",
        given(consent={"enable": True, "unsubscribeUrl": PAGE}), ways=(Way.SETTINGS,),
    ),
    Line(
        "14", "the old name of enable", given(consent={"custom": True, "unsubscribeUrl": " "}),
        "REQUIRED input.consent.unsubscribeUrl; INVALID_URL input.consent.unsubscribeUrl",
        given(consent={"custom": True, "unsubscribeUrl": PAGE}), ways=(Way.SETTINGS,),
    ),
    Line(
        "14", "the domain is the operators'", given(domain="acme.example"), UNFIT, given(domainSlug="acme"),
        ways=(Way.SETTINGS,),
    ),
    Line(
        "17", "neither spelling", email({"sendAt": "1/12/2026"}), NOT_A_TIME, email({"sendAt": "2026-12-01 09:00:00"})
    ),
    Line(
        "17", "local now", email({"sendAt": "2026-11-21 13:00:00"}), PAST_TIME, email({"sendAt": "2026-11-21 13:00:01"})
    ),
    Line(
        "17", "hour that is twice", email({"sendAt": "2027-10-31 02:30:00"}), NOT_A_TIME,
        email({"sendAt": "2027-10-31T02:30:00+01:00"}),
    ),
    Line(
        "17", "times of a task", with_task({"task.startAt": "2027-03-28 02:30:00", "task.endAt": "later"}),
        "INVALID_TIME input.task.startAt; INVALID_TIME input.task.endAt",
        with_task({"task.startAt": "2027-03-28 03:30:00", "task.endAt": "2027-03-28T01:30:01Z"}),
    ),
    Line("texts", "name", email({"name": "n" * 256}), "TOO_LONG input.name", email({"name": "n" * 255})),
    Line(
        "texts", "name of two lines", email({"name": "a\nb"}), "INVALID_CHARACTER input.name",
        email({"name": "a\u200bb"}),
    ),
    Line(
        "texts", "description", email({"description": "x" * 10_001}), "TOO_LONG input.description",
        email({"description": "x\n" * 5_000}),
    ),
    Line("texts", "NUL", email({"description": "\x00"}), "INVALID_CHARACTER input.description", email()),
    Line(
        "texts", "subject", email({"message.subject": "s" * 256}), "TOO_LONG input.message.subject",
        email({"message.subject": "s" * 255}),
    ),
    Line(
        "texts", "header in a subject", email({"message.subject": "a\r\nBcc: b"}),
        "INVALID_CHARACTER input.message.subject", email({"message.subject": "a Bcc: b"}),
    ),
    Line(
        "texts", "sender", from_domain(f"{'n' * 250}@acme.campaigns.example"), "TOO_LONG input.message.sender",
        from_domain(f"{'n' * 64}@acme.campaigns.example"),
    ),
    Line(
        "texts", "content", email({"message.content": "x" * 500_001}), "TOO_LONG input.message.content",
        email({"message.content": "x" * 500_000}),
    ),
    Line(
        "merge fields", "unknown",
        email({"message.subject": "{{contact.nose}}", "message.content": "{{account.nose}}"}),
        "UNKNOWN_MERGE_FIELD input.message.subject; UNKNOWN_MERGE_FIELD input.message.content",
        email({"message.subject": "{{contact.first_name|you}}", "message.content": "{{contact.custom.cars}}"}),
    ),
    Line(
        "merge fields", "in a style", email({"message.content": "<style>{{user.email}}</style>"}),
        "MERGE_FIELD_MISPLACED input.message.content", email({"message.content": "<p>{{user.email}}</p>"}),
    ),
    Line(
        "scope", "team", email({"scope": "TEAM"}), "REQUIRED input.teamId", email({"scope": "TEAM", "teamId": "$sales"})
    ),
    Line(
        "scope", "group", email({"scope": "GROUP"}), "REQUIRED input.groupId",
        email({"scope": "GROUP", "groupId": "$group"}),
    ),
    Line(
        "scope", "another company's", email({"teamId": "$their_sales", "groupId": "$their_group"}),
        "NOT_FOUND input.teamId; NOT_FOUND input.groupId", email({"teamId": "$support", "groupId": "$group"}),
    ),
    Line(
        "scope", "others' team", email({"scope": "TEAM", "teamId": "$sales"}, role="member"),
        "FORBIDDEN input.teamId", email({"scope": "TEAM", "teamId": "$support"}, role="member"),
    ),
    Line(
        "filters", "unknown field", email({"filter": {"match": {**CONDITION, "field": "contact.nose"}}}),
        "UNKNOWN_FIELD input.filter.match.field", email({"filter": {"match": CONDITION}}),
    ),
    Line(
        "filter rows", "another company's list", email({"filter": is_in(["$list", "$their_list"])}),
        "NOT_FOUND input.filter.match.value.1", email({"filter": is_in(["$list"])}),
    ),
)  # fmt: skip
