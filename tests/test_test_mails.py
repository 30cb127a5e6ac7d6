"""Does a test mail go out as it was rendered, at most once, and is it said what became of it?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from jobs.replies import readable
from jobs.smtp import UNCERTAIN, SmtpTransport
from jobs.smtp import mail_server as server_of
from jobs.test_mails import GIVEN_UP, STOPPED, MailTester
from jobs.transport import OUTBOX, Answer, Mail, Outcome
from jobs.worker import Pace
from tests.build import NOW
from tests.client import running_gateway
from tests.conftest import World
from tests.mail_server import ACCEPTED, HANG_UP, MailServer, mail_server
from tests.post import OFTEN, Post, at_work, logged, post_of, until

pytestmark = pytest.mark.anyio

TRIES = 3


@pytest.fixture
async def post(world: World) -> AsyncIterator[Post]:
    async with post_of(world.url, world.acme) as found:
        yield found


def to(server: MailServer) -> SmtpTransport:
    return SmtpTransport(server_of(server.url))


async def test_sent_as_it_was_rendered(world: World, post: Post) -> None:
    """The stored message reaches the stored address, from the stored sender, and the server's reply is kept."""
    message = b"Subject: Exactly\r\n\r\n.so\r\n" + bytes(range(0x80, 0x100)) + b"\r\n"
    async with mail_server() as server, at_work(world.url, to(server)):
        id = await post.ask(message=message, sender="news@acme.example", email="ada@example.com")
        assert await post.end_of(id) == ("SENT", ACCEPTED)
    (mail,) = server.received
    assert (mail.sender, mail.recipient, mail.message) == ("news@acme.example", "ada@example.com", message)
    assert await post.jobs() == 0


async def test_refused(world: World, post: Post) -> None:
    """A refusal for good is the end, with the server's reply."""
    async with mail_server(recipients=("550 5.1.1 no such user",)) as server, at_work(world.url, to(server)):
        assert await post.end_of(await post.ask()) == ("FAILED", "550 5.1.1 no such user")
    assert server.connections == 1


@pytest.mark.parametrize("where", ["recipients", "messages"])
async def test_refused_at_first(world: World, post: Post, where: str) -> None:
    """After a refusal that may pass the mail is handed over once more, and taken once."""
    answers = {where: ("451 4.7.1 greylisted", ACCEPTED)}
    async with mail_server(**answers) as server, at_work(world.url, to(server)):  # type: ignore[arg-type]  # of tuples
        assert await post.end_of(await post.ask()) == ("SENT", ACCEPTED)
    assert server.connections == 2


async def test_refused_again_and_again(world: World, post: Post) -> None:
    """It is tried a few times, and the last reply is kept."""
    async with mail_server(recipients=("451 1", "451 2", "451 3")) as server, at_work(world.url, to(server)):
        assert await post.end_of(await post.ask()) == ("FAILED", "451 3")
    assert (server.connections, server.received) == (TRIES, [])


async def test_no_connection(world: World, post: Post) -> None:
    """A mail server that is not there is said; nothing of the network's address is."""
    async with mail_server() as server:
        pass
    async with at_work(world.url, to(server)):
        assert await post.end_of(await post.ask()) == ("FAILED", "The mail server cannot be reached.")


async def test_hang_up_after_the_message(world: World, post: Post) -> None:
    """When nobody knows whether the mail was taken, it is not sent again."""
    async with mail_server(messages=(HANG_UP,)) as server, at_work(world.url, to(server)):
        assert await post.end_of(await post.ask()) == ("FAILED", UNCERTAIN.reply)
    assert len(server.received) == 1


async def test_second_attempt_after_none(world: World, post: Post) -> None:
    """What another worker had claimed, and never began to hand over, is sent."""
    async with mail_server() as server:
        id = await post.ask()
        await post.change("UPDATE jobs SET attempt = 1, claimed_until = now() WHERE due_at < '2099-01-01'")
        async with at_work(world.url, to(server)):
            assert await post.end_of(id) == ("SENT", ACCEPTED)
    assert len(server.received) == 1


async def test_second_attempt_in_a_pause(world: World, post: Post) -> None:
    """What a worker certainly failed to hand over, and was stopped before it tried again, is sent by the next."""
    async with mail_server(recipients=("451 later", ACCEPTED)) as server:
        id = await post.ask()
        patient = MailTester(post.database, to(server), pauses=(3600,))
        async with at_work(world.url, patient, pace=Pace(poll=3600, grace=0.1)):
            await until(lambda: refused_once(server, post, id))
        async with at_work(world.url, to(server)):
            assert await post.end_of(id) == ("SENT", ACCEPTED)


async def test_second_attempt_after_the_grace_time(world: World, post: Post) -> None:
    """What a worker that had to end was handing over is not sent by the next, which says so without waiting."""
    async with mail_server(silent=True) as server:
        async with at_work(world.url, to(server), pace=Pace(poll=3600, grace=0.1)):
            id = await post.ask()
            await server.until_received(1)
        async with at_work(world.url, to(server)):
            assert await post.end_of(id) == ("FAILED", STOPPED.reply)
    assert len(server.received) == 1


async def test_given_up(world: World, post: Post) -> None:
    """A delivery whose job failed again and again by faults of ours, with nothing handed over, comes to its end."""
    await post.change("ALTER TABLE test_deliveries ADD CONSTRAINT fault CHECK (handing_over_at IS NULL) NOT VALID")
    async with mail_server() as server:
        id = await post.ask()
        with capture_logs() as logs:
            async with at_work(world.url, to(server), pace=OFTEN):
                assert await post.end_of(id) == ("FAILED", GIVEN_UP.reply)
    assert [line["event"] for line in logs].count("worker.failed") == OFTEN.attempts
    assert (server.connections, await post.jobs()) == (0, 0)


async def test_given_up_in_the_middle(world: World, post: Post) -> None:
    """If the last fault came while the mail was being handed over, it may have gone out, and that is said."""
    id = await post.ask()
    async with at_work(world.url, Gossip(), pace=Pace(poll=3600, attempts=1)):
        assert await post.end_of(id) == ("FAILED", STOPPED.reply)


class Overtaken:
    """A transport before whose second try somebody else claims the job."""

    def __init__(self, post: Post) -> None:
        self.tries = 0
        self._post = post

    async def hand_over(self, _mail: Mail) -> Answer:
        self.tries += 1
        await self._post.change("UPDATE jobs SET attempt = attempt + 1 WHERE due_at < '2099-01-01'")
        return Answer(Outcome.NOT_NOW, "451 later")


async def test_claim_that_is_lost_in_a_pause(world: World, post: Post) -> None:
    """A worker that has lost its claim between two tries hands nothing over any more."""
    transport = Overtaken(post)
    with capture_logs() as logs:
        id = await post.ask()
        async with at_work(world.url, transport):
            await until(lambda: logged(logs, "job.claim_lost"))
    assert transport.tries == 1
    assert await post.value("SELECT status FROM test_deliveries WHERE id = :id", id=id) == "QUEUED"


async def refused_once(server: MailServer, post: Post, id: UUID) -> bool:
    """Whether the first handover is over, and no other has begun."""
    begun = await post.value("SELECT handing_over_at FROM test_deliveries WHERE id = :id", id=id)
    return server.connections == 1 and begun is None


async def test_second_attempt(world: World, post: Post) -> None:
    """What another worker began to hand over and did not end is not sent: it may have gone out."""
    async with mail_server() as server:
        id = await post.ask(handing_over_at=NOW)
        await post.change("UPDATE jobs SET attempt = 1, claimed_until = now() WHERE due_at < '2099-01-01'")
        async with at_work(world.url, to(server)):
            assert await post.end_of(id) == ("FAILED", STOPPED.reply)
    assert (server.connections, await post.jobs()) == (0, 0)


async def test_worker_that_lost_its_claim(world: World, post: Post) -> None:
    """A worker that hears the server's answer after its claim is over records nothing: others have done so."""
    async with mail_server(silent=True) as server, at_work(world.url, to(server)):
        id = await post.ask()
        await server.until_received(1)
        await post.end_the_leases()
        async with at_work(world.url, to(server)):
            assert await post.end_of(id) == ("FAILED", STOPPED.reply)
        with capture_logs() as logs:
            server.open_for_answers.set()
            await until(lambda: logged(logs, "job.claim_lost"))
    assert await post.end_of(id) == ("FAILED", STOPPED.reply)
    assert len(server.received) == 1


async def test_two_workers(world: World, post: Post) -> None:
    """Fifty mails, two workers: each mail is received exactly once."""
    async with mail_server() as server, at_work(world.url, to(server)), at_work(world.url, to(server)):
        ids = [await post.ask(email=f"{number}@example.com") for number in range(50)]
        assert {await post.end_of(id) for id in ids} == {("SENT", ACCEPTED)}
    assert sorted(mail.recipient for mail in server.received) == sorted(f"{number}@example.com" for number in range(50))


async def test_mail_of_another_company(world: World, post: Post) -> None:
    """A job that names another company's test mail, or none, sends nothing and ends."""
    async with mail_server() as server, post_of(world.url, world.globex) as other:
        foreign = await other.ask(email="theirs@example.com")
        await post.change("DELETE FROM jobs WHERE due_at < '2099-01-01'")
        await post.leave_job(foreign)
        await post.leave_job(uuid4())
        async with at_work(world.url, to(server)):
            await until(lambda: no_jobs(post))
    assert await post.value("SELECT status FROM test_deliveries WHERE id = :id", id=foreign) == "QUEUED"
    assert server.received == []


async def no_jobs(post: Post) -> bool:
    return await post.jobs() == 0


class Gossip:
    """A transport that says in its error whom the mail is for."""

    async def hand_over(self, mail: Mail) -> Answer:
        raise ValueError(f"{mail.recipient} {mail.message!r}")


async def test_log_tells_nothing_of_people(world: World, post: Post) -> None:
    """Neither addresses nor subjects nor passwords are logged, whether a mail is sent, refused, or a fault of ours."""
    secrets = {
        "email": "ada@example.com",
        "sender": "news@acme.example",
        "subject": "Psst",
        "message": b"Subject: Psst",
    }
    async with mail_server(
        recipients=("550 <ada@example.com> is unknown", "250 OK"), users={"me": "hunter2"}
    ) as server:
        transport = SmtpTransport(server_of(f"smtp://me:hunter2@127.0.0.1:{server.port}"))
        with capture_logs() as logs:
            async with at_work(world.url, transport):
                for _ in range(2):
                    await post.end_of(await post.ask(**secrets))
            async with at_work(world.url, Gossip()):
                await post.ask(**secrets)
                await until(lambda: logged(logs, "worker.failed"))
    assert len(server.received) == 1
    assert [line["event"] for line in logs].count("job.done") == 2
    for secret in ("ada", "acme.example", "Psst", "hunter2"):
        assert secret not in str(logs)


async def test_reply_is_readable() -> None:
    """A reply is kept as one line of at most 500 characters that the database takes."""
    assert readable("250 2.0.0\n Ok:\x00 \x1b[31mqueued\udcff\u202e  as 1") == "250 2.0.0 Ok: [31mqueued as 1"
    assert len(readable("x" * 600)) == 500


async def test_in_the_gateway(world: World, post: Post) -> None:
    """The gateway does the jobs itself if it is told to, by way of the mail server of its settings."""
    async with mail_server() as server, running_gateway(world.url, worker=True, smtp_url=server.url):
        assert await post.end_of(await post.ask()) == ("SENT", ACCEPTED)


async def test_outbox(world: World, post: Post) -> None:
    """A mail that is kept in the outbox counts as sent."""
    async with at_work(world.url, OUTBOX):
        assert await post.end_of(await post.ask()) == (
            "SENT",
            "Kept in the outbox: no mail server is set (SMTP_URL).",
        )
