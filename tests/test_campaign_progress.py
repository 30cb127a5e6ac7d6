"""Does a client see how the sending of a campaign goes, live and in lists, and where its letters are?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from store.audience import ExclusionReason
from store.models import CampaignDelivery, CampaignProblem, DeliveryStatus, Export, File, Recipient
from store.signals import Channel, signal
from tests.build import NEVER_EXPIRES, NOW, TestCompany
from tests.campaign_documents import Desk, Input, desk_of_a_module
from tests.conftest import World
from tests.watching import Stand, stand_of

pytestmark = pytest.mark.anyio

RAW = " ".join(status.lower() for status in DeliveryStatus)
STATISTICS = f"query ($id: ID!) {{ campaign(id: $id) {{ statistics {{ total {RAW} handedOver percent }} }} }}"
DELIVERY = """
query ($id: ID!) {
  campaign(id: $id) {
    delivery {
      startedAt endedAt recipients excluded { reason count } sender perSecond secondsRemaining endsAt heartbeatAt
      stalled problem { code message } outcome
    }
  }
}
"""
ARCHIVE = "query ($id: ID!) { campaign(id: $id) { letterArchive { url expiresAt } } }"
LIVE = """
campaign { name status statistics { total queued sent unknown percent } delivery { recipients outcome } }
"""
WATCH = f"subscription ($id: ID!) {{ campaignChanged(id: $id) {{ {LIVE} }} }}"
BOARD = f"subscription {{ campaignsChanged(first: 1) {{ {LIVE.replace('campaign {', 'campaigns {')} }} }}"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
SENDING: Input = {"status": "SENDING", "approved": True, "send_at": NOW}


@pytest.fixture(scope="module")
async def shared_desk(server: str, world_template: tuple[str, TestCompany, TestCompany]) -> AsyncIterator[Desk]:
    async with desk_of_a_module(server, world_template) as desk:
        yield desk


async def sent_to(desk: Desk, *statuses: str, delivery: Input | None = None, **values: object) -> str:
    """The id of a campaign that is being sent, with a recipient of each of these statuses."""
    campaign_id = await desk.campaign(**{**SENDING, **values})
    row = {"recipients": len(statuses), "started_at": LONG_AGO, **(delivery or {})}
    await desk.add(CampaignDelivery, campaign_id=campaign_id, **row)
    for status in statuses:
        await desk.add(Recipient, campaign_id=campaign_id, status=status)
    return campaign_id


async def delivery_of(desk: Desk, campaign_id: str) -> Any:
    return (await desk.ask(DELIVERY, id=campaign_id)).data["campaign"]["delivery"]


async def statistics_of(desk: Desk, campaign_id: str) -> Any:
    return (await desk.ask(STATISTICS, id=campaign_id)).data["campaign"]["statistics"]


async def test_statistics(shared_desk: Desk) -> None:
    """Recipients are counted by their status, each status by itself; what was handed over, and done, is summed up."""
    numbers = {status: place + 1 for place, status in enumerate(DeliveryStatus)}
    statuses = [str(status) for status, number in numbers.items() for _ in range(number)]
    found = await statistics_of(shared_desk, await sent_to(shared_desk, *statuses))
    done = sum(numbers[status] for status in DeliveryStatus if status not in ("QUEUED", "SENDING", "DEFERRED"))
    handed_over = sum(numbers[DeliveryStatus(name)] for name in ("SENT", "DELIVERED", "BOUNCED", "UNSUBSCRIBED"))
    assert found == {
        **{status.lower(): number for status, number in numbers.items()},
        "total": len(statuses),
        "handedOver": handed_over,
        "percent": pytest.approx(100 * done / len(statuses)),
    }


async def test_statistics_of_nobody(shared_desk: Desk) -> None:
    """A campaign without recipients has counts of 0, and no percentage; it has no delivery before it is sent."""
    campaign_id = await shared_desk.campaign()
    nothing = dict.fromkeys((*RAW.split(), "total", "handedOver"), 0)
    assert await statistics_of(shared_desk, campaign_id) == {**nothing, "percent": None}
    assert await delivery_of(shared_desk, campaign_id) is None


async def test_delivery(shared_desk: Desk) -> None:
    """What was settled when the sending began is shown, with all reasons why somebody is left out, in their order."""
    excluded = {reason.value: place + 1 for place, reason in reversed(list(enumerate(ExclusionReason)))}
    row: Input = {"excluded": excluded, "sender": "news@acme.campaigns.example", "ended_at": NOW, "started_at": NOW}
    campaign_id = await sent_to(shared_desk, "SENT", "DELIVERED", status="COMPLETED", delivery=row)
    assert await delivery_of(shared_desk, campaign_id) == {
        "startedAt": "2026-11-21T12:00:00Z",
        "endedAt": "2026-11-21T12:00:00Z",
        "recipients": 2,
        "excluded": [{"reason": reason.value, "count": excluded[reason]} for reason in ExclusionReason],
        "sender": "news@acme.campaigns.example",
        "perSecond": None,
        "secondsRemaining": None,
        "endsAt": None,
        "heartbeatAt": None,
        "stalled": False,
        "problem": None,
        "outcome": "ALL_REACHED",
    }


@pytest.mark.parametrize("code", CampaignProblem)
async def test_problem(shared_desk: Desk, code: CampaignProblem) -> None:
    """Whatever keeps a campaign from reaching people is shown with its code and its words."""
    row: Input = {"ended_at": NOW, "problem_code": code, "problem_message": "It did not work."}
    found = await delivery_of(shared_desk, await sent_to(shared_desk, status="FAILED", delivery=row))
    assert found["problem"] == {"code": code, "message": "It did not work."}


@pytest.mark.parametrize(
    ("statuses", "outcome"),
    [
        ("", "NOBODY_REACHED"),
        ("SENT", "ALL_REACHED"),
        ("SENT DELIVERED UNSUBSCRIBED", "ALL_REACHED"),
        ("DELIVERED BOUNCED", "PARTLY_REACHED"),
        ("SENT FAILED", "PARTLY_REACHED"),
        ("SENT CANCELED", "PARTLY_REACHED"),
        ("SENT UNKNOWN", "PARTLY_REACHED"),
        ("UNKNOWN", "PARTLY_REACHED"),
        ("FAILED UNKNOWN", "PARTLY_REACHED"),
        ("BOUNCED FAILED CANCELED", "NOBODY_REACHED"),
        ("BOUNCED", "NOBODY_REACHED"),
    ],
)
async def test_outcome(shared_desk: Desk, statuses: str, outcome: str) -> None:
    """Whom a campaign reached is told once it is over, however it ended; before, nothing is."""
    for status in ("COMPLETED", "FAILED", "CANCELED"):
        campaign_id = await sent_to(shared_desk, *statuses.split(), status=status)
        assert (await delivery_of(shared_desk, campaign_id))["outcome"] == outcome
    campaign_id = await sent_to(shared_desk, *statuses.split())
    assert (await delivery_of(shared_desk, campaign_id))["outcome"] is None


async def test_when_it_will_end(shared_desk: Desk) -> None:
    """At its pace those who wait are got through in so many seconds, counted from the last sign of life on."""
    waiting = ["QUEUED"] * 4 + ["SENDING", "DEFERRED"]
    row: Input = {"per_second": 0.5, "heartbeat_at": NOW}
    found = await delivery_of(shared_desk, await sent_to(shared_desk, *waiting, "SENT", "UNKNOWN", delivery=row))
    assert (found["perSecond"], found["heartbeatAt"]) == (0.5, "2026-11-21T12:00:00Z")
    assert (found["secondsRemaining"], found["endsAt"]) == (12, "2026-11-21T12:00:12Z")
    before_a_sign = await sent_to(shared_desk, *waiting, delivery={"per_second": 0.5, "started_at": NOW})
    assert (await delivery_of(shared_desk, before_a_sign))["endsAt"] == "2026-11-21T12:00:12Z"


@pytest.mark.parametrize(
    ("values", "delivery"),
    [
        ({}, {"per_second": None}),
        ({}, {"per_second": 0.0}),
        ({}, {"per_second": 1e-300}),
        ({}, {"ended_at": NOW}),
        ({"paused_at": NOW}, {}),
        ({"status": "CANCELED"}, {}),
        ({"status": "PENDING"}, {}),
    ],
)
async def test_no_end_is_foreseen(shared_desk: Desk, values: Input, delivery: Input) -> None:
    """Nothing is guessed without a pace, or of what does not go on; and nothing of that is stalled for being slow."""
    row = {"per_second": 10.0, **delivery}
    found = await delivery_of(shared_desk, await sent_to(shared_desk, "QUEUED", delivery=row, **values))
    assert (found["secondsRemaining"], found["endsAt"]) == (None, None)
    assert found["stalled"] is (values == {} and "ended_at" not in delivery)


@pytest.mark.parametrize(
    ("status", "due_in", "delivery", "stalled"),
    [
        ("QUEUED", None, {}, True),
        ("SENDING", None, {}, True),
        ("QUEUED", None, {"heartbeat_at": timedelta(0)}, False),
        ("QUEUED", None, {"heartbeat_at": timedelta(seconds=-60)}, True),
        ("DEFERRED", timedelta(hours=1), {}, False),
        ("DEFERRED", timedelta(hours=-1), {}, True),
        ("SENT", None, {}, False),
        ("QUEUED", None, {"problem_code": "MAIL_SERVER_UNAVAILABLE", "problem_message": "It is away."}, False),
    ],
)
async def test_stalled(
    shared_desk: Desk, status: str, due_in: timedelta | None, delivery: Input, stalled: bool
) -> None:
    """A sending is stalled when somebody could be written to and its worker gave no sign of life for 15 seconds."""
    now = datetime.now(UTC)
    row = {name: now + value if isinstance(value, timedelta) else value for name, value in delivery.items()}
    campaign_id = await sent_to(shared_desk, "SENT", delivery=row)
    due_at = None if due_in is None else now + due_in
    await shared_desk.add(Recipient, campaign_id=campaign_id, status=status, due_at=due_at)
    assert (await delivery_of(shared_desk, campaign_id))["stalled"] is stalled


@pytest.mark.parametrize(("heartbeat_at", "stalled"), [(LONG_AGO, True), (NEVER_EXPIRES, False)])
async def test_stalled_letters(shared_desk: Desk, heartbeat_at: datetime, stalled: bool) -> None:
    """Letters are made by an export: the sending is stalled when that is."""
    campaign_id = await sent_to(shared_desk, "QUEUED", type="LETTER")
    assert (await delivery_of(shared_desk, campaign_id))["stalled"] is False
    other: Input = {"kind": "CAMPAIGN_RECIPIENTS", "status": "RUNNING", "heartbeat_at": LONG_AGO}
    for row in (other, {**other, "kind": "LETTERS", "format": "ZIP", "heartbeat_at": heartbeat_at}):
        assert (await delivery_of(shared_desk, campaign_id))["stalled"] is False
        await shared_desk.add(Export, **row, campaign_id=campaign_id, requested_by_id=shared_desk.acme.admin)
    assert (await delivery_of(shared_desk, campaign_id))["stalled"] is stalled


async def test_a_page_is_one_statement_each(shared_desk: Desk) -> None:
    """However many campaigns a list has, their statistics are one statement, and so are deliveries and archives."""
    for number in range(3):
        await sent_to(shared_desk, *["QUEUED"] * number, "SENT")
    document = "{ campaigns { nodes { %s } } }"
    for field in ("statistics { total queued percent }", "delivery { recipients outcome }", "letterArchive { url }"):
        async with shared_desk.gateway.counting() as statements:
            answer = await shared_desk.ask(document % field)
        assert len(answer.data["campaigns"]["nodes"]) > 3
        assert len(statements) == 2


async def test_members_see_what_their_campaigns_let_them(shared_desk: Desk) -> None:
    """A campaign that one does not see shows none of this; one that one sees shows all."""
    campaign_id = await sent_to(shared_desk, "SENT", scope="PERSONAL")
    assert (await shared_desk.ask(STATISTICS, "member", id=campaign_id)).codes == ["NOT_FOUND"]
    assert (await shared_desk.ask(DELIVERY, "member", id="$their_sent")).codes == ["NOT_FOUND"]
    shown = (await shared_desk.ask(STATISTICS, "member", id="$global_")).data["campaign"]["statistics"]
    assert shown["total"] == 0


async def letters(desk: Desk, campaign_id: str, name: str, **values: object) -> None:
    """An archive of the campaign's letters, complete unless the values say otherwise."""
    life = values.pop("expires_at", NOW + timedelta(days=30_000))
    file_id = await desk.add(File, name=name, content_type="application/zip", expires_at=life)
    row = {"kind": "LETTERS", "format": "ZIP", "status": "COMPLETED", "requested_by_id": desk.acme.admin, **values}
    await desk.add(Export, **{"campaign_id": campaign_id, "file_id": file_id, "created_at": NOW, **row})


async def archive_of(desk: Desk, campaign_id: str, role: str = "admin") -> Any:
    return (await desk.ask(ARCHIVE, role, id=campaign_id)).data["campaign"]["letterArchive"]


async def test_letter_archive(shared_desk: Desk) -> None:
    """The newest letters that can be had are linked to, for five minutes; what cannot be had does not count."""
    campaign_id = await sent_to(shared_desk, type="LETTER", status="COMPLETED")
    assert await archive_of(shared_desk, campaign_id) is None
    await letters(shared_desk, campaign_id, "old.zip", created_at=NOW - timedelta(1))
    await letters(shared_desk, campaign_id, "new.zip", created_at=NOW)
    await letters(shared_desk, campaign_id, "older.zip", created_at=NOW - timedelta(2))
    later: Input = {"created_at": NOW + timedelta(1)}
    await letters(shared_desk, campaign_id, "over.zip", expires_at=LONG_AGO, **later)
    await letters(shared_desk, campaign_id, "broken.zip", status="FAILED", error_code="X", **later)
    await letters(shared_desk, campaign_id, "other.csv", kind="CAMPAIGN_RECIPIENTS", format="CSV", **later)
    other = await sent_to(shared_desk, type="LETTER", status="COMPLETED")
    await letters(shared_desk, other, "others.zip", **later)
    found = await archive_of(shared_desk, campaign_id, "member")
    assert "/new.zip?" in found["url"]
    assert found["expiresAt"] == "2026-11-21T12:05:00Z"


@pytest.mark.parametrize(
    ("status", "started_at", "shown"),
    [
        ("COMPLETED", NOW, True),
        ("COMPLETED", NOW + timedelta(1), False),
        ("CANCELED", LONG_AGO, False),
        ("FAILED", LONG_AGO, False),
        ("SENDING", LONG_AGO, False),
        ("SENDING", NOW + timedelta(1), False),
    ],
)
async def test_letter_archive_of_another_sending(
    shared_desk: Desk, status: str, started_at: datetime, shown: bool
) -> None:
    """Only letters of the last sending are linked to, once it is complete: not while it goes on, nor when it failed."""
    delivery: Input = {"started_at": started_at}
    campaign_id = await sent_to(shared_desk, type="LETTER", status=status, delivery=delivery)
    await letters(shared_desk, campaign_id, "letters.zip", created_at=NOW)
    assert (await archive_of(shared_desk, campaign_id) is not None) is shown


async def test_letter_archives_of_several(shared_desk: Desk) -> None:
    """In a list each campaign has its own archive."""
    values: Input = {"type": "LETTER", "status": "COMPLETED"}
    ids = [await sent_to(shared_desk, name=f"Archive {number}", **values) for number in range(2)]
    for number, campaign_id in enumerate(ids):
        await letters(shared_desk, campaign_id, f"archive-{number}.zip")
    document = '{ campaigns(filter: {search: "Archive"}) { nodes { name letterArchive { url } } } }'
    nodes = (await shared_desk.ask(document)).data["campaigns"]["nodes"]
    assert len(nodes) == 2
    assert all(f"/archive-{node['name'][-1]}.zip?" in node["letterArchive"]["url"] for node in nodes)


async def test_letter_archive_takes_the_scope_of_exports(shared_desk: Desk) -> None:
    """Without the scope EXPORT nobody is told whether there is an archive."""
    token = await shared_desk.token("admin", "READ", "WRITE", "SEND")
    campaign_id = await shared_desk.campaign(type="LETTER")
    for made in (False, True):
        if made:
            await letters(shared_desk, campaign_id, "letters.zip")
        answer = await shared_desk.ask(ARCHIVE, token, id=campaign_id)
        assert answer.codes == ["FORBIDDEN"]
        assert answer.body["data"] == {"campaign": {"letterArchive": None}}


@pytest.fixture
async def stand(world: World) -> AsyncIterator[Stand]:
    async with stand_of(world) as found:
        yield found


async def move(stand: Stand, campaign_id: UUID, statement: str) -> None:
    """What a worker does: it changes recipients, and tells of their campaign."""
    acme = stand.world.acme
    async with stand.database.writing(acme.id) as session:
        await session.execute(text(f"{statement} AND campaign_id = CAST(:id AS uuid)"), {"id": campaign_id})
        await signal(session, Channel.CAMPAIGNS, acme.id, campaign_id)


@pytest.mark.parametrize(("document", "field"), [(WATCH, "campaign"), (BOARD, "campaigns")])
async def test_sending_live(stand: Stand, document: str, field: str) -> None:
    """Whoever watches a campaign, or the newest, sees those who wait become fewer, and how it ends."""
    acme = stand.world.acme
    key, token = acme.rows["sent"], acme.tokens["admin"]
    await stand.sql("UPDATE campaigns SET status = 'SENDING' WHERE id = :id", id=key)
    await stand.sql(
        "INSERT INTO recipients (company_id, campaign_id, status) SELECT :company, :id, 'QUEUED'"
        " FROM generate_series(1, 3)",
        company=acme.id,
        id=key,
    )
    first = f"id = (SELECT min(id) FROM recipients WHERE status = 'QUEUED' AND campaign_id = '{key}')"

    async with stand.watching(document, token, {"id": str(key)} if field == "campaign" else {}) as watched:

        async def event() -> Any:
            found = (await watched.event())[field]
            return found[0] if isinstance(found, list) else found

        async def seen() -> tuple[int, int, int, float]:
            numbers = (await event())["statistics"]
            assert numbers["total"] == 4
            return numbers["queued"], numbers["sent"], numbers["unknown"], numbers["percent"]

        assert await seen() == (3, 0, 0, 25)
        await move(stand, key, f"UPDATE recipients SET status = 'SENT' WHERE {first}")
        assert await seen() == (2, 1, 0, 50)
        await move(stand, key, f"UPDATE recipients SET status = 'UNKNOWN' WHERE {first}")
        assert await seen() == (1, 1, 1, 75)
        await move(stand, key, f"UPDATE recipients SET status = 'SENT' WHERE {first}")
        assert await seen() == (0, 2, 1, 100)
        await stand.sql("UPDATE campaigns SET status = 'COMPLETED' WHERE id = :id", id=key)
        await move(stand, key, "UPDATE campaign_deliveries SET ended_at = now() WHERE true")
        found = await event()
        assert (found["status"], found["delivery"]["outcome"]) == ("COMPLETED", "PARTLY_REACHED")
