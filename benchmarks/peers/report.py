"""How do the figures become tables: the rates, their ratios within each round, and who had to wait for whom?"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.table import Table

from benchmarks.peers.asking import CONNECTIONS, Found
from benchmarks.peers.gateway_server import PARTS
from benchmarks.peers.processes import WITHOUT, node
from benchmarks.peers.questions import GATEWAY, Question


def machine() -> str:
    version = subprocess.run([node(), "--version"], check=True, capture_output=True, text=True).stdout.strip()
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{datetime.now(UTC):%Y-%m-%d} on {platform.machine()}, {os.cpu_count()} cores,"
        f" Python {platform.python_version()}, Node {version}; {CONNECTIONS} connections; load {load}"
    )


def median(found: Found, question: Question, server: str, figure: str) -> float:
    figures: list[float] = [getattr(measured, figure) for measured in found[question.key, server]]
    return statistics.median(figures)


def ratio(found: Found, question: Question, one: str, other: str, figure: str) -> float:
    """The median of the ratios within a round."""
    pairs = zip(found[question.key, one], found[question.key, other], strict=True)
    ratios: list[float] = [getattr(left, figure) / getattr(right, figure) for left, right in pairs]
    return statistics.median(ratios)


def rates(found: Found, questions: Sequence[Question], servers: Sequence[str]) -> Table:
    table = Table("requests a second (median)", *servers)
    for question in questions:
        table.add_row(question.title, *(f"{median(found, question, server, 'rate'):,.0f}" for server in servers))
    return table


def slowness(found: Found, questions: Sequence[Question], servers: Sequence[str]) -> Table:
    table = Table("milliseconds, 99 of 100 (median)", *servers)
    for question in questions:
        table.add_row(question.title, *(f"{median(found, question, server, 'slow'):.1f}" for server in servers))
    return table


def efficiency(found: Found, questions: Sequence[Question], servers: Sequence[str]) -> Table:
    """What others do on the machine takes less from these figures than from the rates."""
    table = Table("requests for each second of processor that the server had (median)", *servers)
    for question in questions:
        table.add_row(question.title, *(f"{median(found, question, server, 'efficiency'):,.0f}" for server in servers))
    return table


def ratios(found: Found, questions: Sequence[Question], servers: Sequence[str]) -> Table:
    return table_of_ratios("the gateway's requests a second ÷ (goal)", "rate", found, questions, servers)


def ratios_of_efficiency(found: Found, questions: Sequence[Question], servers: Sequence[str]) -> Table:
    return table_of_ratios("the gateway's requests a second of processor ÷", "efficiency", found, questions, servers)


def table_of_ratios(
    title: str, figure: str, found: Found, questions: Sequence[Question], servers: Sequence[str]
) -> Table:
    others = [server for server in servers if server != GATEWAY]
    table = Table(title, *others)
    for question in questions:
        cells = []
        for server in others:
            value, least = ratio(found, question, GATEWAY, server, figure), question.least.get(server)
            if least is None:
                cells.append(f"{value:.2f}")
            else:
                color, mark = ("green", "met") if value >= least else ("red", "missed")
                cells.append(f"[{color}]{value:.2f} (≥ {least:g} {mark})[/]")
        table.add_row(question.title, *cells)
    return table


def business(found: Found, questions: Sequence[Question], servers: Sequence[str]) -> Table:
    table = Table("% of a core: server / PostgreSQL", *servers)
    for question in questions:
        shares = [
            f"{median(found, question, server, 'server'):.0%} / {median(found, question, server, 'postgres'):.0%}"
            for server in servers
        ]
        table.add_row(question.title, *(share.replace("%", "") for share in shares))
    return table


def costs(found: Found, questions: Sequence[Question], servers: Sequence[str]) -> Table:
    """What each part of the gateway costs: how much less processor a request takes without it."""
    parts = [server for server in servers if server != GATEWAY]
    headings = [f"{name.removeprefix(WITHOUT)}\n({PARTS[name.removeprefix(WITHOUT)]})" for name in parts]
    table = Table("µs of processor a request (share)", "in all", *headings)
    for question in questions:
        whole = 1e6 / median(found, question, GATEWAY, "efficiency")
        shares = [1 - ratio(found, question, GATEWAY, part, "efficiency") for part in parts]
        table.add_row(question.title, f"{whole:,.0f}", *(f"{share * whole:.0f} ({share:.0%})" for share in shares))
    return table
