"""Which messages go over a WebSocket? The protocol `graphql-transport-ws` of the library graphql-ws, as JSON texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum

import orjson
from graphql import GraphQLFormattedError
from starlette.types import Message

from gateway.operations import Operation, RequestProblem, operation_of

SUBPROTOCOL = "graphql-transport-ws"
# A client chooses the id, and it goes out with every event.
LONGEST_ID = 255
# A control frame has 125 bytes, two of which are the code (RFC 6455, 5.5.1).
LONGEST_REASON = 123
ACKNOWLEDGED = '{"type":"connection_ack"}'
PONG = '{"type":"pong"}'


class CloseCode(IntEnum):
    """Why a socket is closed: RFC 6455 (7.4.1) and, from 4400 on, the protocol's own."""

    TRY_AGAIN_LATER = 1013
    BAD_REQUEST = 4400
    UNAUTHORIZED = 4401
    SUBPROTOCOL_NOT_ACCEPTABLE = 4406
    INITIALISATION_TIMEOUT = 4408
    SUBSCRIBER_EXISTS = 4409
    TOO_MANY_INITIALISATIONS = 4429
    INTERNAL_ERROR = 4500


class Closing(Exception):
    """The socket is to be closed with this code and reason."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason

    def message(self) -> Message:
        reason = self.reason.encode()[:LONGEST_REASON].decode(errors="ignore")
        return {"type": "websocket.close", "code": int(self.code), "reason": reason}


class Kind(StrEnum):
    """What a client may send."""

    CONNECTION_INIT = "connection_init"
    PING = "ping"
    PONG = "pong"
    SUBSCRIBE = "subscribe"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class Received:
    """A message of a client; `id` is empty where the kind has none."""

    kind: Kind
    id: str
    payload: Mapping[str, object]

    def operation(self) -> Operation:
        """What a `subscribe` asks for."""
        try:
            return operation_of(self.payload)
        except RequestProblem as problem:
            raise bad_request(problem.message) from None


def bad_request(reason: str) -> Closing:
    return Closing(CloseCode.BAD_REQUEST, reason)


def read_message(frame: Message) -> Received:
    """The message in a frame; raises `Closing` for anything that is not one."""
    text = frame.get("text")
    if text is None:
        raise bad_request("Messages are texts.")
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise bad_request("This is not JSON.") from None
    if not isinstance(found, dict):
        raise bad_request("A message is a JSON object.")
    try:
        kind = Kind(found.get("type"))  # type: ignore[arg-type]  # whatever it is: what is no kind raises
    except ValueError:
        raise bad_request("`type` must be one of a client's in graphql-transport-ws.") from None
    payload = found.get("payload")
    if payload is None and kind is not Kind.SUBSCRIBE:
        payload = {}
    if not isinstance(payload, dict):
        raise bad_request("`payload` must be an object.")
    return Received(kind, read_id(found) if kind in (Kind.SUBSCRIBE, Kind.COMPLETE) else "", payload)


def read_id(found: Mapping[str, object]) -> str:
    id = found.get("id")
    if not isinstance(id, str) or not 0 < len(id) <= LONGEST_ID:
        raise bad_request(f"`id` must be a text of 1 to {LONGEST_ID} characters.")
    return id


def text(content: str) -> Message:
    return {"type": "websocket.send", "text": content}


class Answers:
    """The messages about one operation; what they have in common is encoded once."""

    __slots__ = ("_id", "_next")

    def __init__(self, id: str) -> None:
        self._id = orjson.dumps(id).decode()
        self._next = f'{{"id":{self._id},"type":"next","payload":'

    def next(self, payload: str) -> Message:
        """`payload` is the JSON of an answer."""
        return text(f"{self._next}{payload}}}")

    def error(self, errors: list[GraphQLFormattedError]) -> Message:
        return text(f'{{"id":{self._id},"type":"error","payload":{orjson.dumps(errors).decode()}}}')

    def complete(self) -> Message:
        return text(f'{{"id":{self._id},"type":"complete"}}')
