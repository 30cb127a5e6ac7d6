"""Which SQL statements make the demonstration, in which order and in which portions?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sqlalchemy import Integer, Text, TextClause, bindparam, text

STEP = re.compile(r"^-- step: (?P<name>[a-zA-Z_ ]+?)(?: by (?P<unit>[a-z]+))?\n", re.MULTILINE)
# Rows of the unit a statement takes at a time: often enough for a bar to move, seldom enough to cost nothing.
PORTIONS = {"contacts": 20_000, "accounts": 20_000, "campaigns": 2_000, "lists": 1}
# Parameters that are not whole numbers. PostgreSQL cannot always tell a parameter's type from where it stands.
TEXTS = frozenset({"company_name", "time_zone", "email_domain", "domain", "domain_slug", "sender", "export_id"})


@dataclass(frozen=True)
class Step:
    """One statement; with a `unit` it is run for `:first` to `:last` of that many, portion by portion."""

    name: str
    sql: str
    unit: str | None

    @cached_property
    def statement(self) -> TextClause:
        clause = text(self.sql)
        types = {name: Text() if name in TEXTS else Integer() for name in clause.compile().params}
        return clause.bindparams(*(bindparam(name, type_=kind) for name, kind in types.items()))

    def portions(self, counts: dict[str, int]) -> Iterator[tuple[int, int]]:
        """The first and the last number of each portion."""
        if self.unit is None:
            yield 1, 1
            return
        count, size = counts[self.unit], PORTIONS[self.unit]
        for first in range(1, count + 1, size):
            yield first, min(first + size - 1, count)


def read(name: str) -> tuple[Step, ...]:
    """The steps of `<name>.sql`, each below a line `-- step: <name>` or `-- step: <name> by <unit>`."""
    text = Path(__file__).with_name(f"{name}.sql").read_text(encoding="utf-8")
    starts = list(STEP.finditer(text))
    ends = [*(start.start() for start in starts[1:]), len(text)]
    return tuple(
        Step(start["name"], text[start.end() : end].strip(), start["unit"])
        for start, end in zip(starts, ends, strict=True)
    )
