"""What do the fields of the mutation root have in common?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import strawberry

from resolvers.changes.idempotency import LONGEST_KEY
from resolvers.changes.outcomes import Outcome, carried_out
from schema.fields import ContextInfo
from store.models import TokenScope

Key = Annotated[
    str | None,
    strawberry.argument(
        description="A text of your choice that names this request: however often it is sent within 24 hours, it is "
        f"carried out once; the answer shows what it made, if that is still there. At most {LONGEST_KEY} characters."
    ),
]


# Resolvers answer an `Outcome`, which the fields of the payloads read: hence Any.
async def writing(info: ContextInfo, change: Callable[[], Awaitable[Outcome]]) -> Any:
    return await carried_out(info.context, TokenScope.WRITE, change)


async def looking(info: ContextInfo, change: Callable[[], Awaitable[Outcome]]) -> Any:
    return await carried_out(info.context, TokenScope.READ, change)


async def sending(info: ContextInfo, change: Callable[[], Awaitable[Outcome]]) -> Any:
    return await carried_out(info.context, TokenScope.SEND, change)


async def exporting(info: ContextInfo, change: Callable[[], Awaitable[Outcome]]) -> Any:
    return await carried_out(info.context, TokenScope.EXPORT, change)


def mutation(resolver: Callable[..., Awaitable[Any]], description: str, deprecated: str | None = None) -> Any:
    """A root field: Strawberry reads its arguments off the resolver. Any: what stands in the class is not called."""
    return strawberry.mutation(resolver=resolver, description=description, deprecation_reason=deprecated)
