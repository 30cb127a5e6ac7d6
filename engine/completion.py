"""How are values of which only the answering function knows what they are completed, as graphql-core completes them?

All values of a place together: lists are laid end to end and cut again, objects are collected into the next level, and
everything comes back in the order that it had.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from graphql import (
    GraphQLAbstractType,
    GraphQLObjectType,
    GraphQLOutputType,
    is_abstract_type,
    is_list_type,
    is_non_null_type,
    is_object_type,
)
from graphql.pyutils import Path

from engine.leaves import leaf_expression
from engine.run import CallSite
from engine.selection import NotCompilable
from engine.writing import Field, Loop, PathsNeeded, Place, Writer


@dataclass(frozen=True)
class Values:
    """A list of values of a field, at one level; `site`: the name of where a resolver gave them."""

    here: Field
    name: str
    depth: int
    path: Path
    site: str | None = None
    paths: str | None = None


def resolved(writer: Writer, here: Field, place: Place, loop: Loop) -> str:
    """What the field's resolver answers: a variable of the loop."""
    if place.positions is not None or place.variable != "row":
        raise NotCompilable(f"a resolver of rows, at {here}")
    if not writer.with_paths:
        raise PathsNeeded
    path = place.below(here)
    site = writer.bound("site", CallSite(here.parent, here.name, here.definition, here.nodes, path))
    values, paths, level = writer.fresh("values"), None, writer.level(place)
    arguments = writer.arguments(here, place)
    if place.paths is not None:
        paths = writer.fresh("paths")
        level.calls.append(f"{paths} = run.paths({place.paths}, {here.key!r}, {here.parent.name!r})")
    call = "taken" if here.definition.resolve is None else "call"
    level.calls.append(f"{values} = run.{call}({site}, {place.sources}, {paths}, {arguments})")
    return completed(writer, Values(here, values, place.depth, path, site, paths), loop)


def completed(writer: Writer, values: Values, loop: Loop) -> str:
    """What a list of values, one for each object of a loop, is in the answer: a variable of the loop."""
    level = writer.code.level(values.depth)
    level.settling.append(values.name)
    if is_non_null_type(values.here.type):
        # Before anything is waited for, as then nothing need be.
        level.calls.append(f"run.require({values.name})")
    built = complete(writer, values, values.here.type)
    variable = writer.fresh("value")
    loop.beside[variable] = built
    return variable


def complete(writer: Writer, values: Values, type_: GraphQLOutputType) -> str:
    """The name of the list of what the values are in the answer, in their order."""
    if is_non_null_type(type_):
        writer.code.level(values.depth).spread.append(f"run.require({values.name})")
        type_ = type_.of_type
    if is_list_type(type_):
        return complete_lists(writer, values, type_.of_type)
    if is_object_type(type_):
        return complete_objects(writer, values, type_)
    if is_abstract_type(type_):
        return complete_abstract(writer, values, type_)
    built = writer.fresh("built")
    leaf = leaf_expression(writer.code.environment, type_, "value")
    writer.code.build(f"{built} = [{leaf} for value in {values.name}]")
    return built


def complete_lists(writer: Writer, values: Values, item: GraphQLOutputType) -> str:
    flat, sizes, paths = writer.fresh("values"), writer.fresh("sizes"), None
    spread = writer.code.level(values.depth).spread
    spread.append(f"{flat}, {sizes} = await run.flatten({values.name})")
    if values.paths is not None:
        paths = writer.fresh("paths")
        spread.append(f"{paths} = run.item_paths({values.paths}, {sizes})")
    below = replace(values, name=flat, paths=paths, depth=values.depth + 1)
    level = writer.code.level(below.depth)
    level.settling.append(flat)
    if is_non_null_type(item):
        # As in `completed`.
        level.calls.append(f"run.require({flat})")
    items, built = complete(writer, below, item), writer.fresh("built")
    writer.code.build(f"{built} = run.regroup({sizes}, {items})")
    return built


def complete_objects(writer: Writer, values: Values, type_: GraphQLObjectType) -> str:
    sources = writer.fresh("objects")
    spread = writer.code.level(values.depth).spread
    spread.append(f"{sources} = [value for value in {values.name} if value is not None]")
    objects = objects_of(writer, values, type_, sources, f"value is not None for value in {values.name}")
    next_, built = writer.fresh("next"), writer.fresh("built")
    writer.code.build(
        f"{next_} = iter({objects})",
        f"{built} = [None if value is None else next({next_}) for value in {values.name}]",
    )
    return built


def complete_abstract(writer: Writer, values: Values, type_: GraphQLAbstractType) -> str:
    if values.site is None:
        raise NotCompilable(f"something computed of an abstract type, at {values.here}")
    names = writer.fresh("names")
    spread = writer.code.level(values.depth).spread
    spread.append(f"{names} = await run.types({writer.bound('type', type_)}, {values.site}, {values.name})")
    built = {}
    for each in writer.selections.schema.get_possible_types(type_):
        sources = writer.fresh("objects")
        of_type = f"[value for value, name in zip({values.name}, {names}) if name == {each.name!r}]"
        spread.append(f"{sources} = {of_type}")
        built[each.name] = objects_of(writer, values, each, sources, f"name == {each.name!r} for name in {names}")
    next_, objects = writer.fresh("next"), writer.fresh("built")
    iterators = ", ".join(f"{name!r}: iter({each})" for name, each in built.items())
    writer.code.build(
        f"{next_} = {{{iterators}}}",
        f"{objects} = [None if name is None else next({next_}[name]) for name in {names}]",
    )
    return objects


def objects_of(writer: Writer, values: Values, type_: GraphQLObjectType, sources: str, chosen: str) -> str:
    """What those of the values are that are objects of a type; `chosen`: whether each is, as a comprehension."""
    spread = writer.code.level(values.depth).spread
    if type_.is_type_of is not None and values.site is not None:
        spread.append(f"await run.check({writer.bound('type', type_)}, {values.site}, {sources})")
    paths = None
    if values.paths is not None:
        paths = writer.fresh("paths")
        spread.append(f"{paths} = [path for path, here in zip({values.paths}, ({chosen})) if here]")
    place = Place(sources, values.depth + 1, values.path, paths)
    return writer.objects(type_, writer.selections.of(type_, values.here.nodes), place)
