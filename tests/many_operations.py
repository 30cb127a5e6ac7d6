"""Does the engine answer what graphql-core does, over more operations than a run of the tests has time for?

    python -m tests.many_operations --count 100000

Prints what was found and how the operations were run. Each is drawn by its number, so that `--first` finds it again.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from random import Random

import structlog

from store.embedded import embedded_server
from tests.conftest import TEMPLATE, World, database, make_world, prepare_template
from tests.engine_sides import Different, Sides, both_sides
from tests.graph import Graph, is_page
from tests.holes import add_holes
from tests.operations import Asked

MOST_SHOWN = 5
EVERY = 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="the number of the first operation")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with (
        tempfile.TemporaryDirectory(dir="/tmp", prefix="mcg-tests-") as directory,
        embedded_server(Path(directory) / "postgres", durable=False, log=lambda _: None) as server,
    ):
        return asyncio.run(run(server.url("postgres"), given.first, given.count))


async def run(server: str, first: int, count: int) -> int:
    await prepare_template(server)
    url = database(server, TEMPLATE)
    world = World(url, *await make_world(url))
    await add_holes(url, world.globex.id)
    async with both_sides(world) as sides:
        different = await compared(sides, first, count)
        tell(sides)
    print(f"{count} operations, {different} answered differently")
    return 1 if different else 0


async def compared(sides: Sides, first: int, count: int) -> int:
    asked = Asked(sides.schema, sides.known)
    different, began = 0, time.monotonic()
    for number in range(first, first + count):
        try:
            await sides.compare(asked.operation(Random(number)))
        except Different as found:
            different += 1
            if different <= MOST_SHOWN:
                print(f"operation {number}: {found}\n", flush=True)
        done = number - first + 1
        if done % EVERY == 0:
            print(f"{done} in {time.monotonic() - began:.0f} s, {different} different", flush=True)
    return different


def tell(sides: Sides) -> None:
    print(f"{sides.answers} answers, {sides.faultless} without errors")
    for way, number in sides.engine.ways.most_common():
        print(f"{number:8} {way.value}")
    print(f"{sides.compiled / max(1, sides.faultless):.1%} of those without errors by their functions; plans:")
    for kind, number in sides.kinds.most_common():
        print(f"{number:8} {kind}")
    print("why not by their functions:")
    for reason, number in sides.engine.reasons.most_common(30):
        print(f"{number:8} {reason[:110]}")
    print("never asked for:", ", ".join(sorted(never_asked(sides))) or "nothing")


def never_asked(sides: Sides) -> set[str]:
    """Fields of rows and of what groups them; no plan tells how a page is made of its rows."""
    graph = Graph(sides.schema)
    pages = {name for name, type_ in graph.types.items() if is_page(type_)}
    return {each for each in graph.coordinates() - sides.planner.coordinates if each.split(".")[0] not in pages}


if __name__ == "__main__":
    sys.exit(main())
