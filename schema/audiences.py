"""What does a client see of the contacts that a campaign would reach?"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, Any

import strawberry

from resolvers import audiences
from resolvers.audiences import LARGEST_SAMPLE
from schema.contacts import Contact
from schema.fields import ContextInfo, named_object, raw_info
from schema.selection import selected_columns
from store.audience import Audience as Wanted
from store.audience import ExclusionReason

SampleSize = Annotated[int, strawberry.argument(description=f"How many contacts; 1 to {LARGEST_SAMPLE}.")]


@strawberry.type(description="Selected contacts that are not reached, for one reason.")
class Exclusion:
    reason: ExclusionReason = strawberry.field(description="Why; of several reasons the first in the enum's order.")
    count: int = strawberry.field(description="How many contacts.")


async def count(root: strawberry.Parent[Wanted], info: ContextInfo) -> int:
    return (await audiences.counted(info.context, root)).count


async def exclusions(root: strawberry.Parent[Wanted], info: ContextInfo) -> list[Exclusion]:
    found = (await audiences.counted(info.context, root)).exclusions
    return [Exclusion(reason=reason, count=contacts) for reason, contacts in found.items()]


# Rows, which the fields of the contact read: hence Any.
def sample(root: strawberry.Parent[Wanted], info: ContextInfo, first: SampleSize = 5) -> Awaitable[Any]:
    raw = raw_info(info)
    columns = selected_columns(raw, named_object(raw.return_type), raw.field_nodes)
    return audiences.sampled(info.context, root, first, columns)


@strawberry.type(description="Whom a campaign would reach if it were sent now.")
class Audience:
    count: int = strawberry.field(resolver=count, description="How many contacts are reached.")
    exclusions: list[Exclusion] = strawberry.field(
        resolver=exclusions, description="How many of the selected contacts are not reached, by the reason."
    )
    sample: list[Contact] = strawberry.field(
        resolver=sample, description="Some of the contacts that are reached, the newest first."
    )
