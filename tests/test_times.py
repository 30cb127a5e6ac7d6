"""Which moment is a time that a client writes, and how is it written back?"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from store.times import InvalidTime, read_moment
from tests.build import TestCompany
from tests.campaign_documents import CREATE, EMAIL, SCHEDULE, Desk, broken_rules, desk_of_a_module

pytestmark = pytest.mark.anyio

BERLIN, COPENHAGEN = "Europe/Berlin", "Europe/Copenhagen"
SAO_PAULO, NEW_YORK, LORD_HOWE = "America/Sao_Paulo", "America/New_York", "Australia/Lord_Howe"
FORWARD, TWICE, NO_TIME, NOT_ONE = "are put forward over", "twice; add the offset", "There is no such time", "Write a"

# Times to come of the small world: the zone, the text, and the moment or a part of what is said.
COMING = [
    *(
        case
        for zone in (BERLIN, COPENHAGEN)
        for case in (
            (zone, "2027-03-28 01:59:59", "2027-03-28T00:59:59Z"),
            (zone, "2027-03-28 02:00:00", FORWARD),
            (zone, "2027-03-28 02:59:59", FORWARD),
            (zone, "2027-03-28 03:00:00", "2027-03-28T01:00:00Z"),
            (zone, "2027-03-28T02:30:00+01:00", "2027-03-28T01:30:00Z"),
            (zone, "2027-10-31 01:59:59", "2027-10-30T23:59:59Z"),
            (zone, "2027-10-31 02:00:00", TWICE),
            (zone, "2027-10-31 02:59:59", TWICE),
            (zone, "2027-10-31 02:30:00", "+02:00 or +01:00"),
            (zone, "2027-10-31T02:30:00+02:00", "2027-10-31T00:30:00Z"),
            (zone, "2027-10-31 02:30:00+0100", "2027-10-31T01:30:00Z"),
            (zone, "2027-10-31T02:30:00Z", "2027-10-31T02:30:00Z"),
            (zone, "2027-10-31 03:00:00", "2027-10-31T02:00:00Z"),
        )
    ),
    (NEW_YORK, "2027-03-14 02:30:00", FORWARD),
    (NEW_YORK, "2027-11-07 01:30:00", "-04:00 or -05:00"),
    (NEW_YORK, "2027-11-07 01:30:00-05:00", "2027-11-07T06:30:00Z"),
    (LORD_HOWE, "2027-04-04 01:45:00", "+11:00 or +10:30"),
    (LORD_HOWE, "2027-04-04 01:45:00+10:30", "2027-04-03T15:15:00Z"),
    (LORD_HOWE, "2027-10-03 02:15:00", FORWARD),
    (SAO_PAULO, "2027-11-07 00:30:00", "2027-11-07T03:30:00Z"),
    ("UTC", "2027-10-31 02:30:00", "2027-10-31T02:30:00Z"),
    (COPENHAGEN, "2028-02-29 12:00:00", "2028-02-29T11:00:00Z"),
    (COPENHAGEN, "2027-02-29 12:00:00", NO_TIME),
    (COPENHAGEN, "2100-02-29T12:00:00Z", NO_TIME),
    (COPENHAGEN, "2400-02-29T12:00:00Z", "2400-02-29T12:00:00Z"),
    (COPENHAGEN, "2027-06-01t12:00:00.5z", "2027-06-01T12:00:00.500000Z"),
    (COPENHAGEN, "2027-06-01T12:00:00.123456-03:30", "2027-06-01T15:30:00.123456Z"),
    (COPENHAGEN, "2027-06-01 12:00", "2027-06-01T10:00:00Z"),
    (COPENHAGEN, "9999-12-31 23:59:59", "9999-12-31T22:59:59Z"),
    (COPENHAGEN, "9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
    (COPENHAGEN, "9999-12-31T23:59:59-00:01", NO_TIME),
    (NEW_YORK, "9999-12-31 23:59:59", NO_TIME),
]
PAST = [
    (SAO_PAULO, "2018-11-04 00:30:00", FORWARD),
    (SAO_PAULO, "2018-11-04 01:00:00", "2018-11-04T03:00:00Z"),
    (SAO_PAULO, "2018-02-17 23:30:00", "-02:00 or -03:00"),
    (SAO_PAULO, "2018-02-17 23:30:00-03:00", "2018-02-18T02:30:00Z"),
    ("Pacific/Apia", "2011-12-30 12:00:00", FORWARD),
    ("Pacific/Apia", "2011-12-31 00:00:00", "2011-12-30T10:00:00Z"),
    ("UTC", "0001-01-01 00:00:00", "0001-01-01T00:00:00Z"),
    (COPENHAGEN, "0001-01-01 00:00:00", NO_TIME),
    ("UTC", "0001-01-01T00:00:00+00:01", NO_TIME),
    ("UTC", "0000-01-01 00:00:00", NO_TIME),
]
GARBAGE = [
    "",
    " ",
    "now",
    "2027-06-01",
    "12:00:00",
    "20270601T120000Z",
    "2027-W22-2T12:00:00Z",
    "2027-152T12:00:00Z",
    "2027-6-1 12:00:00",
    "27-06-01 12:00:00",
    "+2027-06-01T12:00:00Z",
    "12027-06-01T12:00:00Z",
    "-2027-06-01T12:00:00Z",
    "2027-13-01 12:00:00",
    "2027-00-01 12:00:00",
    "2027-06-00 12:00:00",
    "2027-06-31 12:00:00",
    "2027-06-01 25:00:00",
    "2027-06-01 12:60:00",
    "2027-06-01 12:00:60",
    "2027-06-01 12",
    "2027-06-01  12:00:00",
    " 2027-06-01 12:00:00",
    "2027-06-01 12:00:00\n",
    "2027-06-01_12:00:00",
    "2027-06-01 12:00:00.",
    "2027-06-01 12:00:00,5",
    "2027-06-01 12:00:00.1234567",
    "2027-06-01 12:00:00+2",
    "2027-06-01 12:00:00+02",
    "2027-06-01 12:00:00+24:00",
    "2027-06-01 12:00:00+02:00:00",
    "2027-06-01 12:00:00 +02:00",
    "2027-06-01 12:00:00 UTC",
    "2027-06-01 12:00:00[Europe/Berlin]",
    "2027-06-01 12:00:00 PM",
    "1811937600",
    "\u0662\u0660\u0662\u0667-06-01 12:00:00",
    "2027-06-01T12:00:00\u1d22",
    "2027\u201106\u201101 12:00:00",
    "9" * 100_000,
    "\x00",
]
# Zones whose offsets are whole minutes as long as these tests look at them.
ZONES = (
    BERLIN,
    COPENHAGEN,
    SAO_PAULO,
    NEW_YORK,
    LORD_HOWE,
    "Pacific/Apia",
    "Asia/Kathmandu",
    "Africa/Casablanca",
    "UTC",
)
SINCE, UNTIL = datetime(1950, 1, 1, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
MOMENTS = st.datetimes(SINCE.replace(tzinfo=None), UNTIL.replace(tzinfo=None), timezones=st.just(UTC))


def read(zone: str, text: str) -> str:
    """The moment as answers have it, or what is said to the client."""
    try:
        return read_moment(text, ZoneInfo(zone)).isoformat().replace("+00:00", "Z")
    except InvalidTime as error:
        return str(error)


def is_expected(found: str, expected: str) -> bool:
    return found == expected if expected.endswith("Z") else expected in found


@pytest.fixture(scope="module")
async def shared_desk(server: str, world_template: tuple[str, TestCompany, TestCompany]) -> AsyncIterator[Desk]:
    async with desk_of_a_module(server, world_template) as desk:
        yield desk


@pytest.mark.parametrize(("zone", "text", "expected"), [*COMING, *PAST])
def test_moments(zone: str, text: str, expected: str) -> None:
    """A text is one moment in the zone, or it is said why it is none."""
    assert is_expected(read(zone, text), expected)


@pytest.mark.parametrize(("zone", "text", "expected"), COMING)
async def test_moments_of_campaigns(shared_desk: Desk, zone: str, text: str, expected: str) -> None:
    """The zone is the company's; what is stored is answered in UTC, and what is no time is said at its place."""
    await shared_desk.run("UPDATE companies SET time_zone = :zone WHERE id = :id", zone=zone, id=shared_desk.acme.id)
    created = await shared_desk.payload(CREATE, input={**EMAIL, "sendAt": text})
    scheduled = await shared_desk.payload(SCHEDULE, id=await shared_desk.campaign(), sendAt=text)
    for payload, place in ((created, "input.sendAt"), (scheduled, "sendAt")):
        if expected.endswith("Z"):
            assert payload["campaign"]["sendAt"] == expected
        else:
            assert broken_rules(payload) == {f"INVALID_TIME {place}"}
            assert expected in payload["userErrors"][0]["message"]


async def test_each_company_has_its_zone(shared_desk: Desk) -> None:
    """The same text is another moment in another company."""
    await shared_desk.run("UPDATE companies SET time_zone = :zone WHERE id = :id", zone=BERLIN, id=shared_desk.acme.id)
    await shared_desk.run(
        "UPDATE companies SET time_zone = :zone WHERE id = :id", zone=NEW_YORK, id=shared_desk.globex.id
    )
    telephone = {key: value for key, value in EMAIL.items() if key != "message"}
    given = {**telephone, "type": "TELEPHONE", "sendAt": "2027-06-01 12:00:00"}
    tokens = (shared_desk.acme.tokens["admin"], shared_desk.globex.tokens["admin"])
    times = [(await shared_desk.made(CREATE, token, input=given))["sendAt"] for token in tokens]
    assert times == ["2027-06-01T10:00:00Z", "2027-06-01T16:00:00Z"]


@pytest.mark.parametrize("text", GARBAGE, ids=lambda text: repr(text[:40]))
def test_garbage(text: str) -> None:
    """What is no time is refused, with an example of one, in every zone."""
    for zone in ZONES:
        assert read(zone, text).startswith((NOT_ONE, NO_TIME))


async def test_garbage_of_campaigns(shared_desk: Desk) -> None:
    """What is no time is one user error, whatever it is; what is no text is an error of the operation."""
    for text in GARBAGE:
        payload = await shared_desk.payload(CREATE, input={**EMAIL, "sendAt": text})
        assert broken_rules(payload) == {"INVALID_TIME input.sendAt"}
    for value in (1811937600, 0.5, True, ["2027-06-01T12:00:00Z"]):
        answer = await shared_desk.ask(CREATE, input={**EMAIL, "sendAt": value})
        assert answer.codes == ["GRAPHQL_VALIDATION_FAILED"]


@pytest.mark.parametrize("offset", ["+02:60", "-00:99"])
def test_offset_of_more_than_59_minutes(offset: str) -> None:
    """The minutes of an offset end at 59 (RFC 3339, 5.6), as those of a time do."""
    assert read("UTC", f"2027-06-01T12:00:00{offset}").startswith((NOT_ONE, NO_TIME))


def moments_shown_as(shown: datetime, zone: ZoneInfo) -> set[datetime]:
    """Every moment at which clocks in the zone show this time, found by trying all offsets of the days around it."""
    around = [shown.replace(tzinfo=UTC) + timedelta(hours=hours) for hours in range(-48, 49)]
    offsets = {moment.astimezone(zone).utcoffset() for moment in around}
    tried = {shown.replace(tzinfo=UTC) - (offset or timedelta()) for offset in offsets}
    return {moment for moment in tried if moment.astimezone(zone).replace(tzinfo=None) == shown}


@given(MOMENTS, st.sampled_from(ZONES), st.sampled_from(" T"))
@example(datetime(2027, 10, 31, 0, 30, tzinfo=UTC), BERLIN, " ")
@example(datetime(2027, 10, 31, 1, 30, tzinfo=UTC), BERLIN, " ")
@example(datetime(2027, 3, 28, 1, 0, tzinfo=UTC), BERLIN, "T")
@settings(deadline=None)
def test_local_time_reads_back(moment: datetime, zone: str, separator: str) -> None:
    """The time that local clocks show at a moment reads back to it, or is refused where they show it twice."""
    shown = moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    moments = moments_shown_as(shown, ZoneInfo(zone))
    assert moment in moments
    text = shown.isoformat(separator)
    if len(moments) == 1:
        assert read_moment(text, ZoneInfo(zone)) == moment
    else:
        assert TWICE in read(zone, text)


@given(st.datetimes(datetime(1950, 1, 1), datetime(9999, 12, 30)), st.sampled_from(ZONES))
@example(datetime(2027, 3, 28, 2, 30), BERLIN)
@settings(deadline=None)
def test_every_local_time(shown: datetime, zone: str) -> None:
    """A local time is read if and only if there is exactly one moment at which clocks show it."""
    moments = moments_shown_as(shown, ZoneInfo(zone))
    found = read(zone, shown.isoformat(" "))
    expected = (FORWARD, next(iter(moments), shown).isoformat().replace("+00:00", "Z"), TWICE)[len(moments)]
    assert is_expected(found, expected)


@given(MOMENTS, st.integers(-23 * 60 - 59, 23 * 60 + 59), st.sampled_from(ZONES), st.booleans())
@settings(deadline=None)
def test_time_with_an_offset_reads_back(moment: datetime, minutes: int, zone: str, short: bool) -> None:
    """With an offset a time is the same moment in every zone."""
    text = moment.astimezone(timezone(timedelta(minutes=minutes))).isoformat()
    sign, offset = text[:-5], text[-5:]
    read_back = read_moment(sign + offset.replace(":", "") if short else text, ZoneInfo(zone))
    assert read_back == moment
    assert read_back.utcoffset() == timedelta()


@given(st.text(st.sampled_from("0123456789-+:.TZ "), max_size=40) | st.text(max_size=40))
@settings(deadline=None)
def test_anything(text: str) -> None:
    """No text makes anything but a moment in UTC, or an InvalidTime."""
    with contextlib.suppress(InvalidTime):
        assert read_moment(text, ZoneInfo(COPENHAGEN)).tzinfo is UTC
