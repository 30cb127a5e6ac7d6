"""What does a newcomer need to try the gateway? Demo data, a token for each role, and something to paste."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.auth import hashed, new_token
from gateway.private_files import write_private
from store.database import owner_transaction
from store.models import TokenScope
from store.tokens import RoleHolder, TokenRecord, count_working, role_holders, store_token

# The demo data numbers its companies from 1.
COMPANIES = (1, 2)
LIFE = timedelta(days=365)
PURPOSE = "Demo"
QUERY = """\
query Campaigns {
  campaigns(first: 5) {
    totalCount
    nodes {
      name type status
      user { firstName lastName }
      template { title }
      recipients(first: 2) { totalCount nodes { status contact { firstName lastName } } }
    }
  }
}"""


@dataclass(frozen=True)
class DemoToken:
    company: str
    role: str
    email: str
    token: str


async def demo_tokens(url: str, kept: Sequence[DemoToken], now: datetime) -> list[DemoToken]:
    """A token for each role in each company: the kept ones if they all still work, new ones otherwise.

    `url` signs in as the owner of the tables.
    """
    async with owner_transaction(url) as connection:
        if await all_work(connection, kept):
            return list(kept)
        return [
            await made_for(connection, holder, now + LIFE)
            for company_id in COMPANIES
            for holder in await role_holders(connection, company_id)
        ]


async def made_for(connection: AsyncConnection, holder: RoleHolder, expires_at: datetime) -> DemoToken:
    token = new_token(secrets.token_hex, demo=True)
    record = TokenRecord(token.id, hashed(token.secret), PURPOSE, list(TokenScope), expires_at)
    await store_token(connection, holder.user_id, record)
    return DemoToken(holder.company, holder.role, holder.email, str(token))


async def all_work(connection: AsyncConnection, tokens: Sequence[DemoToken]) -> bool:
    ids = [token.token.split("_")[1] for token in tokens]
    working = [await count_working(connection, company_id, ids) for company_id in COMPANIES]
    return 0 < len(ids) == sum(working)


def read_tokens(path: Path) -> list[DemoToken]:
    """The tokens of the file; none where there is no file, or none that can be read as such."""
    try:
        return [DemoToken(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (FileNotFoundError, ValueError, TypeError):
        return []


def write_tokens(path: Path, tokens: Sequence[DemoToken]) -> None:
    write_private(path, json.dumps([asdict(token) for token in tokens], indent=2) + "\n")


def welcome(address: str, tokens: Sequence[DemoToken], path: Path) -> str:
    """What the terminal shows when the demo is ready."""
    lines = ["", f"GraphiQL:  {address}/#token={tokens[0].token}", "", f"Demo tokens (also in {path}):"]
    width = max(len(token.company) for token in tokens)
    lines += [f"  {token.company:{width}}  {token.role:7}  {token.token}" for token in tokens]
    body = json.dumps({"query": " ".join(QUERY.split())})
    lines += [
        "",
        "A query to paste into GraphiQL:",
        "",
        QUERY,
        "",
        "or into another terminal:",
        "",
        f"curl {address}/graphql -H 'Content-Type: application/json' \\",
        f"  -H 'Authorization: Bearer {tokens[0].token}' \\",
        f"  -d '{body}'",
        "",
        "Ctrl-C stops everything.",
        "",
    ]
    return "\n".join(lines)
