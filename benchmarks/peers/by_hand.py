"""What is the least that such an answer costs? One statement written by hand for each question, which makes the JSON.

There is no GraphQL, no page arguments, no viewer: what a program would do that has to answer just this.
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg  # type: ignore[import-untyped]  # it brings no types along
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.peers.questions import OFFSETS

CONNECTIONS = 10
PERSON = "json_build_object('firstName', {0}.first_name, 'lastName', {0}.last_name)"
CAMPAIGN = f"""json_build_object('name', c.name, 'status', c.status, 'user', {PERSON.format("u")},
    'template', CASE WHEN t.id IS NOT NULL THEN json_build_object('title', t.title) END)"""
TO_ONE = """JOIN users u ON u.company_id = c.company_id AND u.id = c.user_id
    LEFT JOIN templates t ON t.company_id = c.company_id AND t.id = c.template_id"""
NEWEST = (
    "(SELECT * FROM campaigns WHERE company_id = 1 {0} ORDER BY created_at DESC, id DESC LIMIT {1} OFFSET {2}) AS c"
)
LISTED = "coalesce(json_agg({0} ORDER BY c.created_at DESC, c.id DESC), '[]')"
PAGE = "json_build_object('campaigns', json_build_object('nodes', {0}))"
RECIPIENTS = f"""(SELECT json_build_object('nodes', coalesce(json_agg(json_build_object('status', r.status, 'contact',
        CASE WHEN p.id IS NOT NULL THEN {PERSON.format("p")} END) ORDER BY r.id), '[]'))
    FROM (SELECT * FROM recipients WHERE company_id = 1 AND campaign_id = c.id ORDER BY id LIMIT 20) AS r
        LEFT JOIN contacts p ON p.company_id = 1 AND p.id = r.contact_id)"""
WIDE = LISTED.format("""json_build_object('databaseId', c.id, 'name', c.name, 'description', c.description,
    'type', c.type, 'status', c.status, 'approved', c.approved, 'sendAt', c.send_at, 'sentAt', c.sent_at,
    'createdAt', c.created_at, 'updatedAt', c.updated_at)""")
EDGE = "json_build_object('cursor', c.id::text, 'node', json_build_object('name', c.name, 'status', c.status))"

STATEMENTS = {
    "single": f"""SELECT json_build_object('campaign', (SELECT {CAMPAIGN} FROM campaigns c {TO_ONE}
        WHERE c.company_id = 1 AND c.id = $1))""",
    "list": f"SELECT {PAGE.format(LISTED.format(CAMPAIGN))} FROM {NEWEST.format('', 50, 0)} {TO_ONE}",
    "nested": f"""SELECT {PAGE.format(LISTED.format(f"json_build_object('name', c.name, 'recipients', {RECIPIENTS})"))}
        FROM {NEWEST.format("AND status = 'COMPLETED'", 20, 0)}""",
    "wide": "SELECT json_build_object("
    + ", ".join(
        f"'p{offset}', json_build_object('nodes', (SELECT {WIDE} FROM {NEWEST.format('', 100, offset)}))"
        for offset in OFFSETS
    )
    + ")",
    "relay": f"""SELECT json_build_object('campaigns', json_build_object(
        'totalCount', (SELECT count(*) FROM campaigns WHERE company_id = 1),
        'edges', {LISTED.format(EDGE)},
        'pageInfo', json_build_object('hasNextPage',
            EXISTS (SELECT FROM campaigns WHERE company_id = 1 ORDER BY created_at DESC, id DESC OFFSET 50 LIMIT 1),
            'endCursor', (array_agg(c.id::text ORDER BY c.created_at DESC, c.id DESC))[count(*)])))
        FROM {NEWEST.format("", 50, 0)}""",
}


async def keep_as_it_is(_connection: object) -> None:
    """There is nothing to reset between single statements, and Node's pool does not do it either."""


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    # Where the database is, asyncpg reads from the same variables as Node's driver (PGHOST and so on).
    async with asyncpg.create_pool(max_size=CONNECTIONS, reset=keep_as_it_is) as pool:
        app.state.pool = pool
        yield


async def answer(request: Request) -> Response:
    key = request.path_params["key"]
    asked = orjson.loads(await request.body())
    if key == "empty":
        return Response(b'{"data":{"__typename":"Query"}}', media_type="application/json")
    found: str = await request.app.state.pool.fetchval(STATEMENTS[key], *asked.get("variables", {}).values())
    return Response(f'{{"data":{found}}}', media_type="application/json")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, required=True)
    app = Starlette(routes=[Route("/{key}", answer, methods=["POST"])], lifespan=lifespan)
    uvicorn.run(
        app, port=arguments.parse_args().port, loop="uvloop", http="httptools", log_config=None, access_log=False
    )


if __name__ == "__main__":
    main()
