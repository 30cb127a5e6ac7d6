"""How is a campaign or a template shown as its reader would see it?

What is needed is read in one unit of work, the page is kept in another: rendering holds no connection.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

from sqlalchemy import func, insert, select, text

from resolvers.changes.campaign_drafts import CampaignDraft, CampaignGiven, Reading, read_draft
from resolvers.changes.campaign_rules import Occasion, find_broken_rules
from resolvers.changes.campaigns import find_campaign, refuse_if
from resolvers.changes.company import facts_of_stored, find_catalogue, find_facts
from resolvers.changes.outcomes import Outcome, named_key, not_found
from resolvers.changes.rendering import Message, find_message, rendered
from resolvers.changes.user_errors import UserError, UserErrorCode, refused
from resolvers.context import Context, StoredPreview
from resolvers.templates import TEMPLATE
from store import access
from store.models import CampaignType, Preview, Template

LIFE = timedelta(minutes=15)
# Of one company, at any time.
MOST_PREVIEWS = 500
# The first of the two numbers of an advisory lock; any will do, as long as nothing else takes it.
PREVIEW_LOCK = 7_364_203
TAKE_PREVIEW_LOCK = text("SELECT pg_advisory_xact_lock(:lock, :company_id)")
EXAMPLE_SUBJECT = "The subject"
EXAMPLE_CONTENT = "<p>The content of the campaign stands here.</p>"


async def preview_campaign(context: Context, id: str, *, contact_id: str | None) -> Outcome:
    """A stored campaign, as the contact would get it now."""
    viewer = context.viewer
    async with context.writing() as session:
        found = await find_campaign(session, viewer, id, lock=False, path=("source", "id"))
        draft = replace(found.draft, errors=())  # Its filter is not asked.
        facts = facts_of_stored(draft, found.catalogue, None, context.services.now())
        errors = await find_broken_rules(draft, facts, Occasion.PREVIEWING)
        message = await find_message(session, context, draft, contact_id=contact_id, author_id=found.state.author_id)
    refuse_if([*message.errors, *(error.below("campaign") for error in errors)])
    return await drawn(context, message)


async def preview_campaign_input(context: Context, given: CampaignGiven, *, contact_id: str | None) -> Outcome:
    """What the input would become; it need not be complete yet."""
    viewer = context.viewer
    async with context.writing() as session:
        catalogue = await find_catalogue(session, viewer)
        draft = read_draft(given, CampaignDraft(), Reading(catalogue))
        facts = await find_facts(session, viewer, draft, given, catalogue, now=context.services.now())
        errors = await find_broken_rules(draft, facts, Occasion.PREVIEWING)
        message = await find_message(session, context, draft, contact_id=contact_id, author_id=viewer.user_id)
    refuse_if([*message.errors, *(error.below("source", "input") for error in errors)])
    return await drawn(context, message)


async def preview_template(
    context: Context, id: str, *, subject: str | None, content: str | None, contact_id: str | None
) -> Outcome:
    """A template with this subject and content set into it, or with examples of them."""
    viewer = context.viewer
    async with context.writing() as session:
        key = named_key(TEMPLATE, id, "id")
        wanted = select(Template.type, Template.content).where(access.templates(), Template.id == key)
        row = (await session.execute(wanted, viewer.identity.scope.parameters())).one_or_none()
        if row is None:
            raise not_found(TEMPLATE, "id")
        draft = CampaignDraft(
            type=CampaignType(row.type),
            subject=EXAMPLE_SUBJECT if subject is None else subject,
            content=EXAMPLE_CONTENT if content is None else content,
        )
        facts = facts_of_stored(draft, await find_catalogue(session, viewer), None, context.services.now())
        errors = await find_broken_rules(draft, facts, Occasion.PREVIEWING)
        message = await find_message(
            session, context, draft, contact_id=contact_id, author_id=viewer.user_id, template=row.content
        )
    # The arguments are the message's own fields, without what they stand in there.
    refuse_if([*message.errors, *(UserError(error.path[-1:], error.code, error.message) for error in errors)])
    return await drawn(context, message)


async def drawn(context: Context, message: Message) -> Outcome:
    """Keeps the page for a while, and makes the link that shows it."""
    viewer, services = context.viewer, context.services
    html = (await rendered(message)).html
    page = StoredPreview(viewer.company_id, uuid4(), services.now() + LIFE)
    row = {"company_id": viewer.company_id, "id": page.id, "html": html, "expires_at": page.expires_at}
    async with context.writing() as session:
        await session.execute(TAKE_PREVIEW_LOCK, {"lock": PREVIEW_LOCK, "company_id": viewer.company_id})
        living = select(func.count()).where(
            Preview.company_id == viewer.company_id, Preview.expires_at > services.now()
        )
        if (await session.scalar(living) or 0) >= MOST_PREVIEWS:
            too_many = f"The company has {MOST_PREVIEWS} previews that have not expired yet. Try again later."
            raise refused([], UserErrorCode.RATE_LIMITED, too_many)
        await session.execute(insert(Preview).values(row))
    return Outcome(link=services.mint_preview(page))
