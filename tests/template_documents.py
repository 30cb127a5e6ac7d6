"""How does a test change templates? The documents, inputs that fit the small world, and what comes of them."""

from __future__ import annotations

from typing import Any

from store.models import Template
from tests.campaign_documents import ERRORS, Desk, Input, broken_rules

TEMPLATE = """
  databaseId type title campaign content margins { top right bottom left }
  user { databaseId } team { databaseId } group { databaseId }
"""
READ = f"query ($id: ID!) {{ template(id: $id) {{ {TEMPLATE} }} }}"
CREATE = f"""
mutation ($input: TemplateInput!, $key: String) {{
  createTemplate(input: $input, idempotencyKey: $key) {{ template {{ {TEMPLATE} }} {ERRORS} }}
}}
"""
UPDATE = f"""
mutation ($id: ID!, $input: UpdateTemplateInput!) {{
  updateTemplate(id: $id, input: $input) {{ template {{ {TEMPLATE} }} {ERRORS} }}
}}
"""
COPY = f"""
mutation ($id: ID!, $key: String) {{
  copyTemplate(id: $id, idempotencyKey: $key) {{ template {{ {TEMPLATE} }} {ERRORS} }}
}}
"""
DELETE = f"mutation ($id: ID!) {{ deleteTemplate(id: $id) {{ deletedTemplateId {ERRORS} }} }}"

EMAIL: Input = {"type": "EMAIL", "title": "Plain", "content": "<h1>{{subject}}</h1><p>{{content}}</p>"}
LETTER: Input = {
    "type": "LETTER",
    "title": "Årsbrev – 2026",
    "content": "<p>Dear {{contact.first_name|friend}}</p>{{content}}",
    "campaign": False,
    "margins": {"top": 12.5, "right": 0, "bottom": 200, "left": 20},
    "teamId": "$sales",
    "groupId": "$group",
}
SIDES = ("top", "right", "bottom", "left")


async def made(desk: Desk, document: str, role: str = "admin", **variables: object) -> Any:
    """The template that the mutation made or changed, which it must not refuse."""
    found = await desk.payload(document, role, **variables)
    assert found["userErrors"] == []
    return found["template"]


async def refused(desk: Desk, document: str, role: str = "admin", **variables: object) -> set[str]:
    """Why it is refused; nothing has changed then."""
    before = await desk.tables()
    found = await desk.payload(document, role, **variables)
    assert found.get("template") is None
    assert await desk.tables() == before
    return broken_rules(found)


async def stored(desk: Desk, **values: object) -> str:
    """The databaseId of a template that everyone in Acme sees, by its administrator unless the values say otherwise."""
    return str(await desk.add(Template, None, **{"user_id": desk.acme.admin, **values}))
