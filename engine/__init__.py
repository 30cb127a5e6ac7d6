"""Runs GraphQL queries breadth first, by a function that is generated for each operation.

A package of its own: it knows graphql-core, and nothing of whose schema it runs.
"""

from __future__ import annotations

from engine.compiler import Compiled, compile_operation
from engine.executor import Engine, Way
from engine.selection import NotCompilable

__all__ = ["Compiled", "Engine", "NotCompilable", "Way", "compile_operation"]
