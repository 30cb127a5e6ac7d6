"""Which signals ask a command to stop, and who hears of them?"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# The exit status of what SIGTERM has ended, or a terminal that went away.
TERMINATED = 128 + signal.SIGTERM


@contextmanager
def stopping(stop: Callable[[int], None]) -> Iterator[list[int]]:
    """Within an event loop: signals that end the process call `stop` while this lasts; gives those that came."""
    received: list[int] = []
    loop = asyncio.get_running_loop()

    def note(number: int) -> None:
        received.append(number)
        stop(number)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number in before:
        loop.add_signal_handler(number, note, number)
    try:
        yield received
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
