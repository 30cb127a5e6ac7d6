"""Is the schema what clients were told, and told well?"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_introspection_type,
    is_specified_scalar_type,
)

from gateway.pages import example_tabs
from resolvers.people import USER
from schema.build import build_schema
from schema.fields import column
from schema.registry import row_type
from tests.client import Gateway
from tests.conftest import World
from tests.streaming import event_stream

ROOT = Path(__file__).parent.parent
REMOVAL = re.compile(r"^.+ Removal: \d{4}-\d{2}-\d{2}\.$")


def built() -> GraphQLSchema:
    return build_schema()._schema


def described_things(schema: GraphQLSchema) -> Iterator[tuple[str, str | None, str | None]]:
    """(name, description, deprecation reason) of everything that a person can meet in GraphiQL."""
    for type_ in schema.type_map.values():
        if is_introspection_type(type_) or is_specified_scalar_type(type_):
            continue
        yield type_.name, type_.description, None
        if isinstance(type_, GraphQLEnumType):
            for name, value in type_.values.items():
                yield f"{type_.name}.{name}", value.description, value.deprecation_reason
        elif isinstance(type_, GraphQLObjectType | GraphQLInterfaceType):
            for name, field in type_.fields.items():
                yield f"{type_.name}.{name}", field.description, field.deprecation_reason
                for argument_name, argument in field.args.items():
                    path = f"{type_.name}.{name}({argument_name}:)"
                    yield path, argument.description, argument.deprecation_reason
        elif isinstance(type_, GraphQLInputObjectType):
            for name, input_field in type_.fields.items():
                yield f"{type_.name}.{name}", input_field.description, input_field.deprecation_reason


def test_printed_schema_is_fresh() -> None:
    """schema.graphql is what the code makes; `make schema` renews it."""
    assert (ROOT / "schema.graphql").read_text(encoding="utf-8") == build_schema().as_str() + "\n"


def test_everything_is_described() -> None:
    """Every type, field, argument, input field and enum value has a description that is a sentence."""
    bad = [name for name, text, _ in described_things(built()) if not text or not text[0].isupper() or text[-1] != "."]
    assert bad == []


def test_deprecations_say_what_to_use_and_until_when() -> None:
    """Every deprecation names its replacement and the day of its removal."""
    reasons = {name: reason for name, _, reason in described_things(built()) if reason is not None}
    assert {name for name, reason in reasons.items() if not REMOVAL.match(reason)} == set()
    assert {"CampaignStatus.SENT", "CampaignFilter.type", "ConsentSettings.subject"} <= set(reasons)


def test_every_connection_takes_the_same_arguments() -> None:
    """Every field that answers a connection pages alike: first, after, last, before, offset, orderBy."""
    for type_ in built().type_map.values():
        for name, field in type_.fields.items() if isinstance(type_, GraphQLObjectType) else ():
            if str(field.type).rstrip("!").endswith("Connection"):
                wanted = {"first", "after", "last", "before", "offset", "orderBy"}
                assert wanted <= set(field.args), f"{type_.name}.{name}"


def test_the_roots_of_the_issue_are_there() -> None:
    """The query root has the fields that clients were promised."""
    query = built().query_type
    assert query is not None
    promised = (
        "viewer node nodes campaigns campaign users user teams groups templates template contacts contact"
        " contactLists contactFields campaignSettings exports export exportColumns relationsPaths testDelivery"
        " testDeliveries notifications suppressions"
    )
    assert set(promised.split()) == set(query.fields)


def test_the_mutations_of_the_issue_are_there() -> None:
    """The mutation root has the fields that clients were promised, and each answers `userErrors`."""
    mutation = built().mutation_type
    assert mutation is not None
    promised = (
        "createCampaign updateCampaign copyCampaign deleteCampaign approveCampaign unapproveCampaign scheduleCampaign"
        " sendCampaign cancelCampaign pauseCampaign resumeCampaign sendTestEmail sendCampaignTestEmail previewCampaign"
        " previewTemplate createTemplate updateTemplate copyTemplate deleteTemplate updateCampaignSettings"
        " exportContacts exportDeliveryReports exportCampaignRecipients exportMailing regenerateExport cancelExport"
        " resendUnknown completeTask reopenTask markNotificationsRead deleteSuppression"
        " deleteExport"
    )
    assert set(promised.split()) == set(mutation.fields)
    for name, field in mutation.fields.items():
        payload = get_named_type(field.type)
        assert isinstance(payload, GraphQLObjectType), name
        assert str(payload.fields["userErrors"].type) == "[UserError!]!", name


def test_the_subscriptions_of_the_issue_are_there() -> None:
    """The subscription root has the fields that clients were promised."""
    subscription = built().subscription_type
    assert subscription is not None
    promised = "exportProgress exportsProgress campaignChanged campaignsChanged notificationsChanged"
    assert set(promised.split()) == set(subscription.fields)


def test_a_field_of_a_column_that_is_not_there_is_refused() -> None:
    """A field that names no column of its type's rows fails when its module is imported, not when it is asked for."""

    class Person:
        shoe_size: int = column("shoe_size", "The size of the shoes.")

    with pytest.raises(TypeError, match=r"Person.shoe_size reads \['shoe_size'\]"):
        row_type(USER, "A person.")(Person)


@pytest.mark.anyio
async def test_the_examples_work(gateway: Gateway, world: World) -> None:
    """Every example that GraphiQL opens is answered without an error, for every role; what streams, to begin with."""
    tabs = (await gateway.http.get("/graphiql/examples.json")).json()
    assert tabs == example_tabs()
    assert len(tabs) >= 5
    for tab in tabs:
        for token in world.acme.tokens.values():
            variables = None if tab["variables"] is None else json.loads(tab["variables"])
            if "\nsubscription " in tab["query"]:
                async with event_stream(gateway, token, tab["query"], variables) as events:
                    assert await events.event(), tab["title"]
                continue
            answer = await gateway.ask(tab["query"], token, variables, operationName=tab["title"])
            assert answer.data, tab["title"]
