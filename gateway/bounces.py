"""How does what mail servers say of messages come in? As mails to return paths, piped in, and by a signed webhook.

Both come to `record`. A report counts for the recipient whose signed return path it names, and for nobody else.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from enum import StrEnum
from typing import BinaryIO

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from content.bounces import read_returned
from gateway.bodies import body_of, check_content_type
from gateway.operations import RequestProblem
from gateway.recipient_tokens import RecipientId
from gateway.return_paths import ReturnPaths
from jobs.replies import readable
from store.database import Database
from store.feedback import Feedback, FeedbackKind, take

WEBHOOK_PATH = "/webhooks/bounces"
SIGNATURE = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})")
MOST_EVENTS = 500
MOST_BODY_BYTES = 256 * 1024
MOST_MAIL_BYTES = 5 * 1024 * 1024
GOOD_FOR_SECONDS = 300

Heard = tuple[RecipientId, Feedback]


async def record(database: Database, heard: Iterable[Heard]) -> int:
    """Writes down what is said of messages, one after the other; how much of it is news.

    Each in a transaction of its own: whoever has one recipient locked at a time waits for nobody in a circle, though
    recipients share contacts and addresses, and a sending writes to many of them at once.
    """
    news = 0
    for recipient, feedback in heard:
        async with database.writing(recipient.company_id) as session:
            news += await take(session, recipient.company_id, feedback)
    return news


async def record_once(database_url: str, timeout: float, heard: Heard) -> bool:  # noqa: ASYNC109 - of statements
    """The same for one thing, over a connection of its own; whether it is news. `timeout`: seconds for a statement."""
    database = Database(database_url, pool_size=1, command_timeout=timeout)
    try:
        return await record(database, [heard]) > 0
    finally:
        await database.close()


def read_mail(stream: BinaryIO) -> bytes | None:
    """The mail; None if it is too long, and then it is read to its end, as its sender would take less for a fault."""
    mail = stream.read(MOST_MAIL_BYTES + 1)
    if len(mail) <= MOST_MAIL_BYTES:
        return mail
    while stream.read(64 * 1024):
        pass
    return None


def heard_in_mail(paths: ReturnPaths, mail: bytes, envelope_recipient: str | None) -> Heard | None:
    """What a mail says of a message of ours, if it does; `envelope_recipient`: whom it came for, if that is known."""
    returned = read_returned(mail)
    if returned.news is None:
        return None
    addresses = [] if envelope_recipient is None else [envelope_recipient]
    candidates = (paths.opened(address.partition("@")[0]) for address in (*addresses, *returned.addresses))
    recipient = next((found for found in candidates if found is not None), None)
    if recipient is None:
        return None
    news = returned.news
    kind = FeedbackKind(news.fate.value)
    return recipient, Feedback(recipient.recipient_id, kind, news.permanent, readable(news.reply))


class EventType(StrEnum):
    """What a relay tells of a message."""

    BOUNCED = "bounced"
    DELIVERED = "delivered"
    DEFERRED = "deferred"
    COMPLAINED = "complained"


class Event(BaseModel):
    """One report of a relay. `permanent`: nothing sent to the address will ever arrive (bounced)."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True, hide_input_in_errors=True)

    return_path: str = Field(max_length=320)
    type: EventType
    permanent: bool = False
    reply: str | None = None
    occurred_at: AwareDatetime | None = None

    def heard(self, paths: ReturnPaths) -> Heard | None:
        """What it says of a message of ours, if the return path is one of ours."""
        recipient = paths.opened(self.return_path.partition("@")[0])
        if recipient is None:
            return None
        kind = FeedbackKind[self.type.name]
        reply = readable(self.reply or "") or None
        return recipient, Feedback(recipient.recipient_id, kind, self.permanent, reply, self.occurred_at)


class Events(BaseModel):
    """The body of a request."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    events: list[Event] = Field(min_length=1, max_length=MOST_EVENTS)


class BounceWebhook:
    """`POST /webhooks/bounces` with `Webhook-Signature: t=<unix seconds>,v1=<HMAC-SHA256 of "t.body", hexadecimal>`.

    It may come again within its five minutes: what is known already is not written twice.
    """

    def __init__(self, database: Database, paths: ReturnPaths, secret: bytes, now: Callable[[], datetime]) -> None:
        self._database = database
        self._paths = paths
        self._secret = secret
        self._now = now

    @property
    def route(self) -> Route:
        return Route(WEBHOOK_PATH, self.answer, methods=["POST"])

    async def answer(self, request: Request) -> Response:
        """How many of the events were news, and how many were not, or about no message of ours."""
        try:
            check_content_type(request.headers.get("content-type"))
            body = await body_of(request, MOST_BODY_BYTES)
            self._check(request.headers.get("webhook-signature", ""), body)
            events = read_events(body)
        except RequestProblem as problem:
            return written({"errors": problem.errors}, problem.status)
        heard = [found for event in events if (found := event.heard(self._paths)) is not None]
        accepted = await record(self._database, heard)
        return written({"accepted": accepted, "ignored": len(events) - accepted})

    def _check(self, header: str, body: bytes) -> None:
        signature = SIGNATURE.fullmatch(header)
        time, given = signature.groups() if signature else ("0", "")
        expected = hmac.new(self._secret, time.encode() + b"." + body, "sha256").hexdigest()
        genuine = hmac.compare_digest(expected, given)
        if not genuine or abs(self._now().timestamp() - int(time)) > GOOD_FOR_SECONDS:
            message = "The request is not signed with the secret, or was signed more than five minutes ago."
            raise RequestProblem(401, "INVALID_SIGNATURE", message)


def read_events(body: bytes) -> list[Event]:
    try:
        return Events.model_validate_json(body).events
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        code = "INVALID_JSON" if first["type"] == "json_invalid" else "INVALID_REQUEST"
        place = ".".join(map(str, first["loc"]))
        raise RequestProblem(400, code, f"{place}: {first['msg']}" if place else first["msg"]) from None


def written(answer: object, status: int = 200) -> Response:
    return Response(orjson.dumps(answer), status, {"Cache-Control": "no-store"}, "application/json")
