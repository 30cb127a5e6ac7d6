"""Whom should a filter select? The rules in plain Python, over contacts made up so that every rule matters."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from store.filters import FieldDefinition
from store.models import FieldOwner, FieldType

ZONE = ZoneInfo("Europe/Copenhagen")
EQUALITY, ORDER, SETS = ("eq", "neq"), ("gt", "gte", "lt", "lte"), ("in", "nin")
OPERATORS = {
    "text": (*EQUALITY, "sw", "ew", "ct", "nct", *SETS, "exists"),
    "number": (*EQUALITY, *ORDER, *SETS, "exists"),
    "date": (*EQUALITY, *ORDER, *SETS, "exists"),
    "time": (*EQUALITY, *ORDER, "exists"),
    "boolean": (*EQUALITY, "exists"),
    "choices": (*EQUALITY, *SETS, "exists"),
    "status": (*EQUALITY, *SETS, "exists"),
    "id": (*EQUALITY, *SETS, "exists"),
}
FIXED_TEXTS = (
    "salutation", "first_name", "last_name", "title", "email", "mobile_phone_number", "landline_phone_number",
    "address", "zip_code", "city", "state_region", "country",
)  # fmt: skip
CUSTOM_KINDS = {
    FieldType.TEXT: "text",
    FieldType.DATE: "date",
    FieldType.INTEGER: "number",
    FieldType.NUMBER: "number",
    FieldType.BOOLEAN: "boolean",
    FieldType.SINGLE_CHOICE: "text",
    FieldType.MULTIPLE_CHOICE: "choices",
}
# One custom field of each type for contacts and for accounts, named after the type, and one whose name wants care.
DEFINITIONS = [
    *(FieldDefinition(n, FieldOwner.CONTACT, True, type, type.lower()) for n, type in enumerate(FieldType, start=1)),
    *(FieldDefinition(n, FieldOwner.ACCOUNT, True, type, type.lower()) for n, type in enumerate(FieldType, start=11)),
    *(FieldDefinition(n, FieldOwner.ACCOUNT, False, type, type.lower()) for n, type in enumerate(FieldType, start=21)),
    *(FieldDefinition(n, FieldOwner.CONTACT, False, FieldType.TEXT, f) for n, f in enumerate(FIXED_TEXTS, start=31)),
    FieldDefinition(50, FieldOwner.CONTACT, True, FieldType.TEXT, "it's a.b %s :x"),
]

Row = dict[str, Any]
Json = Any


@dataclass
class Person:
    """A contact with all that filters look at."""

    row: Row
    account: Row | None = None
    lists: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Place:
    """Where the values of a field are: those of one person, mostly one, and of which kind they are."""

    kind: str
    stored: Callable[[Person], Sequence[object]]


def places() -> dict[str, Place]:
    def own(column: str, kind: str) -> Place:
        return Place(kind, lambda person: [person.row[column]])

    found = {
        "contact.status": own("status", "status"),
        "contact.b2c": own("b2c", "boolean"),
        "contact.list.id": Place("id", lambda person: sorted(person.lists)),
        "contact.fixed_fields.date_of_birth": own("date_of_birth", "date"),
        "account.name": account("name", "text"),
        "account.b2c": account("b2c", "boolean"),
    }
    found |= {f"contact.{time}": own(time, "time") for time in ("created_at", "updated_at", "latest_activity_at")}
    found |= {f"contact.{name}.id": own(f"{name}_id", "id") for name in ("account", "user", "team")}
    found |= {f"contact.fixed_fields.{name}": own(name, "text") for name in FIXED_TEXTS}
    for channel in ("email", "letter", "call", "sms"):
        found[f"contact.consent.{channel}.consent_given"] = own(f"{channel}_consent_given", "boolean")
        found[f"contact.consent.{channel}.updated_at"] = own(f"{channel}_consent_updated_at", "time")
    found |= {f"account.{time}": account(time, "time") for time in ("created_at", "updated_at")}
    for definition in DEFINITIONS:
        found |= defined(definition)
    return found


def account(column: str, kind: str) -> Place:
    return Place(kind, lambda person: [person.account[column]] if person.account else [])


def defined(definition: FieldDefinition) -> dict[str, Place]:
    group = "custom_fields" if definition.custom else "fixed_fields"
    kind = CUSTOM_KINDS[definition.type]
    if definition.owner is FieldOwner.ACCOUNT:
        in_account = Place(kind, lambda p: [p.account[group].get(definition.name)] if p.account else [])
        return {f"account.{group}.{definition.name}": in_account}
    if not definition.custom:
        by_id = Place(kind, lambda person: [person.row[definition.name]])
        return {f"contact.fixed_fields.id.{definition.id}": by_id}
    place = Place(kind, lambda person: [person.row["custom_fields"].get(definition.name)])
    return {f"contact.custom_fields.{name}": place for name in (definition.name, f"id.{definition.id}")}


PLACES = places()
KINDS = {path: place.kind for path, place in PLACES.items()}


def selected(given: Json, person: Person) -> bool:
    """Whether the filter (any shape that a client may send) selects the person."""
    if isinstance(given, list):
        return all(selected(part, person) for part in given)
    if "and" in given:
        return all(selected(part, person) for part in given["and"])
    if "or" in given:
        return any(selected(part, person) for part in given["or"])
    place = PLACES[given["field"]]
    values = [value for stored in place.stored(person) for value in present(place.kind, stored)]
    return holds(place.kind, given["operator"], values, given["value"])


def present(kind: str, stored: object) -> list[Any]:
    """The comparable values in a stored one: none when it is missing or of a type that the field does not have."""
    match kind, stored:
        case "text" | "status", str() if stored:
            return [stored.lower()]
        case "number", int() | float() if not isinstance(stored, bool):
            return [Decimal(str(stored))]
        case ("date", date()) | ("time", datetime()) | ("boolean", bool()) | ("id", int() | UUID()):
            return [stored]
        case "date", str():
            return day(stored)
        case "choices", list():
            return [choice.lower() for choice in stored if isinstance(choice, str) and choice]
    return []


def day(text: str) -> list[date]:
    try:
        return [date.fromisoformat(text)] if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text) else []
    except ValueError:
        return []


COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda value, wanted: value == wanted,
    "sw": lambda value, wanted: value.startswith(wanted),
    "ew": lambda value, wanted: value.endswith(wanted),
    "ct": lambda value, wanted: wanted in value,
    "gt": lambda value, wanted: value > wanted,
    "gte": lambda value, wanted: value >= wanted,
    "lt": lambda value, wanted: value < wanted,
    "lte": lambda value, wanted: value <= wanted,
}
NEGATIVES = {"neq": "eq", "nct": "ct", "nin": "in"}


def holds(kind: str, operator: str, values: list[Any], wanted: Json) -> bool:
    if operator == "exists":
        return bool(values) is wanted
    if operator in NEGATIVES:
        return not holds(kind, NEGATIVES[operator], values, wanted)
    if operator == "in":
        return any(holds(kind, "eq", values, one) for one in wanted)
    return any(COMPARISONS[operator](value, meant(kind, wanted)) for value in values)


def meant(kind: str, wanted: Json) -> Any:
    """What a client's value means."""
    match kind:
        case "text" | "choices" | "status":
            return wanted.lower()
        case "number":
            return Decimal(str(wanted))
        case "date":
            return date.fromisoformat(wanted)
        case "time":
            moment = datetime.fromisoformat(wanted)
            return moment if moment.tzinfo else moment.replace(tzinfo=ZONE)
        case "id":
            return int(wanted) if str(wanted).isdigit() else UUID(wanted)
    return wanted


# Characters that the database and Python make small alike; with all that patterns, JSON and arrays give a meaning.
LETTERS = "aAbBeEäÄöÖüÜßøØéÉñçÇωΩжЖ中ー"
OTHERS = "%_\\'\"{}[],:.*?$^()@+- \t\n\x01\u0301\u200d\U0001f600"
ALPHABET = LETTERS + OTHERS
TEXTS = (
    "", "a", "A", "ab", "AB", "aäb", "AÄB", "%", "_", "a%b", "a_b", "a\\b", "\\", "100%", "axb", "Straße", "ÖØ", " a ",
    "null", "NULL", "true", "7", "2026-01-31", "{a,b}", '["a"]', "a@b", "A@B", "@", "a@", "a\nb",
    "'a'", "c@d", "e.F@g", '"', "b@ä.x",
)  # fmt: skip
WANTED_TEXTS = [text for text in TEXTS if text]
NUMBERS = (0, 1, -1, 2, 2.5, 0.1, 1e20, -1e-7, 10**18, 12345678901234567)
WANTED_NUMBERS = [number for number in NUMBERS if abs(number) < 2**63]
DATES = ("2026-01-31", "2024-02-29", "1999-12-31", "0001-01-01", "9999-12-31", "2000-02-29")
NO_DATES = (
    "2026-02-29", "1900-02-29", "2026-13-01", "2026-00-10", "2026-04-31", "0000-01-01", "20260131", "2026-1-31",
    "2026-01-31T00:00:00Z", " 2026-01-31", "2026-01-31\n", "infinity", "٢٠٢٦-٠١-٣١",
)  # fmt: skip
TIMES = tuple(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=11 * n, seconds=n % 2) for n in range(6))
WANTED_TIMES = (
    *(time.isoformat() for time in TIMES),
    *(time.isoformat().replace("+00:00", "Z") for time in TIMES),
    *(f"{time.astimezone(ZONE):%Y-%m-%d %H:%M:%S}" for time in TIMES),
    "2026-01-02",
)
CHOICES: tuple[Json, ...] = (
    [],
    [""],
    ["Music"],
    ["music", "Food"],
    ["ART", 7, None, ["Music"]],
    [{"Food": 1}],
    ["a\\N"],
)
WANTED_CHOICES = ["MUSIC", "food", "Art", "7", "A\\n", "sailing"]
STATUSES = ("LEAD", "OPPORTUNITY", "CUSTOMER")
VALUES: Mapping[str, Sequence[Json]] = {
    "text": TEXTS,
    "number": NUMBERS,
    "date": DATES,
    "boolean": (True, False),
    "choices": CHOICES,
}
# What may stand in JSON where something else should, among them what the other kinds would take.
STRAY: tuple[Json, ...] = (None, True, 0, 7, "a", "7", "true", "2026-01-31", [], ["Music"], {}, {"a": 1}, *NO_DATES)
ACCOUNTS = [UUID(int=n) for n in range(1, 9)]
LISTS, USERS, TEAMS = (1, 2, 3), (1, 2), (1, 2)


def population(seed: int, size: int) -> list[Person]:
    """People of a company whose accounts, lists, users and teams have the ids above; the same for the same seed."""
    dice = random.Random(seed)
    accounts = {id: account_row(dice, id) for id in ACCOUNTS}
    return [person(dice, number, accounts) for number in range(size)]


def person(dice: random.Random, number: int, accounts: Mapping[UUID, Row]) -> Person:
    row: Row = {
        "id": UUID(int=1000 + number),
        "b2c": dice.random() < 0.5,
        "account_id": maybe(dice, ACCOUNTS),
        "user_id": maybe(dice, USERS),
        "team_id": maybe(dice, TEAMS),
        "status": maybe(dice, STATUSES),
        "date_of_birth": maybe(dice, [date.fromisoformat(day) for day in DATES]),
        "custom_fields": fields(dice, FieldOwner.CONTACT, custom=True),
        "latest_activity_at": maybe(dice, TIMES),
        "created_at": dice.choice(TIMES),
        "updated_at": dice.choice(TIMES),
    }
    row |= {name: maybe(dice, TEXTS) for name in FIXED_TEXTS}
    for channel in ("email", "letter", "call", "sms"):
        row[f"{channel}_consent_given"] = maybe(dice, (True, True, False))
        row[f"{channel}_consent_updated_at"] = maybe(dice, TIMES)
    lists = {list_id for list_id in LISTS if dice.random() < 0.4}
    return Person(row, accounts.get(row["account_id"]), lists)


def account_row(dice: random.Random, id: UUID) -> Row:
    return {
        "id": id,
        "name": dice.choice(TEXTS),
        "b2c": dice.random() < 0.5,
        "created_at": dice.choice(TIMES),
        "updated_at": dice.choice(TIMES),
        "fixed_fields": fields(dice, FieldOwner.ACCOUNT, custom=False),
        "custom_fields": fields(dice, FieldOwner.ACCOUNT, custom=True),
    }


def maybe(dice: random.Random, values: Sequence[Any]) -> Any:
    return dice.choice(values) if dice.random() < 0.8 else None


def fields(dice: random.Random, owner: FieldOwner, *, custom: bool) -> Row:
    found = {}
    for definition in DEFINITIONS:
        if definition.owner is owner and definition.custom is custom and dice.random() < 0.9:
            stray = dice.random() < 0.25
            found[definition.name] = dice.choice(STRAY if stray else VALUES[CUSTOM_KINDS[definition.type]])
    return found


WANTED: Mapping[str, st.SearchStrategy[Json]] = {
    "text": st.one_of(st.sampled_from(WANTED_TEXTS), st.text(ALPHABET, min_size=1, max_size=4)),
    "number": st.one_of(st.sampled_from(WANTED_NUMBERS), st.integers(-9, 9), st.floats(-9, 9)),
    "date": st.one_of(st.sampled_from(DATES), st.dates().map(date.isoformat)),
    "time": st.sampled_from(WANTED_TIMES),
    "boolean": st.booleans(),
    "choices": st.one_of(st.sampled_from(WANTED_CHOICES), st.text(ALPHABET, min_size=1, max_size=2)),
    "status": st.sampled_from([*STATUSES, "lead", "Customer"]),
}
WANTED_IDS: Mapping[str, st.SearchStrategy[Json]] = {
    "contact.account.id": st.sampled_from([str(id) for id in ACCOUNTS] + [str(ACCOUNTS[0]).upper(), str(UUID(int=77))]),
    "contact.user.id": st.sampled_from([*USERS, "1", 2**31 - 1]),
    "contact.team.id": st.sampled_from([*TEAMS, "2", 0]),
    "contact.list.id": st.sampled_from([*LISTS, "3", 77]),
}


@st.composite
def conditions(draw: st.DrawFn) -> Json:
    path = draw(st.sampled_from(sorted(PLACES)))
    kind = KINDS[path]
    operator = draw(st.sampled_from(OPERATORS[kind]))
    wanted = WANTED_IDS[path] if kind == "id" else WANTED[kind]
    if operator == "exists":
        wanted = st.booleans()
    elif operator in SETS:
        wanted = st.lists(wanted, min_size=1, max_size=4)
    return {"field": path, "operator": operator, "value": draw(wanted)}


def groups(members: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    listed = st.lists(members, min_size=1, max_size=4)
    return st.one_of(st.builds(lambda found: {"and": found}, listed), st.builds(lambda found: {"or": found}, listed))


NODES = st.recursive(conditions(), groups, max_leaves=6)
FILTERS = st.one_of(st.lists(NODES, min_size=1, max_size=3), groups(NODES))
