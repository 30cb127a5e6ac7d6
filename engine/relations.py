"""How are the rows that objects lead to fetched, level by level, and set under their parents?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from graphql import FieldNode, GraphQLObjectType, is_non_null_type

from engine.plans import Named, PageRequest, ToMany, ToOne, ToPage, ToRows
from engine.selection import Groups, NotCompilable
from engine.writing import TYPENAME, Field, Loop, Place, Writer, named_object

Relation: TypeAlias = ToOne | ToMany | Named | ToPage


def related(writer: Writer, here: Field, plan: Relation, place: Place, loop: Loop) -> str:
    """The source of an expression, in the loop over the objects, for what they lead to."""
    match plan:
        case ToOne():
            return to_one(writer, here, plan, place, loop)
        case ToMany():
            return to_many(writer, here, plan, place, loop)
        case Named():
            return named(writer, here, plan, place)
        case ToPage():
            return to_page(writer, here, plan, place, loop)


def to_one(writer: Writer, here: Field, plan: ToOne, place: Place, loop: Loop) -> str:
    rows = fetched(writer, here, plan, keys_of(writer, plan.key, place), place)
    by_key = writer.fresh("by_key")
    writer.build(rows.type, rows.groups, rows.place, f"{by_key} = {{}}", f"{by_key}[row[0]] = ")
    key = writer.local(plan.key, place, loop)
    return f"{by_key}[{key}]" if is_non_null_type(here.type) else f"{by_key}.get({key})"


def to_many(writer: Writer, here: Field, plan: ToMany, place: Place, loop: Loop) -> str:
    keys = keys_of(writer, plan.key, place)
    rows = fetched(writer, here, plan, keys, place)
    grouped = writer.fresh("grouped")
    before = f"{grouped} = {{key: [] for key in {keys}}}"
    writer.build(rows.type, rows.groups, rows.place, before, f"{grouped}[row[0]].append(", ")")
    return f"{grouped}[{writer.local(plan.key, place, loop)}]"


def named(writer: Writer, here: Field, plan: Named, place: Place) -> str:
    fetches = writer.level(place).fetches
    key, keys = writer.fresh("key"), writer.fresh("keys")
    fetches.append(f"{key} = {writer.bound('key_of', plan.key)}({writer.arguments(here, place)})")
    fetches.append(f"{keys} = [] if {key} is None else [{key}]")
    rows = fetched(writer, here, plan, keys, place)
    # Where there is no such row, there is no first one: that ends the function, as it must.
    return f"{writer.objects(rows.type, rows.groups, rows.place)}[0]"


def to_page(writer: Writer, here: Field, plan: ToPage, place: Place, loop: Loop) -> str:
    parts = PageParts.of(writer, here)
    columns = writer.columns(parts.row_type, writer.selections.of(parts.row_type, parts.row_nodes))
    request = PageRequest(columns, parts.rows, parts.total)
    keys, pages, rows, by_key = (
        keys_of(writer, plan.key, place), writer.fresh("pages"), writer.fresh("rows"), writer.fresh("by_key")
    )  # fmt: skip
    fetch, wanted = writer.bound("fetch", plan.fetch), writer.bound("request", request)
    arguments = writer.arguments(here, place)
    level = writer.level(place)
    level.fetches.append(f"{pages} = await {fetch}(context, {wanted}, {keys}, {arguments}) if {keys} else {{}}")
    writer.told(here, place, partial(plan.sql, request, writer.constants(arguments)))
    level.spread.append(f"{rows} = [row for key in {keys} for row in {pages}[key].nodes]")
    built = PageBuilding(writer, place.rows(here, rows, columns), here)
    members = built.members(parts)
    writer.code.build(
        f"{by_key} = {{}}",
        *built.before,
        f"for key in {keys}:",
        f"    page = {pages}[key]",
        *(f"    {line}" for line in built.loop.lines),
        f"    {by_key}[key] = {members}",
    )
    return f"{by_key}[{writer.local(plan.key, place, loop)}]"


def keys_of(writer: Writer, column: str, place: Place) -> str:
    """The name of the list of the keys that the objects of a place have, each once."""
    if place.variable != "row":
        raise NotCompilable("rows that a part of a page leads to")
    keys = writer.fresh("keys")
    writer.level(place).fetches.append(f"{keys} = run.keys({place.read(column)} for row in {place.sources})")
    return keys


@dataclass(frozen=True)
class FetchedRows:
    """Rows that a field of objects leads to, and what it selects of them."""

    type: GraphQLObjectType
    groups: Groups
    place: Place


def fetched(writer: Writer, here: Field, plan: ToRows | Named, keys: str, place: Place) -> FetchedRows:
    """Has the rows of the keys fetched."""
    type_ = named_object(here.type)
    groups = writer.selections.of(type_, here.nodes)
    columns = writer.columns(type_, groups)
    rows, fetch, wanted = writer.fresh("rows"), writer.bound("fetch", plan.fetch), writer.bound("columns", columns)
    writer.level(place).fetches.append(f"{rows} = await {fetch}(context, {wanted}, {keys}) if {keys} else ()")
    writer.told(here, place, partial(plan.sql, columns))
    return FetchedRows(type_, groups, place.rows(here, rows, columns))


@dataclass(frozen=True)
class PageParts:
    """What is selected of a connection; `row_nodes`: the fields whose selections read the rows."""

    type: GraphQLObjectType
    groups: Groups
    edge_type: GraphQLObjectType
    row_type: GraphQLObjectType
    row_nodes: Sequence[FieldNode]

    @staticmethod
    def of(writer: Writer, here: Field) -> PageParts:
        type_ = named_object(here.type)
        if not {"edges", "nodes", "pageInfo", "totalCount"}.issuperset(type_.fields):
            raise NotCompilable(f"a connection with fields of its own, at {here}")
        edge_type, row_type = (named_object(type_.fields[name].type) for name in ("edges", "nodes"))
        groups = writer.selections.of(type_, here.nodes)
        nodes = [node for each in groups.values() for node in each if node.name.value == "nodes"]
        edges = [node for each in groups.values() for node in each if node.name.value == "edges"]
        below = writer.selections.of(edge_type, edges)
        nodes += [node for each in below.values() for node in each if node.name.value == "node"]
        return PageParts(type_, groups, edge_type, row_type, nodes)

    @property
    def rows(self) -> bool:
        return any(nodes[0].name.value in ("edges", "nodes", "pageInfo") for nodes in self.groups.values())

    @property
    def total(self) -> bool:
        return any(nodes[0].name.value == "totalCount" for nodes in self.groups.values())


class PageBuilding:
    """The loop over the pages of a connection's parents; its variable is `page`."""

    def __init__(self, writer: Writer, rows: Place, here: Field) -> None:
        self._writer = writer
        self._rows = rows
        self._here = here
        self.before: list[str] = []
        self.loop = Loop(Place("", rows.depth, rows.path, variable="page"))

    def members(self, parts: PageParts) -> str:
        found = {key: self._member(parts, key, nodes) for key, nodes in parts.groups.items()}
        return "{" + ", ".join(f"{key!r}: {source}" for key, source in found.items()) + "}"

    def _member(self, parts: PageParts, key: str, nodes: Sequence[FieldNode]) -> str:
        name = nodes[0].name.value
        if name == TYPENAME:
            return repr(parts.type.name)
        field = Field(parts.type, key, name, parts.type.fields[name], nodes)
        if name == "nodes":
            return f"list({self._taken(parts.row_type, nodes)})"
        if name == "edges":
            return self._edges(parts, nodes)
        if name == "pageInfo":
            return self._page_info(field)
        self.loop.lines.append("total = page.total_count")
        return self._writer.leaf(field, "total")

    def _taken(self, row_type: GraphQLObjectType, nodes: Sequence[FieldNode]) -> str:
        """The source of an iterator over what the rows of this page are in the answer."""
        writer = self._writer
        objects = writer.objects(row_type, writer.selections.of(row_type, nodes), self._rows)
        next_ = writer.fresh("next")
        self.before.append(f"{next_} = iter({objects})")
        return f"islice({next_}, len(page.nodes))"

    def _edges(self, parts: PageParts, nodes: Sequence[FieldNode]) -> str:
        members, beside = [], {}
        for key, each in self._writer.selections.of(parts.edge_type, nodes).items():
            name = each[0].name.value
            if name == TYPENAME:
                members.append(f"{key!r}: {parts.edge_type.name!r}")
                continue
            variable = self._writer.fresh(name)
            members.append(f"{key!r}: {variable}")
            beside[variable] = "page.cursors" if name == "cursor" else self._taken(parts.row_type, each)
        variables, lists = ", ".join(("_", *beside)), ", ".join(("page.nodes", *beside.values()))
        return f"[{{{', '.join(members)}}} for {variables}, in zip({lists})]"

    def _page_info(self, field: Field) -> str:
        writer, variable = self._writer, self._writer.fresh("info")
        self.loop.lines.append(f"{variable} = page.page_info")
        type_ = named_object(field.type)
        groups = writer.selections.of(type_, field.nodes)
        place = Place("", self._rows.depth, self._rows.path, variable=variable)
        return writer.members(type_, groups, place, self.loop)
