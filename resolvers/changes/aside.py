"""How is a long text worked on without other requests having to wait?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

# Reading or rendering this many characters takes a few milliseconds; a thread costs a tenth of one.
LONG = 20_000


async def aside(length: int, work: Callable[[], Result]) -> Result:
    """What `work` answers; in a thread when the texts that it reads are long (in characters)."""
    return work() if length < LONG else await asyncio.to_thread(work)
