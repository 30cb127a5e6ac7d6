"""How are calls sent in their hundreds to one gateway, and is each answer one that a client can do something with?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import orjson
from graphql import GraphQLInputObjectType, GraphQLInputType, GraphQLList, get_named_type, get_nullable_type

from store.database import owner_transaction
from tests.bad_input import Case, Cases
from tests.build import TestCompany
from tests.client import Gateway, running_gateway
from tests.fingerprints import Witness, witness
from tests.valid_calls import Calls, add_calls
from tests.written_calls import MUTATIONS, Call

# Every other code says that something is broken, or that the request did not get that far.
REFUSALS = {
    "INVALID_JSON",
    "INVALID_REQUEST",
    "GRAPHQL_PARSE_FAILED",
    "GRAPHQL_VALIDATION_FAILED",
    "BAD_USER_INPUT",
    "QUERY_TOO_COMPLEX",
    "BODY_TOO_LARGE",
}


AT_ONCE = 6


@dataclass
class Bench:
    """A gateway, the valid calls of acme's administrator and of globex's, and whoever sees the database change."""

    gateway: Gateway
    watch: Witness
    acme: TestCompany
    calls: Calls
    foreign: Calls

    @property
    def cases(self) -> Cases:
        return Cases(self.calls)

    async def send(self, body: bytes, token: str | None = None) -> tuple[int, dict[str, Any]]:
        """Status and body of the answer; without a token as the administrator."""
        token = self.acme.tokens["admin"] if token is None else token
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        response = await self.gateway.http.post("/graphql", content=body, headers=headers)
        return response.status_code, orjson.loads(response.content)

    async def complaints(self, case: Case, body: bytes | None = None) -> list[str]:
        """What is wrong with what one call came to; empty if nothing is. `body`: how it is written, if otherwise."""
        refused, found = await self.answer(case, case.body() if body is None else body)
        changed = await self.watch.changed()
        return [*found, f"changed {changed}"] if changed and refused else found

    async def answer(self, case: Case, body: bytes) -> tuple[bool, list[str]]:
        """Whether it was refused, and what is wrong with the answer."""
        status, answer = await self.send(body)
        found = [f"status {status}"] if status >= 500 else []
        errors = answer.get("errors", [])
        found += [f"top-level {code}" for code in codes(answer) if code not in REFUSALS]
        if not errors:
            errors = answer["data"]["call0"]["userErrors"]
            paths = [tuple(error["field"]) for error in errors]
            found += [f"there is no {path}" for path in paths if not is_there(case.call, path)]
        if case.refused and not errors:
            found.append("not refused")
        return bool(errors), found

    async def all_complaints(self, cases: Sequence[Case]) -> dict[str, list[str]]:
        """By case. Those that may succeed come last, as they may change what the others are refused for."""
        found: dict[str, list[str]] = {}

        async def keep(case: Case) -> None:
            _, found[str(case)] = await self.answer(case, case.body())

        for batch in batches([case for case in cases if case.refused], AT_ONCE):
            async with anyio.create_task_group() as tasks:
                for case in batch:
                    tasks.start_soon(keep, case)
            if changed := await self.watch.changed():
                found[f"one of {list(map(str, batch))}"] = [f"changed {changed}"]
        for case in cases:
            if not case.refused:
                found[str(case)] = await self.complaints(case)
        return {name: complaints for name, complaints in found.items() if complaints}


def batches(cases: Sequence[Case], size: int) -> Iterator[Sequence[Case]]:
    return (cases[start : start + size] for start in range(0, len(cases), size))


def codes(answer: Mapping[str, Any]) -> list[str]:
    return [error["extensions"]["code"] for error in answer.get("errors", [])]


@asynccontextmanager
async def running_bench(url: str, acme: TestCompany, globex: TestCompany) -> AsyncIterator[Bench]:
    """Over a database with the small world, to which the rows of the valid calls are added."""
    async with owner_transaction(url) as connection:
        calls, foreign = [await add_calls(connection, who, slug) for who, slug in ((acme, "acme"), (globex, "globex"))]
    limits: dict[str, Any] = {
        "max_query_tokens": 100_000,
        "test_mails_per_hour": 10_000,
        "exports_waiting_per_company": 10_000,
        "database_pool_size": AT_ONCE,
    }
    async with running_gateway(url, **limits) as gateway, witness(url) as watch:
        yield Bench(gateway, watch, acme, calls, foreign)


def is_there(call: Call, path: tuple[str, ...]) -> bool:
    """Whether a path leads to something among the arguments: what was written, or a field that could have been."""
    mutation, arguments = call
    types = MUTATIONS.types(mutation)
    if path[:1] == ("campaign",) and "id" in {**arguments, **arguments.get("source", {})}:
        # In the campaign as it is stored.
        input = MUTATIONS.schema.type_map["CampaignInput"]
        assert isinstance(input, GraphQLInputObjectType)
        return leads(input, None, path[1:])
    return not path or (path[0] in types and leads(types[path[0]], arguments.get(path[0]), path[1:]))


def leads(type_: GraphQLInputType, value: object, path: tuple[str, ...]) -> bool:
    if not path:
        return True
    step, *rest = path
    nullable = get_nullable_type(type_)
    if isinstance(nullable, GraphQLList):
        entries = value if isinstance(value, list) else [value]
        there = step.isdigit() and int(step) < len(entries)
        return there and leads(nullable.of_type, entries[int(step)], tuple(rest))
    if isinstance(nullable, GraphQLInputObjectType):
        below = value.get(step) if isinstance(value, dict) else None
        return step in nullable.fields and leads(nullable.fields[step].type, below, tuple(rest))
    return get_named_type(nullable).name == "JSON" and leads_in_json(value, path)


def leads_in_json(value: object, path: tuple[str, ...]) -> bool:
    for step in path:
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return False
    return True
