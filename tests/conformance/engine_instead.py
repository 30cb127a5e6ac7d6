"""How do graphql-core's tests go when an engine runs the queries? A plugin of pytest for the process that runs them.

It stands alone there, as `tests` is graphql-core's package in that process. Queries are those that an executor of
graphql-core's own classes was to run, whether through the engine's functions or not.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from graphql import GraphQLSchema, OperationType
from graphql.execution import Executor

from engine import Engine, Way

OPTION = "--report-of-engine"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(OPTION, type=Path, required=True, help="the file that the report is written to, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    recorder = Recorder(config.getoption(OPTION))
    config.pluginmanager.register(recorder)
    by_core = Executor.execute_operation

    def execute_operation(self: Executor[Any], serially: bool | None = None) -> object:
        if self.operation.operation is not OperationType.QUERY or serially is not None:
            return by_core(self, serially)
        recorder.queries += 1
        if type(self).__module__.startswith("graphql."):
            return recorder.engine(self.schema).run(self, by_core)
        recorder.reasons["an executor class of the test's own"] += 1
        return by_core(self)

    Executor.execute_operation = execute_operation  # type: ignore[method-assign, assignment]  # what this is for


class Recorder:
    """Writes down how each test ended, and how its queries were run."""

    def __init__(self, report: Path) -> None:
        self._report = report
        # By identity: an engine keeps its schema alive.
        self._engines: dict[int, Engine] = {}
        self._ways: Counter[Way] = Counter()
        self._tests: dict[str, dict[str, object]] = {}
        self.reasons: Counter[str] = Counter()
        self.queries = 0

    def engine(self, schema: GraphQLSchema) -> Engine:
        if id(schema) not in self._engines:
            engine = self._engines[id(schema)] = Engine(schema)
            engine.ways, engine.reasons = self._ways, self.reasons
        return self._engines[id(schema)]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.queries = 0
        self._ways.clear()
        self.reasons.clear()
        self._tests[item.nodeid] = {"outcome": "passed"}
        result = yield
        self._tests[item.nodeid] |= {
            "queries": self.queries, "compiled": self._ways[Way.COMPILED], "reasons": dict(self.reasons)
        }  # fmt: skip
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.outcome != "passed":
            self._tests[report.nodeid] |= {"outcome": report.outcome, "text": report.longreprtext}

    def pytest_sessionfinish(self) -> None:
        self._report.write_text(json.dumps(self._tests), encoding="utf-8")
