"""Does a user who wants mails get one of what they are told, at most one, and nobody else's text in its headers?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from uuid import UUID

import anyio
import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from jobs.notices import Notifier
from jobs.queue import Queue
from jobs.smtp import SmtpTransport
from jobs.smtp import mail_server as server_of
from jobs.transport import NO_SERVER, Transport
from jobs.worker import Duty, Pace
from store.database import owner_transaction
from store.models import JobKind, NotificationKind
from store.notifications import notify
from tests.build import NOW
from tests.conftest import World
from tests.mail_server import ACCEPTED, HANG_UP, MailServer, Received, mail_server
from tests.post import NO_POLL, OFTEN, Post, at_work, post_of, until

pytestmark = pytest.mark.anyio

PATIENCE_SECONDS = 30
URL = "https://campaigns.example"
HOSTILE = "</p><a href='https://evil.example'>Spring</a>\r\nBcc: b@example.com\u2028X: y"


@pytest.fixture
async def post(world: World) -> AsyncIterator[Post]:
    async with post_of(world.url, world.acme) as found:
        yield found


def to(server: MailServer) -> SmtpTransport:
    return SmtpTransport(server_of(server.url))


def duties(post: Post, transport: Transport) -> Mapping[JobKind, Duty]:
    """A worker's, that tries again very soon."""
    notifier = Notifier(post.database, transport, URL, lambda: NOW, first_pause=timedelta(milliseconds=1))
    return {JobKind.NOTICE: Duty(notifier)}


async def change(world: World, sql: str, **parameters: object) -> None:
    async with owner_transaction(world.url) as connection:
        await connection.execute(text(sql), parameters)


async def told(world: World, post: Post, kind: NotificationKind = NotificationKind.LETTERS_READY) -> UUID:
    """A notification of the member's, who is told of the campaign `Sent`."""
    acme = world.acme
    async with post.database.writing(acme.id) as session:
        return await notify(session, acme.id, acme.member, kind, acme.rows["sent"])


async def until_done(post: Post) -> None:
    async def done() -> bool:
        return await post.jobs() == 0

    await until(done)


async def mails(world: World, post: Post, kind: NotificationKind = NotificationKind.LETTERS_READY) -> list[Received]:
    """What a mail server has got when the user was told, and nothing is left to do."""
    async with mail_server() as server, at_work(world.url, duties(post, to(server))):
        await told(world, post, kind)
        await until_done(post)
    return server.received


def read(mail: Received) -> tuple[EmailMessage, str, str]:
    """The mail, and its parts in plain text and HTML."""
    message = message_from_bytes(mail.message, policy=policy.default)
    assert isinstance(message, EmailMessage)
    plain, html = (message.get_body((subtype,)) for subtype in ("plain", "html"))
    assert plain is not None
    assert html is not None
    return message, plain.get_content(), html.get_content()


@pytest.mark.parametrize(
    ("kind", "subject"),
    [
        (NotificationKind.LETTERS_READY, "Your letters are ready: Sent"),
        (NotificationKind.CAMPAIGN_COMPLETED, "Your campaign was sent: Sent"),
        (NotificationKind.CAMPAIGN_FAILED, "Your campaign reached nobody: Sent"),
    ],
)
async def test_a_mail_of_a_notification(world: World, post: Post, kind: NotificationKind, subject: str) -> None:
    """Its user gets one mail, from nobody who could be answered, with the campaign's name and the gateway's address."""
    (mail,) = await mails(world, post, kind)
    email = await post.value("SELECT email FROM users WHERE id = :id", id=world.acme.member)
    assert (mail.sender, mail.recipient) == ("noreply@acme.campaigns.example", email)
    message, plain, html = read(mail)
    assert (message["From"], message["To"], message["Subject"]) == (mail.sender, mail.recipient, subject)
    assert message["Auto-Submitted"] == "auto-generated"
    assert "Hello Ada," in plain
    for part in (plain, html):
        assert subject in part
        assert URL in part
        assert part.count("https://") == (2 if part is html else 1), "the link and its text, and no other"


async def test_the_companys_own_domain(world: World, post: Post) -> None:
    """The mail comes from the company's own domain before that of its slug."""
    await change(world, "UPDATE campaign_settings SET domain = 'acme.example' WHERE company_id = :id", id=world.acme.id)
    (mail,) = await mails(world, post)
    assert mail.sender == "noreply@acme.example"
    assert read(mail)[0]["Message-ID"].endswith("@acme.example>")


async def test_names_are_text(world: World, post: Post) -> None:
    """A campaign's or a user's name adds no header, no line and no markup."""
    await change(world, "UPDATE campaigns SET name = :name WHERE id = :id", name=HOSTILE, id=world.acme.rows["sent"])
    await change(world, "UPDATE users SET first_name = :name WHERE id = :id", name=HOSTILE, id=world.acme.member)
    (mail,) = await mails(world, post)
    message, plain, html = read(mail)
    shown = HOSTILE.replace("\r\n", " ").replace("\u2028", " ")
    assert message["Subject"] == f"Your letters are ready: {shown}"
    assert {"Bcc", "X"}.isdisjoint(message.keys())
    assert mail.recipient == message["To"]
    assert plain.splitlines().count(f"Hello {shown},") == 1
    assert html.count("<a ") == 1
    assert "&lt;a href=&#x27;https://evil.example" in html


@pytest.mark.parametrize("where", ["recipients", "messages"])
async def test_refused_at_first(world: World, post: Post, where: str) -> None:
    """After refusals that may pass the mail is handed over again, and taken once."""
    answers = {where: ("451 4.7.1 greylisted", "421 4.3.2 going down", ACCEPTED)}
    server_with = mail_server(**answers)  # type: ignore[arg-type]  # of tuples
    async with server_with as server, at_work(world.url, duties(post, to(server)), pace=OFTEN):
        await told(world, post)
        await until_done(post)
    assert server.connections == 3
    assert len(server.received) == (3 if where == "messages" else 1)


async def test_a_server_that_is_away(world: World, post: Post) -> None:
    """The mail waits for the server: the longer, the older the notification is."""
    async with mail_server() as server:
        pass
    id = await told(world, post)
    await change(world, "UPDATE notifications SET created_at = now() - interval '1 hour' WHERE id = :id", id=id)
    waiting = "SELECT count(*) FROM jobs WHERE subject_id = :id AND attempt = 0 AND due_at > now() + interval '50 min'"

    async def put_off() -> bool:
        return await post.value(waiting, id=id) == 1

    async with at_work(world.url, duties(post, to(server))):
        await until(put_off)
    async with mail_server() as server:
        await change(world, "UPDATE jobs SET due_at = now() WHERE subject_id = :id", id=id)
        async with at_work(world.url, duties(post, to(server))):
            await until_done(post)
    assert len(server.received) == 1


@pytest.mark.parametrize("answer", [HANG_UP, "550 5.7.1 no"])
async def test_never_twice(world: World, post: Post, answer: str) -> None:
    """A mail that may have been taken, or that was refused for good, is not handed over again."""
    with capture_logs() as logs:
        async with mail_server(messages=(answer,)) as server, at_work(world.url, duties(post, to(server)), pace=OFTEN):
            await told(world, post)
            await until_done(post)
    assert len(server.received) == 1
    (line,) = [line for line in logs if line["event"] == "notice.not_taken"]
    assert line["outcome"] == ("UNCERTAIN" if answer is HANG_UP else "REFUSED")
    assert "no" not in line.values()


async def test_a_worker_that_is_gone(world: World, post: Post) -> None:
    """What a worker was handing over when it had to end is not sent by the next."""
    async with mail_server(silent=True) as server:
        async with at_work(world.url, duties(post, to(server)), pace=Pace(poll=NO_POLL.poll, grace=0.1)):
            id = await told(world, post)
            with anyio.fail_after(PATIENCE_SECONDS):
                await server.until_received(1)
        assert await post.value("SELECT attempt FROM jobs WHERE subject_id = :id", id=id) == 1
        with capture_logs() as logs:
            async with at_work(world.url, duties(post, to(server))):
                await until_done(post)
    assert len(server.received) == 1
    assert [line["event"] for line in logs].count("notice.left_out") == 1


async def test_a_worker_that_had_not_begun(world: World, post: Post) -> None:
    """What a worker had claimed, and had not begun to hand over when it was gone, is sent by the next, once."""
    await told(world, post)
    (lost,) = await Queue(post.database, {}, lease=60).claim(1, [JobKind.NOTICE])
    await post.end_the_leases()
    async with mail_server() as server:
        async with at_work(world.url, duties(post, to(server))):
            await until_done(post)
        assert len(server.received) == 1
        notifier = duties(post, to(server))[JobKind.NOTICE].handler
        await notifier(lost)
    assert len(server.received) == 1


async def test_a_claim_that_was_lost(world: World, post: Post) -> None:
    """A worker whose claim another has by now hands nothing over, and leaves no mark."""
    id = await told(world, post)
    queue = Queue(post.database, {}, lease=60)
    (lost,) = await queue.claim(1, [JobKind.NOTICE])
    await post.end_the_leases()
    assert await queue.claim(1, [JobKind.NOTICE])
    async with mail_server() as server:
        await duties(post, to(server))[JobKind.NOTICE].handler(lost)
    assert server.connections == 0
    assert await post.value("SELECT handing_over_at FROM notifications WHERE id = :id", id=id) is None


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE notifications SET read_at = now()",
        "UPDATE notifications SET created_at = now() - interval '25 hours'",
        "UPDATE users SET email_notifications = false",
        "UPDATE users SET email = 'no address ' || id",
        "DELETE FROM campaign_settings",
        "DELETE FROM notifications",
    ],
)
async def test_what_is_not_mailed(world: World, post: Post, sql: str) -> None:
    """What was read, is old, is not wanted any more, or cannot be mailed is left out, and the job is over."""
    await told(world, post)
    await change(world, sql)
    async with mail_server() as server, at_work(world.url, duties(post, to(server))):
        await until_done(post)
    assert (server.connections, server.received) == (0, [])


async def test_without_a_mail_server(world: World, post: Post) -> None:
    """Where no mail server is set the notification is there to be read, and nothing waits."""
    async with at_work(world.url, duties(post, NO_SERVER)):
        id = await told(world, post)
        await until_done(post)
    assert await post.value("SELECT count(*) FROM notifications WHERE id = :id", id=id) == 1


async def test_a_fault_of_ours(world: World, post: Post) -> None:
    """A fault before anything is handed over ends the job after some attempts, with nothing sent."""
    await told(world, post)
    await change(world, "ALTER TABLE users RENAME COLUMN first_name TO name")
    with capture_logs() as logs:
        async with mail_server() as server, at_work(world.url, duties(post, to(server)), pace=OFTEN):
            await until_done(post)
    assert [line["event"] for line in logs].count("job.given_up") == 1
    assert server.received == []
