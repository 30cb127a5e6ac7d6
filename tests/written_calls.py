"""How is a call of a mutation written, with its arguments as variables or in the document, right or wrong?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
)

from schema.build import build_schema

RAW = "@raw@"
# A mutation and its arguments.
Call = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Raw:
    """What no encoder writes: it stands in the JSON, or in the document, as it is."""

    text: str


class Mutations:
    """The mutations of the schema, and how they are called."""

    def __init__(self, schema: GraphQLSchema) -> None:
        assert schema.mutation_type is not None
        self.schema = schema
        self.fields: Mapping[str, GraphQLField] = schema.mutation_type.fields

    def types(self, mutation: str) -> dict[str, GraphQLInputType]:
        """The types of its arguments."""
        given: Mapping[str, GraphQLArgument] = self.fields[mutation].args
        return {name: argument.type for name, argument in given.items()}

    def selection(self, mutation: str) -> str:
        """The errors, and what was made in as few words as tell whether there is any."""
        payload = get_named_type(self.fields[mutation].type)
        assert isinstance(payload, GraphQLObjectType)
        made = [
            name if is_leaf_type(get_named_type(made.type)) else f"{name} {{ __typename }}"
            for name, made in payload.fields.items()
            if name not in ("userErrors", "conflicts")
        ]
        return f"{{ userErrors {{ code field message }} {' '.join(made)} }}"

    def with_variables(self, calls: Sequence[Call]) -> bytes:
        """A request with these calls, whose arguments are variables: the variables of the first on the first line."""
        variables, declared, called = {}, [], []
        for place, (mutation, arguments) in enumerate(calls):
            types = self.types(mutation)
            variables.update({f"{name}{place}": value for name, value in arguments.items()})
            declared.append(" ".join(f"${name}{place}: {types[name]}" for name in arguments))
            called.append(self.call(mutation, place, ", ".join(f"{name}: ${name}{place}" for name in arguments)))
        lines = "\n".join(declared)
        return body(f"mutation{f'({lines})' * bool(lines.strip())} {{ {' '.join(called)} }}", variables)

    def in_document(self, calls: Sequence[Call]) -> bytes:
        """A request with these calls, whose arguments stand in the document: the first call on the first line."""
        called = []
        for place, (mutation, arguments) in enumerate(calls):
            types = self.types(mutation)
            passed = ", ".join(f"{name}: {literal(value, types[name])}" for name, value in arguments.items())
            called.append(self.call(mutation, place, passed))
        lines = "\n".join(called)
        return body(f"mutation {{ {lines} }}", {})

    def call(self, mutation: str, place: int, passed: str) -> str:
        return f"call{place}: {mutation}{f'({passed})' * bool(passed)} {self.selection(mutation)}"


def body(document: str, variables: Mapping[str, Any]) -> bytes:
    raws: list[str] = []

    def kept(value: object) -> str:
        assert isinstance(value, Raw)
        raws.append(value.text)
        return RAW

    written = json.dumps({"query": document, "variables": dict(variables)}, default=kept)
    for text in raws:
        written = written.replace(f'"{RAW}"', text, 1)
    return written.encode()


def literal(value: object, type_: GraphQLInputType | None) -> str:
    """A value in GraphQL's grammar; what does not fit its type is written as what it is."""
    if isinstance(value, Raw):
        return value.text
    nullable = None if type_ is None else get_nullable_type(type_)
    if isinstance(value, list):
        item = nullable.of_type if isinstance(nullable, GraphQLList) else None
        return f"[{', '.join(literal(entry, item) for entry in value)}]"
    if isinstance(value, dict):
        fields = nullable.fields if isinstance(nullable, GraphQLInputObjectType) else {}
        types = {name: field.type for name, field in fields.items()}
        return f"{{ {', '.join(f'{name}: {literal(entry, types.get(name))}' for name, entry in value.items())} }}"
    if isinstance(value, str) and isinstance(nullable, GraphQLEnumType):
        return value
    return json.dumps(value, ensure_ascii=False)


MUTATIONS = Mutations(build_schema()._schema)
