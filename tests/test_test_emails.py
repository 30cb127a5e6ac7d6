"""Does a test mail go from GraphQL through the worker to a mail server, and is it there to be read?"""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage

import anyio
import pytest

from store.database import owner_transaction
from store.models import Campaign, Contact
from tests.build import Builder
from tests.campaign_documents import EMAIL, MESSAGE, desk_over
from tests.client import Gateway, running_gateway
from tests.conftest import World
from tests.mail_server import ACCEPTED, mail_server

pytestmark = pytest.mark.anyio

SEND = """
mutation ($input: CampaignInput!, $emails: [String!], $contactId: ID) {
  sendTestEmail(input: $input, emails: $emails, contactId: $contactId) {
    testDeliveries { id status email sender subject html text headers { name value } }
    userErrors { code field message }
  }
}
"""
SEND_SAVED = """
mutation ($id: ID!, $emails: [String!]!, $contactId: ID) {
  sendCampaignTestEmail(id: $id, emails: $emails, contactId: $contactId) {
    testDeliveries { id subject campaign { id } user { lastName } }
    userErrors { code field message }
  }
}
"""
END = "query ($id: ID!) { testDelivery(id: $id) { status reply finishedAt } }"
WRITTEN = {
    **EMAIL,
    "message": {
        **MESSAGE,
        "subject": "Grüße, {{contact.first_name|you}}",
        "content": "<p>Dear {{contact.first_name|you}}, {{contact.custom.cars|no}} cars, ask {{user.last_name}}.</p>",
    },
}


async def ended(gateway: Gateway, token: str, id: str) -> dict[str, str]:
    with anyio.fail_after(30):
        while True:
            found: dict[str, str] = (await gateway.ask(END, token, {"id": id})).data["testDelivery"]
            if found["status"] != "QUEUED":
                return found
            await anyio.sleep(0.01)


async def test_what_a_real_mail_server_receives(world: World) -> None:
    """The mail that is received is the one that GraphQL shows: headers, text and HTML, with the values filled in."""
    token = world.acme.tokens["admin"]
    variables = {"input": WRITTEN, "emails": ["dev@example.com"], "contactId": str(world.acme.rows["contact"])}
    async with mail_server() as server, running_gateway(world.url, worker=True, smtp_url=server.url) as gateway:
        answer = (await gateway.ask(SEND, token, variables)).data["sendTestEmail"]
        (shown,) = answer["testDeliveries"]
        assert (await ended(gateway, token, shown["id"]))["reply"] == ACCEPTED
    (received,) = server.received
    assert (received.sender, received.recipient) == (MESSAGE["sender"], "dev@example.com")
    mail = email.message_from_bytes(received.message, policy=email.policy.default)
    assert isinstance(mail, EmailMessage)
    assert mail["Subject"] == shown["subject"] == "Grüße, Maegan"
    assert [(header["name"], header["value"]) for header in shown["headers"]][:3] == [
        ("From", MESSAGE["sender"]),
        ("To", "dev@example.com"),
        ("Subject", "Grüße, Maegan"),
    ]
    html, text = mail.get_body(("html",)), mail.get_body(("plain",))
    assert html is not None
    assert text is not None
    assert html.get_content().splitlines() == shown["html"].splitlines()
    assert text.get_content().splitlines() == shown["text"].splitlines()
    assert "Dear Maegan, 2 cars, ask Manager." in shown["text"]
    assert mail["List-Unsubscribe"] == f"<{gateway.http.base_url.join('/u/test')}>"


async def test_one_for_each_address_to_nobody_else(world: World) -> None:
    """Each address gets one mail, the campaign's recipients none, and its statistics stay as they were."""
    token = world.acme.tokens["member"]
    addresses = [f"dev{number}@example.com" for number in range(5)]
    counted = ("campaigns", "recipients", "campaign_messages", "delivery_reports")
    async with mail_server() as server, desk_over(world, worker=True, smtp_url=server.url) as desk:
        await desk.run("UPDATE campaigns SET message_sender = 'news@acme.campaigns.example'")
        before = [row for row in await desk.tables() if row[0] in counted]
        answer = await desk.payload(SEND_SAVED, "member", id="$sent", emails=addresses)
        assert answer["userErrors"] == []
        for delivery in answer["testDeliveries"]:
            assert (await ended(desk.gateway, token, delivery["id"]))["status"] == "SENT"
            assert delivery["user"] == {"lastName": "Member"}
        assert [row for row in await desk.tables() if row[0] in counted] == before
    assert sorted(mail.recipient for mail in server.received) == addresses


async def test_to_oneself_as_oneself(gateway: Gateway, world: World) -> None:
    """Without addresses it goes to the viewer, and without a contact the viewer is read in its place."""
    answer = (await gateway.ask(SEND, world.acme.tokens["manager"], {"input": WRITTEN})).data["sendTestEmail"]
    (delivery,) = answer["testDeliveries"]
    own = await gateway.ask("{ viewer { user { email firstName } } }", world.acme.tokens["manager"])
    assert delivery["email"] == own.data["viewer"]["user"]["email"]
    assert delivery["subject"] == f"Grüße, {own.data['viewer']['user']['firstName']}"
    assert "no cars" in delivery["text"]


async def test_user_of_a_contact_without_one(gateway: Gateway, world: World) -> None:
    """`{{user.…}}` is the contact's user, and where there is none the author of the campaign, not who looks."""
    async with owner_transaction(world.url) as connection:
        build = Builder(connection)
        contact_id = await build.add(Contact, company_id=world.acme.id, first_name="Solo", user_id=None)
        campaign_id = await build.add(
            Campaign,
            company_id=world.acme.id,
            user_id=world.acme.member,
            message_subject="From {{user.last_name}}",
            message_content="<p>Hello</p>",
            message_sender="news@acme.campaigns.example",
        )
    for contact, author in ((contact_id, "Member"), (world.acme.rows["contact"], "Manager")):
        variables = {"id": str(campaign_id), "emails": ["dev@example.com"], "contactId": str(contact)}
        answer = await gateway.ask(SEND_SAVED, world.acme.tokens["admin"], variables)
        assert answer.data["sendCampaignTestEmail"]["testDeliveries"][0]["subject"] == f"From {author}"


async def test_everything_that_is_wrong_at_once(gateway: Gateway, world: World) -> None:
    """Addresses, contact and input are held against their rules together."""
    wrong = {**WRITTEN, "name": " ", "sendAt": None}
    variables = {"input": wrong, "emails": ["a@x.example", "a@X.example", "b"], "contactId": "nobody"}
    answer = (await gateway.ask(SEND, world.acme.tokens["admin"], variables)).data["sendTestEmail"]
    assert {(error["code"], ".".join(error["field"])) for error in answer["userErrors"]} == {
        ("DUPLICATE", "emails.1"),
        ("INVALID_EMAIL", "emails.2"),
        ("NOT_FOUND", "contactId"),
        ("REQUIRED", "input.name"),
        ("REQUIRED", "input.sendAt"),
    }


async def test_outbox_of_others(gateway: Gateway, world: World) -> None:
    """Administrators read all test mails of the company, others their own, and no one another company's."""
    listed = "{ testDeliveries { nodes { email } } }"
    await gateway.ask(SEND, world.acme.tokens["member"], {"input": WRITTEN, "emails": ["members@example.com"]})
    seen = {}
    for role in ("admin", "manager", "member"):
        nodes = (await gateway.ask(listed, world.acme.tokens[role])).data["testDeliveries"]["nodes"]
        seen[role] = sorted(node["email"] for node in nodes)
    # The small world has one of the manager's.
    assert seen == {
        "admin": ["members@example.com", "test@example.com"],
        "manager": ["test@example.com"],
        "member": ["members@example.com"],
    }
