"""What would a campaign, or a template, look like to one contact?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from content.mjml import is_mjml
from content.rendering import RenderedMessage, compile_message
from resolvers.changes.aside import aside
from resolvers.changes.campaign_drafts import CampaignDraft
from resolvers.changes.user_errors import UserError, absent
from resolvers.contacts import CONTACT
from resolvers.context import Context
from store import access
from store.merge_values import MERGE_ROWS, USER_ROW, contact_values, user_as_contact
from store.models import CampaignType, Template

Values = Mapping[str, str | None]


@dataclass(frozen=True)
class Message:
    """All that is needed to render a message, so that no connection is held meanwhile.

    `values`: of the merge fields; None when the contact is not there, which `errors` say then.
    """

    draft: CampaignDraft
    template: str | None
    values: Values | None
    errors: tuple[UserError, ...] = ()


async def find_message(
    session: AsyncSession,
    context: Context,
    draft: CampaignDraft,
    *,
    contact_id: str | None,
    author_id: int,
    template: str | None = None,
) -> Message:
    """For a contact, or for the viewer in the place of one. `template`: instead of the draft's own."""
    if template is None and draft.template_id is not None:
        wanted = select(Template.content).where(
            access.of_company(Template.company_id), Template.id == draft.template_id
        )
        template = await session.scalar(wanted, context.viewer.identity.scope.parameters())
    values = await find_values(session, context, contact_id, author_id)
    errors = () if values is not None else (absent(CONTACT.typename, ["contactId"]),)
    return Message(draft, template, values, errors)


async def find_values(session: AsyncSession, context: Context, contact_id: str | None, author_id: int) -> Values | None:
    viewer, unsubscribe_url = context.viewer, context.services.inert_unsubscribe_url
    if contact_id is None:
        row = (await session.execute(USER_ROW, {"company_id": viewer.company_id, "user_id": viewer.user_id})).one()
        return user_as_contact(row, unsubscribe_url)
    key = CONTACT.parse_or_none(contact_id)
    if key is None:
        return None
    parameters = {"company_id": viewer.company_id, "contact_ids": [key], "author_id": author_id}
    found = (await session.execute(MERGE_ROWS, parameters)).one_or_none()
    return None if found is None else contact_values(found, unsubscribe_url)


async def rendered(message: Message) -> RenderedMessage:
    """What the reader gets; by e-mail it can be unsubscribed from."""
    draft, template, values = message.draft, message.template, message.values
    assert values is not None, "messages with errors are refused"
    content = draft.content or ""

    def render() -> RenderedMessage:
        footer = draft.type is CampaignType.EMAIL
        compiled = compile_message(subject=draft.subject or "", content=content, template=template, footer=footer)
        return compiled.render(values)

    return await aside(length_of(content) + length_of(template or ""), render)


def length_of(source: str) -> int:
    """In characters of HTML, about: what is written in MJML becomes several times as long."""
    return len(source) * (5 if is_mjml(source) else 1)
