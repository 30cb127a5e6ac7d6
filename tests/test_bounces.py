"""Is what comes back to return paths understood, recorded once, and harmless whatever it is?"""

from __future__ import annotations

import asyncio
import io
import os
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from content.bounces import Fate, read_returned
from gateway.bounces import MOST_MAIL_BYTES, heard_in_mail, read_mail
from gateway.cli import main
from gateway.recipient_tokens import RecipientId, RecipientTokens
from gateway.return_paths import ReturnPaths
from tests.client import DOWNLOAD_SECRET
from tests.conftest import World
from tests.recipients import CHANNELS, PATHS, Known, sent
from tests.returned_mails import complaint, delivery_report, mail

ROOT = Path(__file__).parent.parent
EVERY = list(CHANNELS.values())
PATH = PATHS(7, 12, "acme.campaigns.example")
SEVEN = RecipientId(7, 12)
REPLY = "550 5.1.1 <ada@example.com>: no such user"
NOT_SUPPRESSED = "Not suppressed: "
MEMORY = 30_000_000
# Where the machine has no PostgreSQL.
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


def test_return_paths() -> None:
    """They fit into an envelope, outlive a change of case, and lead back to the recipient."""
    for ids in ((1, 1), (7, 12), (2**31 - 1, 2**63 - 1)):
        local, _, domain = PATHS(*ids, "acme.example").partition("@")
        assert domain == "acme.example"
        assert re.fullmatch(r"bounce-[a-z0-9]{1,57}", local)
        for written in (local, local.upper(), local.title()):
            assert PATHS.opened(written) == RecipientId(*ids)
    assert PATHS(7, 12, "a.example") == PATHS(7, 12, "a.example")


def test_return_paths_that_are_not_ours() -> None:
    """Altered in any place, cut, grown, of another secret or another kind: they lead to nobody."""
    local = PATH.partition("@")[0]
    altered = [
        local[:place] + letter + local[place + 1 :]
        for place in range(len(local))
        for letter in "abz27-"
        if letter != local[place]
    ]
    token = RecipientTokens(DOWNLOAD_SECRET, "unsubscribe").made(7, 12)
    foreign = ReturnPaths(b"another secret, also of 32 bytes")(7, 12, "x").partition("@")[0]
    others = [local[:length] for length in range(len(local))] + [local + "a", local[7:], local + "=", f" {local}"]
    for wrong in (*altered, *others, f"bounce-{token}", foreign, "bounce-" + "ä" * 40, "bounce-" + "\0" * 40):
        assert PATHS.opened(wrong) is None, wrong


@pytest.mark.parametrize(
    ("action", "status", "diagnostic", "fate", "permanent"),
    [
        ("failed", "5.1.1", f"smtp; {REPLY}", Fate.BOUNCED, True),
        ("FAILED", "5.1.10 (no such address)", None, Fate.BOUNCED, True),
        ("failed", "5.0.0", "smtp; 550 go away", Fate.BOUNCED, True),
        ("failed", "5.1.1", "smtp; 550 Empfänger unbekannt", Fate.BOUNCED, True),
        ("failed", "5.2.2", "smtp; 552 full", Fate.BOUNCED, False),
        ("failed", "5.0.0", "smtp; 552 5.2.2 full", Fate.BOUNCED, False),
        ("failed", "5.2.3", None, Fate.BOUNCED, False),
        ("failed", "5.3.4", None, Fate.BOUNCED, False),
        ("failed", "5.4.7", None, Fate.BOUNCED, False),
        ("failed", "5.6.1", None, Fate.BOUNCED, False),
        ("failed", "5.7.1", None, Fate.BOUNCED, False),
        ("failed", "5.7.26", None, Fate.BOUNCED, False),
        ("failed", "5.2.1", None, Fate.BOUNCED, True),
        ("failed", "4.4.1", "smtp; connection timed out", Fate.BOUNCED, False),
        ("failed", "", "smtp; no idea, 10.5.1.1 refused", Fate.BOUNCED, False),
        ("", "5.1.1", None, Fate.BOUNCED, True),
        ("delayed", "4.4.1", None, Fate.DEFERRED, False),
        ("delayed", "5.1.1", None, Fate.DEFERRED, False),
        ("", "4.2.0", None, Fate.DEFERRED, False),
        ("delivered", "2.0.0", "smtp; 250 2.0.0 ok", Fate.DELIVERED, False),
        ("relayed", "2.0.0", None, Fate.DELIVERED, False),
        ("delivered", "5.1.1", None, None, False),
        ("expanded", "2.0.0", None, None, False),
        ("eaten", "5.1.1", None, None, False),
        ("", "", None, None, False),
    ],
)
def test_delivery_reports(action: str, status: str, diagnostic: str | None, fate: Fate | None, permanent: bool) -> None:
    """Action and status (RFC 3464) say what became of a message; only what is about the address is for good."""
    news = read_returned(delivery_report(PATH, action, status, diagnostic)).news
    if fate is None:
        assert news is None
        return
    assert news is not None
    assert (news.fate, news.permanent) == (fate, permanent)
    assert (NOT_SUPPRESSED in news.reply) == (fate is Fate.BOUNCED and not permanent)
    said = (diagnostic or "").removeprefix("smtp; ")
    assert news.reply.startswith(said or f"{action} {status.partition(' ')[0]}".strip().lower())


def test_a_report_about_several() -> None:
    """Where a server made several addresses of one, the worst counts, but the address only goes if none is good."""
    more = "\nFinal-Recipient: rfc822; b@example.com\nAction: {}\nStatus: {}\n"
    for action, status, permanent in (("delivered", "2.0.0", False), ("failed", "5.1.1", True)):
        news = read_returned(delivery_report(PATH, more=more.format(action, status))).news
        assert news is not None
        assert (news.fate, news.permanent) == (Fate.BOUNCED, permanent)


def test_other_ways_to_write_a_report() -> None:
    """Line ends, the line of mailbox files, the case of types, and a wrapping in another mail make no difference."""
    usual = delivery_report(PATH)
    wrapped = b"Delivered-To: %b\r\nContent-Type: multipart/mixed; boundary=outer\r\n\r\n--outer\r\n%b\r\n--outer--\r\n"
    for written in (
        usual.replace(b"\r\n", b"\n"),
        b"From MAILER-DAEMON  Sat Nov 21 12:00:00 2026\r\n" + usual,
        usual.replace(b"message/delivery-status", b"Message/Delivery-STATUS"),
        usual.replace(b"Content-Type: multipart", b"CONTENT-TYPE: Multipart"),
        b"X-Auto-Response-Suppress: All\r\nAuto-Submitted: auto-replied\r\n" + usual,
        usual + b"x" * 4_000_000,
        wrapped % (PATH.encode(), usual),
    ):
        assert read_returned(written).news == read_returned(usual).news
        assert heard_in_mail(PATHS, written, None) is not None


@pytest.mark.parametrize(
    ("headers", "bounced"),
    [
        ({"Return_Path": "<>"}, True),
        ({"Return_Path": "< >", "Auto_Submitted": "no"}, True),
        ({"From": "Mail <MAILER-DAEMON@mx.example>"}, True),
        ({"From": "postmaster@mx.example"}, True),
        ({"Return_Path": "<>", "Auto_Submitted": "auto-replied (vacation)"}, False),
        ({"Return_Path": "<>", "Auto_Submitted": "auto-generated"}, False),
        ({"Return_Path": "<>", "Precedence": "auto_reply"}, False),
        ({"Return_Path": "<>", "X_Autoreply": "yes"}, False),
        ({"Return_Path": "<>", "X_Autorespond": "yes"}, False),
        ({"Return_Path": "<>", "X_Auto_Response_Suppress": "All"}, False),
        ({"Return_Path": "<>", "Content_Type": "message/disposition-notification"}, False),
        ({"Return_Path": "<ada@example.com>", "From": "postmaster@mx.example"}, False),
        ({"From": "Ada <ada@example.com>"}, False),
        ({}, False),
    ],
)
def test_mails_that_are_no_reports(headers: dict[str, str], bounced: bool) -> None:
    """What nobody signs with an address is a bounce, though not for good; people and their programs are not."""
    news = read_returned(mail(PATH, "Mail returned", **headers)).news
    assert (news is not None) == bounced
    if news is not None:
        assert (news.fate, news.permanent) == (Fate.BOUNCED, False)
        assert (
            news.reply == f"Returned without a report: Mail returned ({NOT_SUPPRESSED}the report does not say that it"
            " is for good.)"
        )


def test_complaints() -> None:
    """Abuse (RFC 5965) is a complaint, whatever else it says; other feedback is nothing."""
    news = read_returned(complaint(PATH, "<>")).news
    assert news is not None
    assert (news.fate, news.permanent) == (Fate.COMPLAINED, True)
    for type in ("not-spam", "virus", ""):
        assert read_returned(complaint(PATH, PATH, type)).news is None


def test_where_the_return_path_stands() -> None:
    """It is what the server says, else what headers say, else what was returned; of several the first that is ours."""
    elsewhere = "abuse@acme.campaigns.example"
    other = PATHS(8, 1, "globex.example")
    found = {
        delivery_report(PATH): SEVEN,
        delivery_report(PATH, delivered_to=elsewhere): SEVEN,
        delivery_report(PATH, delivered_to=elsewhere, original_type="text/rfc822-headers"): SEVEN,
        delivery_report(other, delivered_to=PATH): SEVEN,
        delivery_report("someone@example.com", delivered_to=elsewhere): None,
        complaint(PATH, "redacted@example.com"): SEVEN,
        complaint("", PATH): SEVEN,
        mail(elsewhere, Return_Path="<>", X_Original_To=PATH): SEVEN,
        mail(elsewhere, Return_Path="<>", Envelope_To=f"<{PATH.upper()}>"): SEVEN,
        mail(f"Someone <someone@example.com>, {PATH}", Return_Path="<>"): SEVEN,
        mail(elsewhere, Return_Path="<>"): None,
    }
    for written, expected in found.items():
        heard = heard_in_mail(PATHS, written, None)
        assert (None if heard is None else heard[0]) == expected, written
    for envelope_recipient in (PATH, PATH.upper(), PATH.partition("@")[0]):
        heard = heard_in_mail(PATHS, delivery_report(other), envelope_recipient)
        assert heard is not None
        assert heard[0] == SEVEN


def test_what_is_kept_of_a_reply() -> None:
    """One line of at most 500 characters that print, with the reason at its end."""
    long = f"smtp; 552 5.2.2 \x00\x1b[31m{'voll ' * 200}"
    heard = heard_in_mail(PATHS, delivery_report(PATH, "failed", "5.2.2", long), None)
    assert heard is not None
    reply = heard[1].reply
    assert reply is not None
    assert len(reply) <= 500
    assert reply.isprintable()
    assert reply.endswith("(Not suppressed: the mailbox is full.)")


PIECES = st.sampled_from(
    [
        *delivery_report(PATH).splitlines(keepends=True),
        *complaint(PATH, PATH).splitlines(keepends=True),
        b"\n", b"\r", b"--", b"Content-Type: multipart/mixed; boundary=a\n", b"--a\n", b"--a--\n", b" folded\n", b"\0",
        b"Content-Type: multipart/report; boundary*=idna''%ff\n", b"Status: 5.1.1 5.1.1\n", b"Action:\n", b":\n",
        b"=?utf-8?b?////?=", b"\xff\xfe\x80", b"To: " + b"(" * 3_000 + b"\n", b"From " * 3, "Ådalen: é\n".encode(),
    ]
)  # fmt: skip
BROKEN = st.lists(st.one_of(PIECES, st.binary(max_size=30)), max_size=60).map(b"".join)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(BROKEN)
def test_broken_mails(written: bytes) -> None:
    """Whatever the pieces of reports are put together to, it is read, and speaks of our recipient or of nobody."""
    heard = heard_in_mail(PATHS, written, None)
    if heard is not None:
        recipient, feedback = heard
        assert recipient == SEVEN
        assert feedback.reply is not None
        assert len(feedback.reply) <= 500
        assert feedback.reply.isprintable()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data())
def test_a_report_with_a_broken_place(data: st.DataObject) -> None:
    """A report in which some bytes are others, or missing, is read all the same."""
    usual = delivery_report(PATH)
    place = data.draw(st.integers(0, len(usual)))
    heard = heard_in_mail(PATHS, usual[:place] + data.draw(st.binary(max_size=4)) + usual[place + 3 :], None)
    assert heard is None or heard[0] == SEVEN


NESTED = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (level, level) for level in range(4_000))
MONSTERS = {
    "parts in parts": NESTED,
    "parts in parts, and lines": NESTED[:60_000] + b"\n" * 5_000_000,
    "many parts": b"Content-Type: multipart/report; boundary=a\n\n" + b"--a\n\n" * 1_000_000,
    "many headers": b"To: a@b\n" * 600_000,
    "a long header": b"To: " + b"a@b," * 1_200_000,
    "brackets": b"To: " + b"(" * 4_000_000,
    "quotes": b'Content-Type: multipart/report; a="' + b";" * 4_000_000,
    "a folded header": b"Subject: a\n" + b" b\n" * 1_500_000,
    "many groups": b"Content-Type: message/delivery-status\n\n" + b"Action: failed\n\n" * 300_000,
    "blank lines": b"\n" * 5_000_000,
    "spaces": b"\n" + b" " * 5_000_000,
    "almost blank lines": b"Subject: a\n" + b" \t" * 2_000_000,
    "nothing": b"",
    "zeros": b"\0" * 5_000_000,
}


@pytest.mark.parametrize("name", MONSTERS)
def test_monsters_take_little(name: str) -> None:
    """A mail that is made to take long takes little memory, and not so much time that this test would not end."""
    tracemalloc.start()
    try:
        assert heard_in_mail(PATHS, MONSTERS[name], None) is None
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


def bounce(written: bytes, *arguments: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """`campaign-gateway bounce`, as a mail server runs it."""
    environment = {"PATH": os.environ["PATH"], "DOWNLOAD_SECRET": DOWNLOAD_SECRET.decode(), **variables}
    return subprocess.run(
        [sys.executable, "-m", "gateway", "bounce", *arguments],
        cwd=ROOT,
        env=environment,
        input=written,
        capture_output=True,
        timeout=120,
        check=False,
    )


def test_the_command(world: World) -> None:
    """A report is recorded once; it ends with 0 and says neither whom it was about nor what they wrote."""
    one = asyncio.run(sent(world))
    first = bounce(delivery_report(one.return_path), DATABASE_URL=world.url)
    assert (first.returncode, first.stdout, first.stderr) == (0, b"", b"BOUNCED: recorded.\n")
    known = Known("BOUNCED", EVERY, [("BOUNCED", REPLY)], {"ada@example.com": "BOUNCED"})
    assert asyncio.run(one.known()) == known
    second = bounce(delivery_report(one.return_path), "--recipient", one.return_path, DATABASE_URL=world.url)
    assert (second.returncode, second.stderr) == (0, b"BOUNCED: nothing new.\n")
    assert asyncio.run(one.known()) == known


def test_the_command_when_nothing_is_ours() -> None:
    """Nothing of ours is no failure, as no bounce must be answered by one: it ends with 0 and reads no database."""
    foreign = ReturnPaths(b"another secret, also of 32 bytes")(1, 1, "acme.example")
    for written in (b"\xff" * 1000, delivery_report(foreign)):
        ended = bounce(written, DATABASE_URL=NOWHERE)
        assert (ended.returncode, ended.stderr) == (0, b"It says nothing of a message of this gateway.\n")


def test_the_command_when_it_cannot_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the database, its secret or good settings it ends with 75 (try again)."""
    away = bounce(delivery_report(PATH), DATABASE_URL=NOWHERE)
    assert (away.returncode, b"Traceback" in away.stderr) == (75, False)
    empty = tmp_path / "data"
    without_secret = bounce(delivery_report(PATH), DATABASE_URL=NOWHERE, DOWNLOAD_SECRET="", DATA_DIR=str(empty))
    assert (without_secret.returncode, b"DOWNLOAD_SECRET" in without_secret.stderr) == (75, True)
    assert list(empty.iterdir()) == []
    monkeypatch.setenv("PORT", "high")
    assert main(["bounce"]) == 75


def test_a_mail_that_is_too_long() -> None:
    """One beyond 5 MB is read to its end, so that the mail server sees no broken pipe, and ends with 65."""
    assert read_mail(io.BytesIO(b"x" * MOST_MAIL_BYTES)) == b"x" * MOST_MAIL_BYTES
    stream = io.BytesIO(b"x" * 3 * MOST_MAIL_BYTES)
    assert read_mail(stream) is None
    assert stream.read() == b""
    too_long = bounce(delivery_report(PATH) + b"x" * 3 * MOST_MAIL_BYTES, DATABASE_URL=NOWHERE)
    assert (too_long.returncode, too_long.stderr) == (65, b"The mail is longer than 5,242,880 bytes.\n")
