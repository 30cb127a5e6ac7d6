"""How is a campaign tried out by mail, without any of its recipients noticing?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from uuid import UUID, uuid4

from sqlalchemy import func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from content.addresses import LONGEST_ADDRESS, address_problem, ascii_address, domain_of
from content.mime import Mailbox, headers_of, message_bytes
from content.rendering import RenderedMessage
from resolvers.changes.campaign_drafts import CampaignGiven
from resolvers.changes.campaign_life import CampaignAction, refusals
from resolvers.changes.campaign_rules import Occasion, find_broken_rules
from resolvers.changes.campaigns import find_campaign, judged_input, refuse_if
from resolvers.changes.company import facts_of_stored, find_sender_domain
from resolvers.changes.idempotency import Request, claim, earlier_answer, keep_answer
from resolvers.changes.outcomes import Outcome
from resolvers.changes.rendering import Message, find_message, rendered
from resolvers.changes.user_errors import UserError, UserErrorCode, line_errors, refused
from resolvers.context import Context, Viewer
from store.jobs import enqueue
from store.models import CampaignType, JobKind, TestDelivery, User

MOST_ADDRESSES = 5
# The first of the two numbers of an advisory lock; any will do, as long as nothing else takes it.
RATE_LOCK = 7_364_202
TAKE_RATE_LOCK = text("SELECT pg_advisory_xact_lock(:lock, :user_id)")


@dataclass(frozen=True)
class TestMail:
    """What is tried out; `campaign_id`: None for what is not saved."""

    __test__ = False  # pytest would take the name for a test's

    message: Message
    campaign_id: UUID | None
    addresses: Sequence[str]


async def send_test_email(
    context: Context,
    given: CampaignGiven,
    *,
    emails: Sequence[str] | None,
    contact_id: str | None,
    idempotency_key: str | None,
) -> Outcome:
    """Mails what the input would become to the given addresses, or to the viewer's own; nothing else is kept."""
    viewer, now = context.viewer, context.services.now()
    asked = {"input": given, "emails": emails, "contactId": contact_id}
    request = Request("sendTestEmail", asked, idempotency_key)
    async with context.writing() as session:
        if (answer := await earlier_answer(session, viewer, request)) is not None:
            return Outcome(tuple(UUID(key) for key in answer))
        addresses = [await own_address(session, viewer)] if emails is None else list(emails)
        draft, errors = await judged_input(session, viewer, given, now)
        message = await find_message(session, context, draft, contact_id=contact_id, author_id=viewer.user_id)
    if draft.type is not CampaignType.EMAIL:
        said = "Test mails are made of campaigns by e-mail only."
        errors.append(UserError(("type",), UserErrorCode.NOT_AN_EMAIL, said))
    refuse_if([*address_errors(addresses), *message.errors, *(error.below("input") for error in errors)])
    return await queued(context, TestMail(message, None, addresses), request)


async def send_campaign_test_email(
    context: Context, id: str, *, emails: Sequence[str], contact_id: str | None, idempotency_key: str | None
) -> Outcome:
    """Mails a stored campaign, whatever its state, to the given addresses."""
    viewer, now = context.viewer, context.services.now()
    asked = {"id": id, "emails": emails, "contactId": contact_id}
    request = Request("sendCampaignTestEmail", asked, idempotency_key)
    async with context.writing() as session:
        if (answer := await earlier_answer(session, viewer, request)) is not None:
            return Outcome(tuple(UUID(key) for key in answer))
        found = await find_campaign(session, viewer, id, lock=False)
        refuse_if(refusals(CampaignAction.SEND_TEST, found.state, viewer), "id")
        draft = replace(found.draft, errors=())  # Its filter is not asked.
        facts = facts_of_stored(draft, found.catalogue, await find_sender_domain(session, viewer), now)
        errors = await find_broken_rules(draft, facts, Occasion.TESTING)
        message = await find_message(session, context, draft, contact_id=contact_id, author_id=found.state.author_id)
    refuse_if([*address_errors(emails), *message.errors, *(error.below("campaign") for error in errors)])
    return await queued(context, TestMail(message, found.id, emails), request)


async def queued(context: Context, mail: TestMail, request: Request) -> Outcome:
    """One test delivery and one job for each address; the mail is rendered here, so that it can be read at once."""
    viewer = context.viewer
    message = await rendered(mail.message)
    async with context.writing() as session:
        claimed = await claim(session, viewer, request)
        if claimed is not None and claimed.answer is not None:
            return Outcome(tuple(UUID(key) for key in claimed.answer))
        await refuse_too_many(session, viewer, len(mail.addresses), context.services.test_mails_per_hour)
        keys = tuple([await deliver(context, session, mail, email, message) for email in mail.addresses])
        await keep_answer(session, viewer, claimed, [str(key) for key in keys])
    return Outcome(keys)


async def deliver(
    context: Context, session: AsyncSession, mail: TestMail, email: str, message: RenderedMessage
) -> UUID:
    viewer, key = context.viewer, uuid4()
    # As mail servers take them: the domains in ASCII.
    sender, receiver = ascii_address(mail.message.draft.sender or ""), ascii_address(email)
    written = message_bytes(
        sender=Mailbox(sender),
        to=Mailbox(receiver),
        rendered=message,
        message_id=f"<test-{key}@{domain_of(sender)}>",
        date=context.services.now(),
        unsubscribe_url=context.services.inert_unsubscribe_url,
    )
    row = {
        "company_id": viewer.company_id,
        "id": key,
        "user_id": viewer.user_id,
        "campaign_id": mail.campaign_id,
        "email": receiver,
        "sender": sender,
        "subject": message.subject,
        "html": message.html,
        "text": message.text,
        "message": written,
        "headers": [[name, value] for name, value in headers_of(written)],
    }
    await session.execute(insert(TestDelivery).values(row))
    await enqueue(session, viewer.company_id, JobKind.TEST_MAIL, key)
    return key


async def own_address(session: AsyncSession, viewer: Viewer) -> str:
    wanted = select(User.email).where(User.company_id == viewer.company_id, User.id == viewer.user_id)
    email: str = (await session.execute(wanted)).scalar_one()
    return email


def address_errors(emails: Sequence[str]) -> Iterator[UserError]:
    if not 1 <= len(emails) <= MOST_ADDRESSES:
        code = UserErrorCode.TOO_MANY if emails else UserErrorCode.REQUIRED
        yield UserError(("emails",), code, f"Give 1 to {MOST_ADDRESSES} addresses.")
        return
    seen: set[str] = set()
    for place, email in enumerate(emails):
        path = ("emails", str(place))
        if broken := line_errors(path, email, LONGEST_ADDRESS):
            yield from broken
        elif (problem := address_problem(email)) is not None:
            yield UserError(path, UserErrorCode.INVALID_EMAIL, problem)
        elif ascii_address(email) in seen:
            yield UserError(path, UserErrorCode.DUPLICATE, "This address is named twice.")
        else:
            seen.add(ascii_address(email))


async def refuse_too_many(session: AsyncSession, viewer: Viewer, more: int, most: int) -> None:
    """Raises RATE_LIMITED; requests of one user wait for each other, so that none slips through uncounted."""
    await session.execute(TAKE_RATE_LOCK, {"lock": RATE_LOCK, "user_id": viewer.user_id})
    recent = select(func.count()).where(
        TestDelivery.company_id == viewer.company_id,
        TestDelivery.user_id == viewer.user_id,
        TestDelivery.created_at > func.now() - text("interval '1 hour'"),
    )
    sent = await session.scalar(recent) or 0
    if sent + more > most:
        message = f"You may send {most} test mails an hour, and have sent {sent}. Try again later."
        raise refused(["emails"], UserErrorCode.RATE_LIMITED, message)
