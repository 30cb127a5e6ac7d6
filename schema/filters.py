"""How does a client write which contacts it means?"""

from __future__ import annotations

from enum import StrEnum
from typing import cast

import strawberry
from strawberry import Maybe
from strawberry.scalars import JSON

from resolvers.changes.campaign_drafts import FilterForm, FilterGiven
from schema.enums import describe
from store.models import JsonValue


class FilterOperator(StrEnum):
    EQ = "EQ"
    NEQ = "NEQ"
    SW = "SW"
    EW = "EW"
    CT = "CT"
    NCT = "NCT"
    EXISTS = "EXISTS"
    GT = "GT"
    GTE = "GTE"
    LT = "LT"
    LTE = "LTE"
    IN = "IN"
    NIN = "NIN"


describe(
    FilterOperator,
    "How a field is compared. Texts compare without regard to case; `%` and `_` are plain characters.",
    EQ="Equals.",
    NEQ="Does not equal, or has no value.",
    SW="Starts with.",
    EW="Ends with.",
    CT="Contains.",
    NCT="Does not contain, or has no value.",
    EXISTS="Has a value (true), or has none (false).",
    GT="Is greater, or later.",
    GTE="Is greater or equal, or later or then.",
    LT="Is less, or earlier.",
    LTE="Is less or equal, or earlier or then.",
    IN="Is one of a list.",
    NIN="Is none of a list, or has no value.",
)


@strawberry.input(description="The comparison of one field with a value.")
class FieldMatch:
    field: str = strawberry.field(
        description="The field: `contact.fixed_fields.last_name`, `contact.custom_fields.<name>`, "
        "`contact.custom_fields.id.<id>`, `contact.status`, `contact.b2c`, `contact.created_at`, `contact.account.id`, "
        "`contact.user.id`, `contact.team.id`, `contact.list.id`, `contact.consent.email.consent_given`, "
        "`account.name`, `account.custom_fields.<name>` and so on."
    )
    operator: FilterOperator = strawberry.field(description="How it is compared; which ones fit depends on the field.")
    value: JSON = strawberry.field(description="A text, number or boolean after the field's type; a list for IN, NIN.")


MATCH = "One field compares so with a value."
AND = "All of these hold."
OR = "At least one of these holds."


@strawberry.input(one_of=True, description="A condition within others. Exactly one of these; groups may be nested.")
class ContactCondition:
    match: Maybe[FieldMatch] = strawberry.field(description=MATCH)
    and_: Maybe[list[ContactCondition]] = strawberry.field(name="and", description=AND)
    or_: Maybe[list[ContactCondition]] = strawberry.field(name="or", description=OR)


@strawberry.input(one_of=True, description="Which contacts are meant. Exactly one of these.")
class ContactSelection:
    match: Maybe[FieldMatch] = strawberry.field(description=MATCH)
    and_: Maybe[list[ContactCondition]] = strawberry.field(name="and", description=AND)
    or_: Maybe[list[ContactCondition]] = strawberry.field(name="or", description=OR)
    json: Maybe[JSON] = strawberry.field(
        description="The old API's own shape: a list of `{field, operator, value}`, or `{and: […]}` and `{or: […]}`, "
        "nested."
    )


def filter_given(selection: ContactSelection) -> FilterGiven:
    """The selection in the shape that filters are stored in."""
    if selection.json is not None:
        return FilterGiven(cast("JsonValue", selection.json.value), FilterForm.JSON)
    return FilterGiven(as_json(selection), FilterForm.OBJECT)


def as_json(condition: ContactCondition | ContactSelection) -> JsonValue:
    if condition.match is not None:
        match = condition.match.value
        return {"field": match.field, "operator": match.operator.lower(), "value": cast("JsonValue", match.value)}
    name, members = ("and", condition.and_) if condition.and_ is not None else ("or", condition.or_)
    assert members is not None, "the schema has exactly one of them"
    return {name: [as_json(member) for member in members.value]}
