"""Where do unsubscribe links lead? Those of campaigns to a page with a button, those of test mails to one without.

`/u/<token>`, for ever the same for a recipient. Programs that look for danger in mails visit every link, so a visit
shows the page and changes nothing; the button withdraws the consent, and so does a mail program's one click (RFC 8058).
Nobody signs in, no cookie is read, and nothing is taken from the request but the token.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from sqlalchemy import BigInteger, and_, bindparam, select
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from gateway.bodies import body_of
from gateway.operations import RequestProblem
from gateway.recipient_tokens import RecipientId, RecipientTokens
from store.consent import withdraw_consent
from store.database import Database, Scope
from store.models import Campaign, CampaignType, Company, Recipient
from store.sql_types import AnyRow

TEST_PATH = "/u/test"
PATH = "/u/{token:path}"
PURPOSE = "unsubscribe"
# What mail programs and browsers send is some bytes.
MOST_BODY_BYTES = 10_000
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
POWERLESS = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
WITH_A_BUTTON = "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; sandbox allow-forms"

WHO_SENDS = (
    select(Company.name, Campaign.type)
    .join(Recipient, Recipient.company_id == Company.id)
    .join(Campaign, and_(Campaign.company_id == Recipient.company_id, Campaign.id == Recipient.campaign_id))
    .where(
        Recipient.company_id == bindparam("viewer_company_id"),
        Recipient.id == bindparam("recipient_id", type_=BigInteger()),
    )
)
WHAT = {CampaignType.EMAIL: "e-mails", CampaignType.LETTER: "letters", CampaignType.TELEPHONE: "calls"}
# Without an action a form is sent to the page's own address.
BUTTON = '<form method="post"><button type="submit">Unsubscribe</button></form>'


def page(title: str, text: str, more: str = "") -> str:
    """A page in English; the texts are HTML."""
    return f"""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<h1>{title}</h1>
<p>{text}</p>
{more}</html>
"""


TEST_PAGE = page(
    "This was a test mail",
    "Its unsubscribe link does nothing: nobody has been unsubscribed, and nothing is changed.",
)
NO_PAGE = page(
    "This link does not work",
    "It is not an unsubscribe link as it was sent. Please use the link in the message as it stands.",
)


def unsubscribe_links(secret: bytes, public_url: str) -> Callable[[int, int], str]:
    """Makes the link of a company's recipient; `public_url` is absolute and has no slash at its end."""
    tokens = RecipientTokens(secret, PURPOSE)
    return lambda company_id, recipient_id: f"{public_url}/u/{tokens.made(company_id, recipient_id)}"


class Unsubscribing:
    """The pages of `/u/`."""

    def __init__(self, secret: bytes, database: Database) -> None:
        self._tokens = RecipientTokens(secret, PURPOSE)
        self._database = database

    @property
    def routes(self) -> list[BaseRoute]:
        return [
            Route(TEST_PATH, unsubscribe_nobody, methods=["GET", "POST"]),
            Route(PATH, self.answer, methods=["GET", "POST"]),
        ]

    async def answer(self, request: Request) -> Response:
        """One page for all links that lead to nobody: nothing is learned from them."""
        try:
            await body_of(request, MOST_BODY_BYTES)
        except RequestProblem as problem:
            return shown(page("This cannot be done", escape(str(problem))), problem.status)
        recipient = self._tokens.opened(request.path_params["token"])
        sender = None if recipient is None else await self._sender(recipient)
        if recipient is None or sender is None:
            return shown(NO_PAGE, 404)
        company, what = escape(sender.name), WHAT[sender.type]
        if request.method != "POST":
            question = page("Unsubscribe", f"Do you want no more {what} from {company}?", BUTTON + "\n")
            return shown(question, policy=WITH_A_BUTTON)
        async with self._database.writing(recipient.company_id) as session:
            await withdraw_consent(session, recipient.company_id, recipient.recipient_id)
        return shown(page("You are unsubscribed", f"{company} will send you no more {what}."))

    async def _sender(self, recipient: RecipientId) -> AnyRow | None:
        """The company's `name`, and the `type` of the campaign."""
        company = Scope(recipient.company_id, user_id=0, sees_everything=True)
        async with self._database.reading(company) as reader:
            rows = await reader.rows(WHO_SENDS, {"recipient_id": recipient.recipient_id})
        return next(iter(rows), None)


async def unsubscribe_nobody(_request: Request) -> Response:
    """A person comes with GET, a mail program's one click with POST (RFC 8058); both get the page, nothing is read."""
    return shown(TEST_PAGE)


def shown(html: str, status: int = 200, policy: str = POWERLESS) -> Response:
    return HTMLResponse(html, status, {**HEADERS, "Content-Security-Policy": policy})
