"""Does the engine pass graphql-core's own execution tests, running the queries in graphql-core's place?

Counted as queries of the share are all that those tests run, but for the tests of what the engine leaves to
graphql-core by design (`LEFT_ALONE`). A query counts as compiled if its function answered it; one that meets an error
does not, as graphql-core answers it then.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.conformance import engine_instead
from tests.conformance.sources import Unreachable, unpacked

REPOSITORY = Path(__file__).parent.parent
MODULES = ("tests/execution", "tests/test_star_wars_query.py", "tests/test_star_wars_introspection.py",
           "tests/test_user_registry.py", "tests/test_graphql.py", "tests/type/test_introspection.py")  # fmt: skip
PLUGINS = ("anyio", "pytest_asyncio.plugin", "pytest_describe.plugin", "engine_instead")
SETTINGS = "[pytest]\npython_classes = PyTest*\nasyncio_mode = strict\n"
LONGEST_SECONDS = 240

# They count how often a resolver is called, or time when a resolver's future fails. A query's resolvers are called
# again after an error: those that waited are cancelled first, and wait again then.
CALLED_AGAIN = "the resolvers of a query that fails are called again"
CANCELLING = "tests/execution/test_parallel.py::describe_parallel_execution::describe_cancel_on_exception"
FAILING = {
    f"{CANCELLING}::cancel_selection_sets": CALLED_AGAIN,
    f"{CANCELLING}::cancel_lists": CALLED_AGAIN,
    f"{CANCELLING}::cancel_async_iterators": CALLED_AGAIN,
    "tests/execution/test_cancellation.py::describe_execute_cancellation"
    "::suppresses_sibling_errors_after_a_non_null_error_bubbles": CALLED_AGAIN,
}

# Tests whose queries are not counted, by the beginnings of their names.
LEFT_ALONE = {
    "tests/execution/incremental/": "@defer and @stream",
    "tests/execution/test_executor_throwing_on_incremental.py": "@defer and @stream",
    "tests/execution/test_cancellation.py": "signals that abort an execution",
    "tests/execution/test_aborted_graphql_execution_error.py": "signals that abort an execution",
    "tests/execution/test_hooks.py": "hooks of an execution, most of them at its cancellation",
    CANCELLING: "cancellation of what was called beside a resolver that fails",
}
LEAST_SHARE = 0.6


@dataclass(frozen=True)
class Went:
    """How one of graphql-core's tests went."""

    name: str
    outcome: str
    queries: int
    compiled: int
    reasons: dict[str, int]
    text: str = ""

    @property
    def counted(self) -> bool:
        return self.name.startswith("tests/execution/") and not self.name.startswith(tuple(LEFT_ALONE))


def conforming(folder: Path) -> list[Went]:
    """graphql-core's tests, run with the engine."""
    try:
        sources = unpacked(version("graphql-core"))
    except Unreachable as reason:
        pytest.fail(str(reason), pytrace=False)
    settings, report = folder / "pytest.ini", folder / "report.json"
    settings.write_text(SETTINGS, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "pytest", "-c", settings, "--rootdir", sources, "-q", "--tb=short",
         *(f"-p{name}" for name in PLUGINS), "-p", "no:cacheprovider", engine_instead.OPTION, report, *MODULES],
        cwd=sources,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1",
             "PYTHONPATH": f"{Path(engine_instead.__file__).parent}{os.pathsep}{REPOSITORY}"},
        capture_output=True, text=True, check=False, timeout=LONGEST_SECONDS,
    )  # fmt: skip
    assert report.exists(), done.stdout + done.stderr
    found = json.loads(report.read_text(encoding="utf-8"))
    return [Went(name, **told) for name, told in found.items()]


def test_graphql_cores_tests_pass_and_most_queries_run_compiled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the engine no test fails but those that are named here, and its functions answer 60 of 100 queries."""
    run = conforming(tmp_path)
    counted = [test for test in run if test.counted]
    with capsys.disabled():
        print("\n" + "\n".join(figures(run, counted)))
    failed = {test.name: test.text for test in run if test.outcome == "failed"}
    assert len(run) > 800
    assert set(failed) == set(FAILING), "\n\n".join(text for name, text in failed.items() if name not in FAILING)
    share = sum(test.compiled for test in counted) / sum(test.queries for test in counted)
    assert share >= LEAST_SHARE


def figures(run: list[Went], counted: list[Went]) -> Iterable[str]:
    """The lines that tell how it went."""
    outcomes = Counter(test.outcome for test in run)
    yield f"graphql-core's tests: {', '.join(f'{count} {name}' for name, count in sorted(outcomes.items()))}"
    for name, reason in LEFT_ALONE.items():
        left = [test for test in run if test.name.startswith(name)]
        yield f"  not counted: {in_all(left)} ({reason})"
    yield f"  counted: {in_all(counted)}"
    reasons: Counter[str] = Counter()
    for test in counted:
        reasons.update(test.reasons)
    for reason, count in reasons.most_common():
        yield f"    {count} {reason.splitlines()[0]}"


def in_all(tests: list[Went]) -> str:
    queries, compiled = sum(test.queries for test in tests), sum(test.compiled for test in tests)
    share = f" = {compiled / queries:.0%}" if queries else ""
    return f"{compiled} of {queries} queries of {len(tests)} tests compiled{share}"
