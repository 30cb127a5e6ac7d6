"""How is a user told by mail of what they are notified of: at most once, and when the mail server is there again?

That a handover has begun is written down before: whoever finds it begun finds a worker gone in between, and does not
know whether the mail went out. A mail that is certainly not taken for now is left to another job, which is made in the
transaction that ends this one and takes the mark back.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Null, Update, and_, func, insert, null, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from content.addresses import address_problem, ascii_address, domain_of
from content.merge_fields import header_text, html_text
from content.mime import Mailbox, message_bytes
from content.rendering import HEAD, TAIL, RenderedMessage
from jobs.faults import about, log, through_outages
from jobs.queue import Claim, Write, is_held, nothing
from jobs.transport import Mail, Outcome, Transport
from store.database import Database
from store.models import Campaign, Job, Notification, NotificationKind, User
from store.sender_domain import find_sender_domain
from store.sql_types import AnyRow, AnySelect

NO_REPLY = "noreply"
# Whoever could not be told for so long has seen it elsewhere, or it is no news any more.
NEWS_FOR = timedelta(days=1)
PASSING = (Outcome.NOT_NOW, Outcome.SERVER_AWAY)
SUBJECTS = {
    NotificationKind.LETTERS_READY: "Your letters are ready",
    NotificationKind.CAMPAIGN_COMPLETED: "Your campaign was sent",
    NotificationKind.CAMPAIGN_FAILED: "Your campaign reached nobody",
}
INVITATIONS = {
    NotificationKind.LETTERS_READY: "Sign in to download them:",
    NotificationKind.CAMPAIGN_COMPLETED: "Sign in to see what became of its messages:",
    NotificationKind.CAMPAIGN_FAILED: "Sign in to see why:",
}
REASON = "You get this mail because you have notifications by e-mail switched on."


class Notifier:
    """Does the jobs of the kind NOTICE: mails the notification that the job names to its user."""

    def __init__(
        self,
        database: Database,
        transport: Transport,
        public_url: str,
        now: Callable[[], datetime],
        *,
        first_pause: timedelta = timedelta(minutes=1),
    ) -> None:
        """`public_url`: where users find the gateway. `first_pause`: the shortest time before another attempt, which
        is otherwise as far away as the notification is old.
        """
        self._database = database
        self._transport = transport
        self._public_url = public_url
        self._now = now
        self._first_pause = first_pause

    async def __call__(self, claim: Claim) -> Write:
        found = await through_outages(lambda: self._find(claim))
        if found is None:
            return nothing
        row, sender = found
        if row.handing_over_at is not None:
            log.warning("notice.left_out", **about(claim))
            return nothing
        mail = self._mail(row, sender)
        if not await through_outages(lambda: self._mark(claim)):
            return nothing
        answer = await self._transport.hand_over(mail)
        if answer.outcome in PASSING:
            return trying_again(claim, max(self._first_pause, row.age))
        if answer.outcome is not Outcome.TAKEN:
            log.warning("notice.not_taken", outcome=answer.outcome.name, **about(claim))
        return nothing

    def given_up(self, claim: Claim, error: BaseException) -> Write:
        """The notification is there to be read all the same."""
        return nothing

    async def over(self, claim: Claim) -> None:
        """There is nothing to remove."""

    async def _find(self, claim: Claim) -> tuple[AnyRow, str] | None:
        """The notification, and the address that its mail comes from; None when nothing is to be mailed (any more)."""
        async with self._database.writing(claim.company_id) as session:
            row = (await session.execute(wanted(claim))).one_or_none()
            domain = await find_sender_domain(session, claim.company_id)
        sender = f"{NO_REPLY}@{domain}"
        if row is None or domain is None or address_problem(sender) or address_problem(row.email):
            return None
        return row, ascii_address(sender)

    async def _mark(self, claim: Claim) -> bool:
        """Says that the handover begins; False, and nothing is written, if another worker has the job by now."""
        async with self._database.writing(claim.company_id) as session:
            if not await is_held(session, claim):
                return False
            await session.execute(marking(claim, func.now()))
        return True

    def _mail(self, row: AnyRow, sender: str) -> Mail:
        recipient = ascii_address(row.email)
        message = message_bytes(
            sender=Mailbox(sender),
            to=Mailbox(recipient),
            rendered=rendered(NotificationKind(row.kind), row.first_name, row.name, self._public_url),
            message_id=f"<notice-{row.id}@{domain_of(sender)}>",
            date=self._now(),
            # RFC 3834, 5: nobody's absence is to be answered to it.
            headers={"Auto-Submitted": "auto-generated"},
        )
        return Mail(sender, recipient, message)


def wanted(claim: Claim) -> AnySelect:
    """The notification as a mail needs it, if it is unread, and news, and its user still wants mails."""
    age = func.now() - Notification.created_at
    return (
        select(
            Notification.id,
            Notification.kind,
            Notification.handing_over_at,
            Campaign.name,
            User.email,
            User.first_name,
            age.label("age"),
        )
        .join(
            Campaign,
            and_(Campaign.company_id == Notification.company_id, Campaign.id == Notification.campaign_id),
        )
        .join(User, and_(User.company_id == Notification.company_id, User.id == Notification.user_id))
        .where(
            Notification.company_id == claim.company_id,
            Notification.id == claim.subject_id,
            Notification.read_at.is_(None),
            User.email_notifications,
            age < NEWS_FOR,
        )
    )


def rendered(kind: NotificationKind, first_name: str, campaign_name: str, public_url: str) -> RenderedMessage:
    """What people call themselves and their campaigns is text, each of one line."""
    subject, greeting = f"{SUBJECTS[kind]}: {header_text(campaign_name)}", f"Hello {header_text(first_name)},"
    link = html_text(public_url)
    paragraphs = [html_text(text) for text in (greeting, f"{subject}.", REASON)]
    paragraphs.insert(2, f'{html_text(INVITATIONS[kind])} <a href="{link}">{link}</a>')
    html = "\n".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)
    text = "\n\n".join((greeting, f"{subject}.", f"{INVITATIONS[kind]} {public_url}", REASON))
    return RenderedMessage(subject, f"{HEAD}{html}{TAIL}", f"{text}\n")


def marking(claim: Claim, moment: ColumnElement[datetime] | Null) -> Update:
    return (
        update(Notification)
        .where(Notification.company_id == claim.company_id, Notification.id == claim.subject_id)
        .values(handing_over_at=moment)
        .execution_options(synchronize_session=False)
    )


def trying_again(claim: Claim, pause: timedelta) -> Write:
    """Another job, which is nobody's yet: the one that ends has just been deleted."""
    job = {"company_id": claim.company_id, "kind": claim.kind, "subject_id": claim.subject_id}

    async def write(session: AsyncSession) -> None:
        await session.execute(marking(claim, null()))
        await session.execute(insert(Job).values(**job, due_at=func.now() + pause))

    return write
