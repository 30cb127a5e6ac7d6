"""What is asked of every server, how do the answers become comparable, and which ratios are wanted?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from store.models import JsonValue

GATEWAY, WITHOUT_ENGINE = "gateway", "gateway, engine off"
MERCURIUS, TUNED, AHEAD = "Mercurius", "Mercurius, tuned", "Mercurius, looking ahead"
POSTGRAPHILE, YOGA, BY_HAND = "PostGraphile", "Yoga", "SQL by hand"

TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d.*")
# Texts that every server makes as it likes; that there is one is all that can be compared.
OPAQUE = frozenset({"cursor", "endCursor"})


@dataclass(frozen=True)
class Question:
    """One query: as the gateway, Mercurius and Yoga understand it, and as PostGraphile names the same fields.

    `least`: for other servers, how many times their rate the gateway's is to be at least.
    """

    key: str
    title: str
    document: str
    postgraphile: str
    least: Mapping[str, float]

    def body(self, server: str, campaign_id: str) -> dict[str, JsonValue]:
        """The members of the request."""
        document = self.postgraphile if server == POSTGRAPHILE else self.document
        found: dict[str, JsonValue] = {"query": " ".join(document.split())}
        return {**found, "variables": {"id": campaign_id}} if "$id" in document else found


LISTS = {POSTGRAPHILE: 2.0, TUNED: 1.3, WITHOUT_ENGINE: 10.0}
TEN_FIELDS = "databaseId name description type status approved sendAt sentAt createdAt updatedAt"
OFFSETS = range(0, 500, 100)
ORDER = "condition: {companyId: 1}, orderBy: [CREATED_AT_DESC, ROW_ID_DESC]"
TO_ONE = """user: userByCompanyIdAndUserId { firstName lastName }
    template: templateByCompanyIdAndTemplateId { title }"""

QUESTIONS = [
    Question(
        "empty",
        "{__typename}",
        "{ __typename }",
        "{ __typename }",
        {MERCURIUS: 0.8},
    ),
    Question(
        "single",
        "one campaign, user, template",
        "query ($id: ID!) { campaign(id: $id) { name status user { firstName lastName } template { title } } }",
        f"""query ($id: UUID!) {{ campaign: campaignByCompanyIdAndRowId(companyId: 1, rowId: $id) {{
            name status {TO_ONE} }} }}""",
        {MERCURIUS: 1.2, BY_HAND: 0.7},
    ),
    Question(
        "list",
        "50 campaigns, user, template",
        "{ campaigns(first: 50) { nodes { name status user { firstName lastName } template { title } } } }",
        f"{{ campaigns: allCampaigns(first: 50, {ORDER}) {{ nodes {{ name status {TO_ONE} }} }} }}",
        LISTS,
    ),
    Question(
        "nested",
        "20 campaigns × 20 recipients, contact",
        """{ campaigns(first: 20, filter: {statusIn: [COMPLETED]}) { nodes { name
            recipients(first: 20) { nodes { status contact { firstName lastName } } } } } }""",
        f"""{{ campaigns: allCampaigns(first: 20, {ORDER.replace("1}", '1, status: "COMPLETED"}')}) {{ nodes {{ name
            recipients: recipientsByCompanyIdAndCampaignId(first: 20, orderBy: [ROW_ID_ASC]) {{
                nodes {{ status contact: contactByCompanyIdAndContactId {{ firstName lastName }} }} }} }} }} }}""",
        LISTS,
    ),
    Question(
        "wide",
        "5 × 100 campaigns × 10 fields",
        "{"
        + " ".join(f"p{at}: campaigns(first: 100, offset: {at}) {{ nodes {{ {TEN_FIELDS} }} }}" for at in OFFSETS)
        + "}",
        "{"
        + " ".join(
            f"p{at}: allCampaigns(first: 100, offset: {at}, {ORDER}) {{"
            f" nodes {{ {TEN_FIELDS.replace('databaseId', 'databaseId: rowId')} }} }}"
            for at in OFFSETS
        )
        + "}",
        LISTS,
    ),
    Question(
        "relay",
        "a Relay page of 50 with its total",
        """{ campaigns(first: 50) { totalCount edges { cursor node { name status } }
            pageInfo { hasNextPage endCursor } } }""",
        f"""{{ campaigns: allCampaigns(first: 50, {ORDER}) {{ totalCount edges {{ cursor node {{ name status }} }}
            pageInfo {{ hasNextPage endCursor }} }} }}""",
        {},
    ),
]


def comparable(value: JsonValue) -> JsonValue:
    """The same for equal data: moments to the millisecond, and of opaque texts only that they are there."""
    if isinstance(value, dict):
        return {name: isinstance(found, str) if name in OPAQUE else comparable(found) for name, found in value.items()}
    if isinstance(value, list):
        return [comparable(entry) for entry in value]
    if isinstance(value, str) and TIME.fullmatch(value):
        return round(datetime.fromisoformat(value).timestamp(), 3)
    return value


def difference(one: JsonValue, other: JsonValue, place: str = "data") -> str | None:
    """Where two answers differ first, and how; None if they do not."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        pairs = [(one[name], other[name], f"{place}.{name}") for name in one]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [(left, right, f"{place}[{at}]") for at, (left, right) in enumerate(zip(one, other, strict=True))]
    else:
        return None if one == other else f"{place}: {str(one)[:200]} and {str(other)[:200]}"
    found = (difference(left, right, below) for left, right, below in pairs)
    return next((text for text in found if text is not None), None)
