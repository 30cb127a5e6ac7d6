"""How are log lines written? One JSON object each, on standard error."""

from __future__ import annotations

import logging
import sys

import structlog


def configure_logging(level: str, process: str | None = None) -> None:
    """Our own lines and those of the libraries, from `level` on; `process`: who of several writes them."""
    number = logging.getLevelNamesMapping()[level]

    def name_process(_logger: object, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return line if process is None else {**line, "process": process}

    shared: list[structlog.typing.Processor] = [
        name_process,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        # Looked up for each line: whoever replaces standard error (a test, a supervisor) gets what follows.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)
