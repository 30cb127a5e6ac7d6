"""What becomes of a campaign by e-mail when its mail server fails it, or its author stops it on the way?"""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import anyio
import pytest
from sqlalchemy import text

from jobs.delivery.campaigns import TOO_LATE
from jobs.pacing import Breaker
from jobs.smtp import UNCERTAIN, SmtpTransport
from jobs.smtp import mail_server as server_at
from store.delivery import cancel_waiting
from tests.conftest import World
from tests.mail_server import ACCEPTED, HANG_UP, crude_server, mail_server, scripted_server
from tests.post import until
from tests.sending import Sending, at_work, sending_of
from tests.smtp_sink import KIND, Unkindness, smtp_sink

pytestmark = pytest.mark.anyio

PATIENCE = 60
MANY = 60
# Over which the tests' workers write at a time.
CONNECTIONS = 4
NOTHING_LISTENS = "Nothing can be sent for now: The mail server cannot be reached."


@pytest.fixture
async def sending(world: World) -> AsyncIterator[Sending]:
    async with sending_of(world.url, world.acme) as found:
        await found.add_contacts(MANY)
        yield found


@contextmanager
def free_port() -> Iterator[int]:
    """One on which nobody listens, unless they are told of it."""
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        yield kept.getsockname()[1]


def each_once(received: Counter[str]) -> bool:
    return received == Counter(f"person{number}@customer.example" for number in range(1, MANY + 1))


def breaker(*, failures: int = 3, pause: float = 0.05, longest_pause: float = 3600) -> Breaker:
    return Breaker(
        clock=time.monotonic, chance=random.random, failures=failures, pause=pause, longest_pause=longest_pause
    )


async def until_it_waits(sending: Sending, id: UUID) -> str:
    """What the campaign says, as soon as it waits for its mail server."""

    async def says() -> bool:
        return bool((await sending.row(id)).problem_code == "MAIL_SERVER_UNAVAILABLE")

    await until(says)
    row = await sending.row(id)
    assert (row.status, row.ended_at) == ("SENDING", None)
    return str(row.problem_message)


async def until_put_off(sending: Sending) -> None:
    """Returns when no worker has the campaign, nor will have it for a while."""
    rests = "SELECT count(*) FROM jobs WHERE kind = 'CAMPAIGN' AND claimed_until IS NULL AND due_at > now() + '5 s'"

    async def is_put_off() -> bool:
        return bool(await sending.value(rests))

    await until(is_put_off)


async def pause(sending: Sending, id: UUID) -> None:
    await sending.change("UPDATE campaigns SET paused_at = now() WHERE id = :id", id=id)


async def resume(sending: Sending, id: UUID) -> None:
    await sending.change("UPDATE campaigns SET paused_at = NULL WHERE id = :id", id=id)
    await sending.carry_out(id)


async def cancel(sending: Sending, id: UUID) -> None:
    async with sending.database.writing(sending.company_id) as session:
        await session.execute(text("UPDATE campaigns SET status = 'CANCELED' WHERE id = :id"), {"id": id})
        await cancel_waiting(session, sending.company_id, id)


async def test_server_that_comes_later(sending: Sending, tmp_path: Path) -> None:
    """While nothing listens the campaign says what it waits for; when a server is there, all get their mail."""
    with anyio.fail_after(PATIENCE), free_port() as port:
        async with at_work(sending.url, f"smtp://127.0.0.1:{port}"):
            id = await sending.send()
            assert await until_it_waits(sending, id) == NOTHING_LISTENS
            assert (await sending.row(id)).sent_at is None
            assert await sending.recipients(id) == {"QUEUED": MANY}
            with smtp_sink(tmp_path, port=port) as sink:
                row = await sending.end_of(id)
    assert (row.status, row.problem_code, row.problem_message, row.total_sent) == ("COMPLETED", None, None, MANY)
    assert each_once(sink.recipients())
    assert await sending.recipients(id) == {"SENT": MANY}
    assert Counter(status for status, _ in (await sending.reports(id)).elements()) == {"SENT": MANY}


async def test_server_that_goes_and_comes_back(sending: Sending, tmp_path: Path) -> None:
    """When the server ends on the way, all who were not being written to at the moment get their mail later."""
    with anyio.fail_after(PATIENCE), free_port() as port:
        async with at_work(sending.url, f"smtp://127.0.0.1:{port}"):
            with smtp_sink(tmp_path, Unkindness(delay=0.05), port=port) as sink:
                id = await sending.send()

                async def some() -> bool:
                    return sink.count() > MANY / 3

                await until(some)
            assert await until_it_waits(sending, id)
            with smtp_sink(tmp_path, KIND, port=port) as sink:
                row = await sending.end_of(id)
    assert set(sink.recipients().values()) == {1}
    found = await sending.recipients(id)
    assert found["SENT"] + found["UNKNOWN"] == MANY
    assert found["UNKNOWN"] <= CONNECTIONS
    assert (row.status, row.problem_code, row.total_sent) == ("COMPLETED", None, found["SENT"])


async def test_absent_until_the_deadline(sending: Sending) -> None:
    """When no server comes in time the campaign has FAILED, and so has each recipient, with the reason."""
    with anyio.fail_after(PATIENCE), free_port() as port:
        async with at_work(sending.url, f"smtp://127.0.0.1:{port}", deadline=timedelta(seconds=1)):
            row = await sending.end_of(await sending.send())
    assert (row.status, row.problem_code, row.total_sent, row.sent_at) == ("FAILED", "DEADLINE_PASSED", 0, None)
    assert await sending.recipients(row.id) == {"FAILED": MANY}
    assert await sending.reports(row.id) == {("FAILED", TOO_LATE): MANY}


async def test_password(sending: Sending) -> None:
    """A password that the server refuses is what the campaign waits for, and nobody is lost; then it is put right."""
    with anyio.fail_after(PATIENCE):
        async with mail_server(users={"gateway": "right"}) as server:
            async with at_work(sending.url, f"smtp://gateway:wrong@127.0.0.1:{server.port}"):
                id = await sending.send()
                message = await until_it_waits(sending, id)
            assert message.endswith("The mail server does not let the gateway sign in.")
            assert await sending.recipients(id) == {"QUEUED": MANY}
            async with at_work(sending.url, f"smtp://gateway:right@127.0.0.1:{server.port}"):
                row = await sending.end_of(id)
    assert (row.status, row.problem_code, row.total_sent) == ("COMPLETED", None, MANY)
    assert {each.user for each in server.received} == {"gateway"}


async def test_silent_server(sending: Sending) -> None:
    """A server that says nothing is like none: nobody is written to, and the campaign says why."""

    async def silence(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    with anyio.fail_after(PATIENCE):
        async with crude_server(silence) as port:
            transport = SmtpTransport(server_at(f"smtp://127.0.0.1:{port}"), timeout=0.1)
            async with at_work(sending.url, transport):
                id = await sending.send()
                message = await until_it_waits(sending, id)
    assert message == "Nothing can be sent for now: The mail server does not answer."
    assert await sending.recipients(id) == {"QUEUED": MANY}
    assert await sending.value("SELECT max(attempt) FROM recipients WHERE campaign_id = :id", id=id) == 0


async def test_second_campaign(sending: Sending) -> None:
    """Each of the campaigns that wait for the server says so, also those that did not try it themselves."""
    with anyio.fail_after(PATIENCE), free_port() as port:
        async with at_work(sending.url, f"smtp://127.0.0.1:{port}", breaker=breaker(failures=1, pause=3600)):
            assert await until_it_waits(sending, await sending.send()) == NOTHING_LISTENS
            assert await until_it_waits(sending, await sending.send())


async def test_answers_that_do_not_come(sending: Sending) -> None:
    """A server that takes messages and hangs up gets few of them; of these it stays unknown, and all others go."""
    with anyio.fail_after(PATIENCE):
        few = breaker(pause=3600)
        async with mail_server(messages=(HANG_UP,)) as server, at_work(sending.url, server.url, breaker=few):
            id = await sending.send()
            message = await until_it_waits(sending, id)
        assert message == f"Nothing can be sent for now: {UNCERTAIN.reply}"
        found = await sending.recipients(id)
        unknown = found["UNKNOWN"]
        assert found == {"UNKNOWN": unknown, "QUEUED": MANY - unknown}
        # Those after which it was tried no more, and those in the hands of the others then.
        assert unknown < 3 + CONNECTIONS
        received = Counter(each.recipient for each in server.received)
        async with mail_server() as server, at_work(sending.url, server.url):
            await sending.carry_out(id)
            row = await sending.end_of(id)
    assert await sending.recipients(id) == {"UNKNOWN": unknown, "SENT": MANY - unknown}
    assert (row.status, row.problem_code, row.total_sent) == ("COMPLETED", None, MANY - unknown)
    assert each_once(received + Counter(each.recipient for each in server.received))


async def test_closing_on_the_way(sending: Sending) -> None:
    """A server that says 421 to a sender, a recipient or DATA gets the mail again: nothing of it is anybody's fault."""
    closing, fine = "421 4.3.2 Closing", "250 OK"
    says = {
        "MAIL": (fine, fine, closing, fine),
        "RCPT": (fine, fine, fine, closing, fine),
        "DATA": (*["354 go on"] * 5, closing, "354 go on"),
    }
    with anyio.fail_after(PATIENCE):
        async with scripted_server(says) as server, at_work(sending.url, server.url, connections=1):
            row = await sending.end_of(await sending.send())
    assert (row.status, row.problem_code, row.total_sent) == ("COMPLETED", None, MANY)
    assert each_once(Counter(each.recipient for each in server.received))
    assert await sending.reports(row.id) == {("SENT", ACCEPTED): MANY}


async def test_patience_with_a_server_that_greets_and_closes(sending: Sending) -> None:
    """A server that lets us in, and then takes nothing, is tried less and less often, as one that is away."""
    patience = breaker()
    with anyio.fail_after(PATIENCE):
        says = {"MAIL": ("421 4.3.2 Closing",)}
        async with scripted_server(says) as server, at_work(sending.url, server.url, breaker=patience):
            id = await sending.send()

            async def is_patient() -> bool:
                return patience.wait() > 1

            await until(is_patient)
            assert await until_it_waits(sending, id) == "Nothing can be sent for now: 421 4.3.2 Closing"
    found = await sending.recipients(id)
    assert found["QUEUED"] + found["DEFERRED"] == MANY


async def test_refusals(sending: Sending) -> None:
    """Refused for good: an address at which is nobody is suppressed, and one whose message is not liked is not."""
    nobody, spam = "550 5.1.1 No such user", "554 5.7.1 Looks like spam"
    with anyio.fail_after(PATIENCE):
        says = {"RCPT": (nobody, "250 OK"), "MESSAGE": (spam, ACCEPTED)}
        async with scripted_server(says) as server, at_work(sending.url, server.url, connections=1):
            row = await sending.end_of(await sending.send())
    assert (row.status, row.total_sent) == ("COMPLETED", MANY - 2)
    assert await sending.reports(row.id) == {("FAILED", nobody): 1, ("FAILED", spam): 1, ("SENT", ACCEPTED): MANY - 2}
    suppressed = await sending.rows(
        "SELECT address, reason, campaign_id FROM suppressions WHERE campaign_id = :id", id=row.id
    )
    refused = (
        "SELECT r.address FROM recipients r JOIN delivery_reports d ON d.recipient_id = r.id WHERE d.reply = :reply"
    )
    address = await sending.value(refused, reply=nobody)
    assert [tuple(each) for each in suppressed] == [(address, "REFUSED", row.id)]


async def test_put_off(sending: Sending) -> None:
    """Who is put off is DEFERRED until a time, and tried again then, not before."""
    later = "451 4.3.0 Later"
    with anyio.fail_after(PATIENCE):
        answers = (*[later] * MANY, "250 OK")
        async with (
            mail_server(recipients=answers) as server,
            at_work(sending.url, server.url, retry=3600, deadline=timedelta(days=1)),
        ):
            id = await sending.send()
            await until_put_off(sending)
            assert await sending.recipients(id) == {"DEFERRED": MANY}
            due = (
                "SELECT count(*) FROM recipients WHERE campaign_id = :id AND attempt = 1 AND due_at > now() + '40 min'"
            )
            assert await sending.value(due, id=id) == MANY
            await sending.carry_out(id)
            await until_put_off(sending)
            assert server.received == []
            # As if the time had passed.
            await sending.change("UPDATE recipients SET due_at = now() WHERE campaign_id = :id", id=id)
            await sending.carry_out(id)
            row = await sending.end_of(id)
    assert (row.status, row.total_sent) == ("COMPLETED", MANY)
    assert await sending.reports(id) == {("DEFERRED", later): MANY, ("SENT", ACCEPTED): MANY}
    assert each_once(Counter(each.recipient for each in server.received))


async def test_pause_and_resume(sending: Sending) -> None:
    """Once it is paused nothing more is begun; when it is resumed the others get their mail, and nobody two."""
    with anyio.fail_after(PATIENCE):
        async with mail_server(silent=True) as server, at_work(sending.url, server.url):
            id = await sending.send()
            await server.until_received(CONNECTIONS)
            await pause(sending, id)
            server.open_for_answers.set()
            await until_put_off(sending)
            assert len(server.received) == CONNECTIONS
            assert await sending.recipients(id) == {"SENT": CONNECTIONS, "QUEUED": MANY - CONNECTIONS}
            assert (await sending.row(id)).total_sent == CONNECTIONS
            await resume(sending, id)
            row = await sending.end_of(id)
    assert (row.status, row.total_sent) == ("COMPLETED", MANY)
    assert each_once(Counter(each.recipient for each in server.received))


async def test_cancel(sending: Sending) -> None:
    """Once it is canceled nothing more is begun; what is being handed over comes to its end, and is counted."""
    with anyio.fail_after(PATIENCE):
        async with mail_server(silent=True) as server, at_work(sending.url, server.url):
            id = await sending.send()
            await server.until_received(CONNECTIONS)
            await cancel(sending, id)
            assert await sending.recipients(id) == {"SENDING": CONNECTIONS, "CANCELED": MANY - CONNECTIONS}
            server.open_for_answers.set()

            async def is_over() -> bool:
                return not await sending.jobs()

            await until(is_over)
    row = await sending.row(id)
    assert (row.status, row.problem_code, row.total_sent) == ("CANCELED", None, CONNECTIONS)
    assert row.ended_at is not None
    assert len(server.received) == CONNECTIONS
    assert await sending.recipients(id) == {"SENT": CONNECTIONS, "CANCELED": MANY - CONNECTIONS}


@pytest.mark.parametrize("answer", ["451 4.3.0 Later", "421 4.3.2 Closing"])
async def test_put_off_after_the_cancelling(sending: Sending, answer: str) -> None:
    """What the server puts off after a campaign was canceled is canceled too: nobody waits for ever."""
    with anyio.fail_after(PATIENCE):
        async with mail_server(silent=True, messages=(answer,)) as server, at_work(sending.url, server.url):
            id = await sending.send()
            await server.until_received(CONNECTIONS)
            await cancel(sending, id)
            server.open_for_answers.set()

            async def is_over() -> bool:
                return not await sending.jobs()

            await until(is_over)
    row = await sending.row(id)
    assert (row.status, row.total_sent) == ("CANCELED", 0)
    assert await sending.recipients(id) == {"CANCELED": MANY}
    assert len(server.received) == CONNECTIONS
