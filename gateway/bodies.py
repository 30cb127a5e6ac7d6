"""How is the body of a request read? To its end or to a cap, and only if it is what it should be."""

from __future__ import annotations

from starlette.requests import ClientDisconnect, Request

from gateway.operations import RequestProblem

JSON_TYPE = "application/json"


async def body_of(request: Request, max_bytes: int) -> bytes:
    """The whole body; raises `RequestProblem` if it is larger, or is not sent to its end."""
    too_large = RequestProblem(413, "BODY_TOO_LARGE", f"A request may have at most {max_bytes} bytes.")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise too_large
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > max_bytes:
                raise too_large
    except ClientDisconnect:
        raise RequestProblem(400, "INCOMPLETE_REQUEST", "The request was not sent to its end.") from None
    return bytes(body)


def check_content_type(content_type: str | None) -> None:
    """Exactly JSON: a form's content type would let another site's page send a request (CSRF)."""
    media_type, _, parameters = (content_type or "").partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if media_type.strip().lower() != JSON_TYPE or charset not in ("", "utf-8"):
        raise RequestProblem(415, "UNSUPPORTED_MEDIA_TYPE", "Send a body of type application/json.")
