"""A small schema with a plan of each kind, its data in memory, and a record of what is fetched.

The same fields have resolvers, so that graphql-core answers them too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import isawaitable
from typing import Any, NamedTuple

from graphql import ExecutionResult, GraphQLField, GraphQLObjectType, GraphQLSchema, build_schema, execute, parse
from graphql.execution import Executor

from engine import Engine, Way, plans
from engine.executor import running_by

SDL = """
type Query { library: Library! authors: [Author!]! author(id: ID!): Author shelf(first: Int = 2, tag: String): Books! }
type Library { city: String! }
type Author { id: ID! name: String! shout: String! slow: String! address: Address
              first: Book books: [Book!]! shelf(first: Int = 2, tag: String): Books! }
type Address { street: String! zip: Int }
type Book { id: ID! title: String! author: Author! }
type Books { edges: [BookEdge!]! nodes: [Book!]! pageInfo: PageInfo! totalCount: Int! }
type BookEdge { node: Book! cursor: String! }
type PageInfo { hasNextPage: Boolean! hasPreviousPage: Boolean! startCursor: String endCursor: String }
"""


@dataclass(frozen=True)
class Author:
    id: str
    name: str
    street: str | None
    first_id: str | None
    zip: int | None = None


@dataclass(frozen=True)
class Book:
    id: str
    title: str
    author_id: str


@dataclass(frozen=True)
class PageInfo:
    has_next_page: bool
    start_cursor: str | None
    end_cursor: str | None
    has_previous_page: bool = False


@dataclass(frozen=True)
class Page:
    nodes: Sequence[Any]
    cursors: Sequence[str]
    page_info: PageInfo
    total_count: int | None


class Call(NamedTuple):
    """A fetch as it was called."""

    name: str
    columns: plans.Columns
    keys: tuple[Any, ...]


@dataclass(frozen=True)
class Root:
    company: str = "house"
    city: str = "Oslo"


AUTHORS = [
    Author("1", "Ada", "High Street", "a"),
    Author("2", "Bo", None, "c"),
    Author("3", "Cy", "Low Street", None, 7),
]
BOOKS = [Book("a", "Apples", "1"), Book("b", "Berries", "1"), Book("c", "Cherries", "2"), Book("d", "Dates", "1")]


class Row(tuple[Any, ...]):
    """A row as fetches give it: the parent's key, then the columns, each also by its name."""

    columns: plans.Columns

    def __getattr__(self, name: str) -> object:
        if name not in self.columns:
            raise AttributeError(name)
        return self[1 + self.columns.index(name)]


def row_of(key: object, columns: plans.Columns, found: object) -> Row:
    row = Row((key, *(getattr(found, name) for name in columns)))
    row.columns = columns
    return row


async def shout_slowly(row: Any, _context: object) -> str:
    return str(row.name).lower()


@dataclass
class Books:
    """The library, and an engine that runs its queries."""

    authors: list[Author] = field(default_factory=lambda: list(AUTHORS))
    books: list[Book] = field(default_factory=lambda: list(BOOKS))
    calls: list[Call] = field(default_factory=list)
    requests: list[tuple[plans.PageRequest, dict[str, Any]]] = field(default_factory=list)
    shout: Callable[[Any, Any], object] = lambda row, _context: row.name.upper()
    slow: Callable[[Any, Any], Awaitable[object]] = shout_slowly

    def __post_init__(self) -> None:
        self.plans = self._plans()
        self.schema = self._schema()
        self.engine = Engine(self.schema, self._plan_of)

    async def run(self, query: str, variables: dict[str, Any] | None = None) -> ExecutionResult:
        """What the engine answers; as graphql-core does, which is asserted."""
        alone = await self._executed(Executor, query, variables)
        self.calls.clear()
        self.requests.clear()
        found = await self._executed(running_by(self.engine, Executor), query, variables)
        assert found == alone
        assert list_of_keys(found.data) == list_of_keys(alone.data)
        return found

    async def compiled(self, query: str, variables: dict[str, Any] | None = None) -> Any:
        """The data that the engine's own function answers."""
        before = self.engine.ways[Way.COMPILED]
        found = await self.run(query, variables)
        assert self.engine.ways[Way.COMPILED] == before + 1, self.engine.reasons
        assert found.errors is None
        return found.data

    def names(self) -> list[str]:
        """The fetches in their order."""
        return [call.name for call in self.calls]

    async def _executed(
        self, executor: type[Executor[Any]], query: str, variables: dict[str, Any] | None
    ) -> ExecutionResult:
        found = execute(
            self.schema, parse(query), Root(), self, variable_values=variables, executor_class=executor
        )  # fmt: skip
        result = await found if isawaitable(found) else found
        assert isinstance(result, ExecutionResult)
        return result

    def _plan_of(self, type_: GraphQLObjectType, name: str, _field: GraphQLField) -> plans.Plan | None:
        return self.plans.get(f"{type_.name}.{name}")

    def _plans(self) -> dict[str, plans.Plan]:
        columns = {
            f"{type_}.{name}": plans.Column(name)
            for type_, names in {"Author": ("id", "name"), "Book": ("id", "title"), "Library": ("city",)}.items()
            for name in names
        }
        return {
            **columns,
            "Address.street": plans.Column("street"),
            "Address.zip": plans.Column("zip"),
            "PageInfo.hasNextPage": plans.Column("has_next_page"),
            "PageInfo.hasPreviousPage": plans.Column("has_previous_page"),
            "PageInfo.startCursor": plans.Column("start_cursor"),
            "PageInfo.endCursor": plans.Column("end_cursor"),
            "Query.library": plans.SameRow(),
            "Author.address": plans.SameRow("street"),
            "Author.shout": plans.Computed(("name",), self.shout),
            "Author.slow": plans.Computed(("name",), self.slow),
            "Author.first": plans.ToOne("first_id", self._fetch("first", self._by_id), str),
            "Author.books": plans.ToMany("id", self._fetch("books", self._of_author), str),
            "Book.author": plans.ToOne("author_id", self._fetch("author", self._author), str),
            "Query.author": plans.Named(lambda given: given["id"] or None, self._fetch("named", self._author), str),
            "Query.authors": plans.ToMany("company", self._fetch("authors", lambda _key: self.authors), str),
            "Query.shelf": plans.ToPage("company", self._pages("shelf", lambda _key: self.books), plain_sql),
            "Author.shelf": plans.ToPage("id", self._pages("pages", self._of_author), plain_sql),
        }

    def _fetch(self, name: str, of: Callable[[Any], Sequence[object]]) -> Any:
        async def fetch(context: Books, columns: plans.Columns, keys: Sequence[Any]) -> list[object]:
            context.calls.append(Call(name, columns, tuple(keys)))
            return [row_of(key, columns, found) for key in keys for found in of(key)]

        return fetch

    def _pages(self, name: str, of: Callable[[Any], Sequence[object]]) -> Any:
        async def fetch(
            context: Books, request: plans.PageRequest, keys: Sequence[Any], given: plans.Arguments
        ) -> Mapping[Any, Page]:
            context.calls.append(Call(name, request.columns, tuple(keys)))
            context.requests.append((request, dict(given)))
            return {key: page_of(of(key), request, given, key) for key in keys}

        return fetch

    def _by_id(self, key: str) -> list[Book]:
        return [book for book in self.books if book.id == key]

    def _of_author(self, key: str) -> list[Book]:
        return [book for book in self.books if book.author_id == key]

    def _author(self, key: str) -> list[Author]:
        return [author for author in self.authors if author.id == key]

    def _schema(self) -> GraphQLSchema:
        """With resolvers that answer what the plans do."""
        schema = build_schema(SDL)
        for name, resolve in self._resolvers().items():
            type_, field_name = name.split(".")
            type_map: Any = schema.type_map
            type_map[type_].fields[field_name].resolve = resolve
        return schema

    def _resolvers(self) -> dict[str, Any]:
        return {
            "Query.library": lambda root, _info: root,
            "Query.authors": lambda _root, _info: self.authors,
            "Query.author": lambda _root, _info, **given: self._author(given["id"])[0],
            "Query.shelf": lambda _root, _info, **given: whole_page(self.books, given),
            "Author.shout": lambda author, _info: self.shout(author, self),
            "Author.slow": lambda author, _info: self.slow(author, self),
            "Author.address": lambda author, _info: None if author.street is None else author,
            "Author.first": lambda author, _info: next(iter(self._by_id(author.first_id)), None),
            "Author.books": lambda author, _info: self._of_author(author.id),
            "Author.shelf": lambda author, _info, **given: whole_page(self._of_author(author.id), given),
            "Book.author": lambda book, _info: next(iter(self._author(book.author_id)), None),
            "Books.edges": lambda page, _info: list(zip(page.nodes, page.cursors, strict=True)),
            "Books.pageInfo": lambda page, _info: page.page_info,
            "Books.totalCount": lambda page, _info: page.total_count,
            "BookEdge.node": lambda edge, _info: edge[0],
            "BookEdge.cursor": lambda edge, _info: edge[1],
            "PageInfo.hasNextPage": lambda info, _info: info.has_next_page,
            "PageInfo.hasPreviousPage": lambda info, _info: info.has_previous_page,
            "PageInfo.startCursor": lambda info, _info: info.start_cursor,
            "PageInfo.endCursor": lambda info, _info: info.end_cursor,
        }


def whole_page(found: Sequence[Any], given: plans.Arguments) -> Page:
    taken = found[: given["first"]]
    cursors = [f"after {each.id}" for each in taken]
    ends = (cursors[0], cursors[-1]) if cursors else (None, None)
    return Page(taken, cursors, PageInfo(len(found) > len(taken), *ends), len(found))


def page_of(found: Sequence[Any], request: plans.PageRequest, given: plans.Arguments, key: object) -> Page:
    """A page as a fetch gives it: the total only where it was asked for."""
    page = whole_page(found, given)
    rows = [row_of(key, request.columns, each) for each in page.nodes]
    return Page(rows, page.cursors, page.page_info, page.total_count if request.total else None)


def plain_sql(request: plans.PageRequest, _given: plans.Arguments) -> str:
    return f"a page of {request.columns}"


def list_of_keys(data: object) -> object:
    """The names in an answer, in their order, which comparing dicts does not see."""
    if isinstance(data, dict):
        return [(name, list_of_keys(value)) for name, value in data.items()]
    return [list_of_keys(item) for item in data] if isinstance(data, list) else None
