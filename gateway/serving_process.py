"""What does a process do that serves beside others? It answers on a socket that its parent listens on."""

from __future__ import annotations

import os
import signal
import threading
import time
from datetime import UTC, datetime
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from socket import socket

from gateway.app import Deployment, build_app
from gateway.logging import configure_logging
from gateway.server import STOP_SECONDS, pass_over_what_stands, server_of
from gateway.settings import Settings

READY = b"ready"
# Who starts such a process holds these back from it, until it can be stopped in an orderly way.
HELD_BACK = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})


def serve_beside(name: str, settings: Settings, deployment: Deployment, listener: socket, tells: Connection) -> None:
    """Serves until SIGTERM or its parent's end; tells READY when it does. `name`: of the process, in its log."""
    # A key pressed in the terminal is the parent's to answer.
    os.setsid()
    configure_logging(settings.log_level, process=name)
    app = build_app(settings, deployment, now=lambda: datetime.now(UTC))
    pass_over_what_stands()
    server = server_of(app, settings, when_started=lambda: tells.send_bytes(READY))
    for number in HELD_BACK:
        signal.signal(number, server.handle_exit)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
    threading.Thread(target=end_with_parent, daemon=True).start()
    server.run(sockets=[listener])


def end_with_parent() -> None:
    """Stops this process when its parent has ended, however that was."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
