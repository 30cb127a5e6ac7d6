"""How does a test stop a database server and start it again?"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from anyio import to_thread

from store.embedded import embedded_server


class RestartableServer:
    """An embedded server of one's own, to be stopped and started again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running = ExitStack()

    async def start(self) -> str:
        """The administrator's URL, always the same."""
        server = embedded_server(self._directory, durable=False, log=lambda _: None)
        return (await to_thread.run_sync(self._running.enter_context, server)).url("postgres")

    async def stop(self) -> None:
        await to_thread.run_sync(self._running.close)
