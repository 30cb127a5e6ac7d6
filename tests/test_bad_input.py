"""Is whatever a client can write wrongly into a mutation refused in words, with nothing changed and nothing broken?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest
from graphql import GraphQLInputObjectType, get_named_type
from sqlalchemy import text

from resolvers.global_ids import decode
from store.database import owner_transaction
from store.models import Base
from tests.bad_input import Case, Nested, Place, places
from tests.bench import REFUSALS, Bench, batches, codes, running_bench
from tests.build import TestCompany
from tests.conftest import World, database, on_server
from tests.fingerprints import witness
from tests.graph import never_id
from tests.written_calls import MUTATIONS

pytestmark = pytest.mark.anyio

DATABASE = "bad_input_of_tests"
PLACES = [place for mutation in MUTATIONS.fields for place in places(mutation)]
# One place for each coordinate: what the schema refuses it refuses wherever an input stands.
COORDINATES = list({place.coordinate: place for place in reversed(PLACES)}.values())
FILTERING = {"createCampaign", "updateCampaign", "sendTestEmail", "previewCampaign", "exportMailing"}


@pytest.fixture(scope="module")
async def bench(server: str, world_template: tuple[str, TestCompany, TestCompany]) -> AsyncIterator[Bench]:
    template, acme, globex = world_template
    await on_server(server, f"CREATE DATABASE {DATABASE} TEMPLATE {template}")
    async with running_bench(database(server, DATABASE), acme, globex) as bench:
        yield bench
    await on_server(server, f"DROP DATABASE {DATABASE} WITH (FORCE)")


async def test_every_mutation_has_a_valid_call(world: World) -> None:
    """Each mutation succeeds with all its arguments and fields given, so that one bad value is why it is refused."""
    async with running_bench(world.url, world.acme, world.globex) as bench:
        for mutation in MUTATIONS.fields:
            _, answer = await bench.send(MUTATIONS.with_variables([(mutation, bench.calls.arguments(mutation))]))
            assert answer["data"]["call0"].pop("userErrors") == [], (mutation, answer)
            assert all(answer["data"]["call0"].values())
            assert await bench.watch.changed()


def test_the_places_are_all_that_can_be_written() -> None:
    """Every argument of every mutation and every field of every input below it has bad values written into it."""
    inputs = {
        type_.name: type_ for place in PLACES if isinstance(type_ := get_named_type(place.type), GraphQLInputObjectType)
    }
    fields = {f"{name}.{field}" for name, type_ in inputs.items() for field in type_.fields}
    arguments = {f"{mutation}.{name}" for mutation in MUTATIONS.fields for name in MUTATIONS.types(mutation)}
    entries = {place.coordinate for place in PLACES if place.path[-1] == 0}
    assert {place.coordinate for place in PLACES} == fields | arguments | entries
    assert len(arguments) > 40
    assert len(fields) > 60


async def test_witness_sees_every_table(world: World) -> None:
    """Whichever table a row goes from, that table and no other has changed."""
    async with witness(world.url) as watch:
        for name in Base.metadata.tables:
            async with owner_transaction(world.url) as connection:
                # Without the rows that refer to it.
                await connection.execute(text("SET LOCAL session_replication_role = replica"))
                await connection.execute(text(f'DELETE FROM "{name}"'))
            assert await watch.changed() == {name}


def takes_no_text(case: Case) -> bool:
    """Whether something else than a text is written into the document where a `Moment` belongs."""
    texts = ("missing", "null", "a text", "a text in quotes", "NaN", "Infinity")
    return case.in_document and get_named_type(case.place.type).name == "Moment" and case.name not in texts


@pytest.mark.parametrize("in_document", [True, False], ids=["in the document", "as variables"])
async def test_wrong_types(bench: Bench, in_document: bool) -> None:
    """A value of the wrong type, a missing one or an unknown choice is found where it stands."""
    cases = [case for place in COORDINATES for case in bench.cases.of_type(place) if case.in_document is in_document]
    assert len(cases) > 500
    assert await unnoticed(bench, [case for case in cases if not takes_no_text(case)]) == []


async def unnoticed(bench: Bench, cases: Sequence[Case]) -> list[str]:
    """The cases that a request with many of them is not refused for: their lines are not named."""
    found = []
    for batch in batches(cases, 12):
        write = MUTATIONS.in_document if batch[0].in_document else MUTATIONS.with_variables
        status, answer = await bench.send(write([case.call for case in batch]))
        assert status == 200, answer
        assert "data" not in answer
        assert set(codes(answer)) <= REFUSALS, (list(map(str, batch)), answer)
        places_named = [error.get("locations") for error in answer["errors"]]
        lines = {place["line"] for named in places_named if named is not None for place in named}
        unnamed = [str(case) for line, case in enumerate(batch, start=1) if line not in lines]
        # graphql-core forgets where a list or an object stood, and has one error for each.
        found += unnamed if len(unnamed) > places_named.count(None) else []
    assert await bench.watch.changed() == set()
    return found


async def test_moments_that_are_no_texts(bench: Bench) -> None:
    """A time that is written into the document as a number, a boolean, a list or an object is refused."""
    cases = [case for place in COORDINATES for case in bench.cases.of_type(place) if takes_no_text(case)]
    assert cases
    assert await unnoticed(bench, cases) == []


async def test_choices(bench: Bench) -> None:
    """Where exactly one member is to be given none, two, or one that is null are refused."""
    cases = [case for place in COORDINATES for case in bench.cases.of_choice(place)]
    assert {str(get_named_type(case.place.type)) for case in cases} == {
        "ContactCondition",
        "ContactSelection",
        "ContactsScope",
        "DeliveryReportsScope",
        "NotificationsScope",
        "PreviewedCampaign",
    }
    assert await bench.all_complaints(cases) == {}


async def test_what_cannot_be_spelled(bench: Bench) -> None:
    """Lone surrogates, NaN and the like are refused before anything is executed, wherever they stand."""
    cases = [case for place in COORDINATES for case in bench.cases.of_spelling(place)]
    assert await bench.all_complaints(cases) == {}


@pytest.mark.parametrize("mutation", MUTATIONS.fields)
async def test_bad_values(bench: Bench, mutation: str) -> None:
    """Values of the right type that cannot be used are refused with a code and a path, and nothing is changed."""
    cases = [case for place in places(mutation) for case in bench.cases.of_value(place)]
    assert cases
    assert await bench.all_complaints(cases) == {}


@pytest.mark.parametrize("levels", [5, 10, 11, 60, 500, 5000])
@pytest.mark.parametrize("old_shape", [False, True], ids=["as input objects", "in the old shape"])
@pytest.mark.parametrize("in_document", [True, False], ids=["in the document", "as variables"])
async def test_nested_conditions(bench: Bench, levels: int, old_shape: bool, in_document: bool) -> None:
    """Ten groups within each other are a filter; more of them are refused, however many."""
    nested = Nested(levels, old_shape)
    found = [place for place in PLACES if place.path[-1] == "filter"]
    assert {place.mutation for place in found} == FILTERING
    for place in found:
        case = Case(place, f"{levels} levels", place.filled(bench.calls, nested.value), in_document, levels > 10)
        case.arguments.pop("expectedVersion", None)
        written = place.filled(bench.calls, nested.written(in_document=in_document))
        written.pop("expectedVersion", None)
        write = MUTATIONS.in_document if in_document else MUTATIONS.with_variables
        body = write([(place.mutation, written)])
        assert await bench.complaints(case, body) == []
        if levels <= 10:
            _, answer = await bench.send(body)
            assert answer["data"]["call0"]["userErrors"] == []
            await bench.watch.changed()


def raw(id_: str) -> str:
    return decode(id_)[1]


@pytest.mark.parametrize("place", [place for place in PLACES if place.kind == "ID"], ids=str)
async def test_absent_and_foreign_ids(bench: Bench, place: Place) -> None:
    """Another company's id, one that never was and one that is no longer get one answer to the letter."""
    ids = [never_id(place.id_type), bench.foreign.own[place.id_type], bench.calls.deleted[place.id_type]]
    answers = []
    for id_ in (*ids, *map(raw, ids)):
        case = bench.cases.with_variables(place, id_, id_, refused=is_looked_at(place))
        case.arguments.pop("expectedVersion", None)
        assert await bench.complaints(case) == []
        answers.append((await bench.send(case.body()))[1]["data"]["call0"])
        await bench.watch.changed()
    for answer in answers:
        if is_looked_at(place):
            assert answer == answers[0]
            (error,) = answer["userErrors"]
            code = "EXPORT_NOT_FOUND" if place.id_type == "Export" else "NOT_FOUND"
            assert (error["code"], error["field"]) == (code, list(map(str, place.path)))
        else:
            assert answer["userErrors"] == []


def is_looked_at(place: Place) -> bool:
    """A preview needs neither the people of a campaign nor its task."""
    return place.mutation != "previewCampaign" or place.path[-1] in ("id", "templateId", "contactId")
