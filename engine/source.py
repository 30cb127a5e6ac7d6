"""Where do the lines of a generated function go?

The function works level by level: at each it calls what answers the fields, waits for all of that together, fetches
the rows of each relation, and spreads out what the next level begins with. Then it builds the answer from the bottom
up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

NAME = "operation"
INDENT = "    "


@dataclass
class Environment:
    """What a generated function refers to. Nothing of a document becomes source but through `repr`."""

    values: dict[str, object] = field(default_factory=dict)
    counted: int = 0

    def fresh(self, prefix: str) -> str:
        """A name that nothing else has."""
        self.counted += 1
        return f"{prefix}_{self.counted}"

    def bound(self, prefix: str, value: object) -> str:
        """A name for a value."""
        name = self.fresh(prefix)
        self.values[name] = value
        return name


@dataclass
class Level:
    """The lines of one level, in the order of the fields; `settling`: the lists that may hold awaitables."""

    opening: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    settling: list[str] = field(default_factory=list)
    fetches: list[str] = field(default_factory=list)
    spread: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        yield from self.opening
        yield from self.calls
        if self.settling:
            names = ", ".join(self.settling)
            yield f"{names}, = await run.settled({names})"
        if self.fetches:
            yield "await run.begun_waiting()"
        yield from self.fetches
        yield from self.spread


@dataclass
class Source:
    """The source of one function, while it is written."""

    environment: Environment = field(default_factory=Environment)
    levels: list[Level] = field(default_factory=list)
    building: list[str] = field(default_factory=list)

    def level(self, depth: int) -> Level:
        while len(self.levels) <= depth:
            self.levels.append(Level())
        return self.levels[depth]

    def build(self, *lines: str) -> None:
        self.building += lines

    def text(self, result: str) -> str:
        lines = [f"async def {NAME}(roots, context, run):"]
        for level in self.levels:
            lines += (INDENT + line for line in level.lines())
        lines += (INDENT + line for line in self.building)
        lines.append(f"{INDENT}return {result}")
        return "\n".join(lines) + "\n"
