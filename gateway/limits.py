"""How much may one operation ask for?

Before execution, one pass over the document measures depth, aliases, fields and cost. Every selection set
is visited once, fragments included, so the work grows with the document and not with what it expands to.

Cost is the sum over all fields, where lists multiply what is selected below them:

* Any field costs 1; `totalCount`, `actions`, `delivery` and `statistics` cost 10, `audience` 200 (they are queries of
  their own).
* A connection, which is a field with an argument `first`, costs 1, plus the page size times what is
  selected below its `edges` and `nodes`, plus once whatever else is selected on it. The lists `edges` and
  `nodes` themselves cost nothing. So it is with subscriptions, whose lists are `exports`, `campaigns` and
  `notifications`: what is measured is one event.
* The page size is the greater of `first` and `last`, then the default of `first` in the schema, then
  `Limits.default_page_size`. A value that cannot be known counts as `Limits.max_page_size`.
* A list field with a list argument `ids` multiplies by the number of ids, any other list of objects by
  `Limits.list_size`. Lists of leaf values multiply nothing, for nothing is selected below them.
* Introspection costs 1 a field: its lists grow with the schema, and `MaxIntrospectionDepthRule` bounds their nesting.

The measure is an upper bound: `@skip` and `@include` count as included, fragments on different types of one
abstract field are added up, and fields selected twice count twice. Every sum saturates at `SATURATED`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLCompositeType,
    GraphQLError,
    GraphQLField,
    GraphQLNamedType,
    GraphQLOutputType,
    GraphQLSchema,
    GraphQLSyntaxError,
    InlineFragmentNode,
    IntValueNode,
    Lexer,
    ListValueNode,
    NullValueNode,
    OperationDefinitionNode,
    SelectionNode,
    Source,
    TokenKind,
    ValueNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    get_operation_ast,
    is_composite_type,
    is_introspection_type,
    is_list_type,
)
from graphql.utilities.coerce_input_value import coerce_default_value
from graphql.validation.rules import overlapping_fields_can_be_merged
from strawberry.extensions import SchemaExtension
from strawberry.schema.schema import validate_document
from strawberry.types import ExecutionContext

# Comparing fields of one name can take validation over a second. This bounds it to a tenth; it is there to be assigned.
overlapping_fields_can_be_merged.MAX_COMPLEXITY_BUDGET = 50_000

# The greatest number of a `Measure`: it stands for this many or more.
SATURATED = 10**9
# What a field costs beyond the 1 of any other: statements of its own, of which the audience's reads all contacts.
_COSTS = {"totalCount": 10, "actions": 10, "delivery": 10, "statistics": 10, "audience": 200}
# The lists of the field above them: of a connection, or of what a subscription shows of one.
_PAGE_LISTS = frozenset({"edges", "nodes", "exports", "campaigns", "notifications"})
_OPENING = frozenset({TokenKind.BRACE_L, TokenKind.BRACKET_L, TokenKind.PAREN_L})
_CLOSING = frozenset({TokenKind.BRACE_R, TokenKind.BRACKET_R, TokenKind.PAREN_R})


@dataclass(frozen=True, slots=True)
class Limits:
    """What one operation may ask for at most, and the sizes assumed where a document does not tell.

    `max_introspection_depth` takes the place of `max_depth` below `__schema` and `__type`.
    """

    max_depth: int = 15
    max_aliases: int = 100
    max_fields: int = 2000
    max_cost: int = 50_000
    max_page_size: int = 100
    list_size: int = 10
    default_page_size: int = 20
    max_introspection_depth: int = 30


@dataclass(frozen=True, slots=True)
class Measure:
    """What one operation asks for, with all its fragments expanded.

    `depth` counts nested fields (`{ a }` is 1). Fields below `__schema` and `__type` count towards
    `introspection_depth` (with that field itself, 0 without introspection), and not towards `depth`.
    """

    depth: int
    aliases: int
    fields: int
    cost: int
    introspection_depth: int = 0


def measure(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    variables: Mapping[str, object],
    limits: Limits,
) -> Measure:
    """Measure `operation` of `document`, given its variable values as they came with the request.

    Never recurses, nor raises on an invalid document: an unknown field counts 1, an unknown fragment and the
    second turn of a fragment cycle nothing.
    """
    fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
    defaults = {v.variable.name.value: v.default_value for v in operation.variable_definitions or ()}
    tally = _Walk(schema, fragments, variables, defaults, limits).tally(operation)
    cost = min(tally.cost + limits.list_size * tally.page_cost, SATURATED)
    return Measure(tally.depth, tally.aliases, tally.fields, cost, tally.introspection_depth)


def document_limits(
    source: str, max_tokens: int = 5000, max_nesting: int = 60, max_characters: int = 100_000
) -> GraphQLError | None:
    """Refuse a document that is too long or too deeply nested to be parsed, reading it once as tokens.

    A token may be a text of any length, so characters are counted too: documents are kept.

    Returns an error with the code `QUERY_TOO_COMPLEX` whose `value` says where counting stopped (one more
    than the maximum), or None when all is well or when a token is malformed, which the parser reports.
    Comments count as tokens; braces, brackets and parentheses all count as nesting.

    The defaults were measured with graphql-core 3.3.2: parsing takes at most 4 stack frames a level and validation 3,
    so 60 levels take about 250 of Python's 1000 frames, beside those of the server. Chains of fragments are not
    nested in the source: validation itself refuses those beyond 200 selections.
    """
    # Instead of Strawberry's MaxTokensLimiter, whose parser knows no nesting and has built half a document by then.
    if len(source) > max_characters:
        return _too_complex("characters", len(source), max_characters)
    lexer = Lexer(Source(source))
    tokens = nesting = end = 0
    while tokens <= max_tokens and nesting <= max_nesting:
        try:
            # Not advance(): it skips comments unseen, and links all tokens so that none can be freed.
            token = lexer.read_next_token(end)
        except GraphQLSyntaxError:
            return None
        if token.kind is TokenKind.EOF:
            return None
        end = token.end
        tokens += 1
        # A stray closing bracket cannot buy more nesting: the parser goes no further than that bracket.
        nesting += (token.kind in _OPENING) - (token.kind in _CLOSING)
    if tokens > max_tokens:
        return _too_complex("tokens", tokens, max_tokens)
    return _too_complex("nesting", nesting, max_nesting)


def limits_extension(limits: Limits) -> Callable[[], SchemaExtension]:
    """Make the extension that refuses operations beyond `limits`: `Schema(extensions=[limits_extension(x)])`.

    All broken limits are reported at once, each as an error with the extensions `code`
    (`QUERY_TOO_COMPLEX`), `limit` (its name), `value` and `maximum`; nothing is executed then. List it
    after `ValidationCache`, which replaces the errors it finds.
    """
    return partial(_LimitsExtension, limits)


class _LimitsExtension(SchemaExtension):
    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self._limits = limits

    def on_validate(self) -> Iterator[None]:
        # Strawberry validates while this hook is suspended and has acted on the errors by the time it
        # resumes. So validation runs here; Strawberry then skips it, as the errors are a list already.
        context = self.execution_context
        if context.graphql_document is not None:
            context.pre_execution_errors = self._errors(context, context.graphql_document)
        yield

    def _errors(self, context: ExecutionContext, document: DocumentNode) -> list[GraphQLError]:
        schema = context.schema._schema  # noqa: SLF001 - Strawberry gives no public way to the graphql-core schema.
        errors = context.pre_execution_errors
        if errors is None and context.validation_rules:
            errors = validate_document(schema, document, context.validation_rules)
        operation = get_operation_ast(document, context.operation_name)
        if errors or operation is None:
            return errors or []
        measured = measure(schema, document, operation, context.variables or {}, self._limits)
        return errors_beyond(measured, self._limits, operation)


def errors_beyond(measured: Measure, limits: Limits, operation: OperationDefinitionNode) -> list[GraphQLError]:
    """An error for each limit that the operation breaks, with the code `QUERY_TOO_COMPLEX`."""
    counted = held_against(measured, limits)
    return [_too_complex(limit, value, most, operation) for limit, value, most in counted if value > most]


def held_against(measured: Measure, limits: Limits) -> list[tuple[str, int, int]]:
    """The name of each limit, what the operation asks for, and what it may ask for at most."""
    return [
        ("depth", measured.depth, limits.max_depth),
        ("introspection_depth", measured.introspection_depth, limits.max_introspection_depth),
        ("aliases", measured.aliases, limits.max_aliases),
        ("fields", measured.fields, limits.max_fields),
        ("cost", measured.cost, limits.max_cost),
    ]


def _too_complex(
    limit: str, value: int, maximum: int, operation: OperationDefinitionNode | None = None
) -> GraphQLError:
    return GraphQLError(
        f"Query too complex: {limit} is {value} and may be at most {maximum}.",
        operation,
        extensions={"code": "QUERY_TOO_COMPLEX", "limit": limit, "value": value, "maximum": maximum},
    )


@dataclass(slots=True)
class _Tally:
    """The sums of one selection set.

    `page_cost` is the cost of one item of its lists that are a page's. How many there are is known to the
    field above only, so a fragment has one tally wherever it is spread.
    """

    depth: int = 0
    introspection_depth: int = 0
    aliases: int = 0
    fields: int = 0
    cost: int = 0
    page_cost: int = 0

    def add(self, other: "_Tally") -> None:
        self.depth = max(self.depth, other.depth)
        self.introspection_depth = max(self.introspection_depth, other.introspection_depth)
        self.aliases = min(self.aliases + other.aliases, SATURATED)
        self.fields = min(self.fields + other.fields, SATURATED)
        self.cost = min(self.cost + other.cost, SATURATED)
        self.page_cost = min(self.page_cost + other.page_cost, SATURATED)


@dataclass(slots=True)
class _Frame:
    """A selection set being walked: whose it is, what is left of it, and its sums so far."""

    node: OperationDefinitionNode | FragmentDefinitionNode | InlineFragmentNode | FieldNode
    type: GraphQLCompositeType | None
    pending: Iterator[SelectionNode]
    definition: GraphQLField | None = None
    tally: _Tally = field(default_factory=_Tally)


@dataclass(slots=True)
class _Walk:
    """One pass over one operation, with a stack of its own in place of Python's."""

    schema: GraphQLSchema
    fragments: Mapping[str, FragmentDefinitionNode]
    variables: Mapping[str, object]
    defaults: Mapping[str, ValueNode | None]
    limits: Limits
    # By name alone: a fragment's type condition is the parent type of its fields wherever it is spread.
    tallies: dict[str, _Tally] = field(default_factory=dict)

    def tally(self, operation: OperationDefinitionNode) -> _Tally:
        root = self.schema.get_root_type(operation.operation)
        result = _Frame(operation, root, iter(operation.selection_set.selections))
        stack = [result]
        while stack:
            frame = stack[-1]
            selection = next(frame.pending, None)
            if selection is None:
                stack.pop()
                if stack:
                    stack[-1].tally.add(self._leave(frame))
            elif below := self._enter(selection, frame):
                stack.append(below)
        return result.tally

    def _enter(self, selection: SelectionNode, frame: _Frame) -> _Frame | None:
        """Return the selection set below `selection`, or add it to `frame` if there is none to walk."""
        if isinstance(selection, FieldNode):
            return self._enter_field(selection, frame)
        if isinstance(selection, InlineFragmentNode):
            condition = selection.type_condition
            parent = _composite(self.schema.get_type(condition.name.value)) if condition else frame.type
            return _Frame(selection, parent, iter(selection.selection_set.selections))
        if isinstance(selection, FragmentSpreadNode):
            return self._enter_spread(selection.name.value, frame)
        return None

    def _enter_field(self, node: FieldNode, frame: _Frame) -> _Frame | None:
        definition = self.schema.get_field(frame.type, node.name.value) if frame.type else None
        if node.selection_set is None:
            frame.tally.add(self._field(node, definition, _Tally()))
            return None
        below = _composite(get_named_type(definition.type)) if definition else None
        return _Frame(node, below, iter(node.selection_set.selections), definition)

    def _enter_spread(self, name: str, frame: _Frame) -> _Frame | None:
        if name in self.tallies:
            frame.tally.add(self.tallies[name])
            return None
        if name not in self.fragments:
            return None
        fragment = self.fragments[name]
        self.tallies[name] = _Tally()  # A spread of it below itself adds this nothing: no endless turn.
        parent = _composite(self.schema.get_type(fragment.type_condition.name.value))
        return _Frame(fragment, parent, iter(fragment.selection_set.selections))

    def _leave(self, frame: _Frame) -> _Tally:
        """Return what the finished `frame` adds to the selection set above it."""
        if isinstance(frame.node, FieldNode):
            return self._field(frame.node, frame.definition, frame.tally)
        if isinstance(frame.node, FragmentDefinitionNode):
            self.tallies[frame.node.name.value] = frame.tally
        return frame.tally

    def _field(self, node: FieldNode, definition: GraphQLField | None, below: _Tally) -> _Tally:
        introspects = node.name.value in ("__schema", "__type")
        cost, page_cost = self._cost(node, definition, below)
        return _Tally(
            depth=1 if introspects else 1 + below.depth,
            introspection_depth=1 + below.depth if introspects else below.introspection_depth,
            aliases=below.aliases + (node.alias is not None),
            fields=below.fields + 1,
            cost=cost,
            page_cost=page_cost,
        )

    def _cost(  # noqa: PLR0911 - a kind of field, a return
        self, node: FieldNode, definition: GraphQLField | None, below: _Tally
    ) -> tuple[int, int]:
        """Return the cost of a field and, if it is a page's own list, the cost of one item of that page."""
        own = _COSTS.get(node.name.value, 1)
        if node.selection_set is None:
            return own, 0
        nested = below.cost + self.limits.list_size * below.page_cost
        if definition is None or is_introspection_type(get_named_type(definition.type)):
            return own + nested, 0
        levels = _list_levels(definition.type)
        if levels > 1:
            nested *= self.limits.list_size ** (levels - 1)
        if "first" in definition.args:
            page = self._page_size(node, definition)
            return own + (page * nested if levels else below.cost + page * below.page_cost), 0
        if not levels:
            return own + nested, 0
        ids = definition.args.get("ids")
        if ids is not None and is_list_type(get_nullable_type(ids.type)):
            return own + self._ids(node) * nested, 0
        if node.name.value in _PAGE_LISTS:
            return 0, nested
        return own + self.limits.list_size * nested, 0

    def _page_size(self, node: FieldNode, definition: GraphQLField) -> int:
        given = [self._value(a.value) for a in node.arguments or () if a.name.value in ("first", "last")]
        if not given:
            default = coerce_default_value(definition.args["first"])
            return default if isinstance(default, int) else self.limits.default_page_size
        # Clients pass `first: $first, last: $last` with one of them absent: the known one counts.
        known = [value for value in given if isinstance(value, int) and not isinstance(value, bool)]
        return max(0, *known) if known else self.limits.max_page_size

    def _ids(self, node: FieldNode) -> int:
        """Return how many ids a field is given."""
        given = [self._value(a.value) for a in node.arguments or () if a.name.value == "ids"]
        if not given:
            return self.limits.list_size
        if given[0] is None:
            return self.limits.max_page_size
        # A single value is coerced to a list of one: https://spec.graphql.org/draft/#sec-List.Input-Coercion
        return len(given[0]) if isinstance(given[0], list | tuple) else 1

    def _value(self, node: ValueNode | None) -> object:
        """Return an integer, a list of anything, some other object, or None if null or not known."""
        if isinstance(node, VariableNode):
            name = node.name.value
            if name in self.variables:
                return self.variables[name]
            node = self.defaults.get(name)
        if isinstance(node, ListValueNode):
            return node.values
        if isinstance(node, IntValueNode):
            # int() refuses thousands of digits. One more than SATURATED has, or its sign, is enough.
            return int(node.value[: len(str(SATURATED)) + 1])
        return None if isinstance(node, NullValueNode) else node


def _composite(type_: GraphQLNamedType | None) -> GraphQLCompositeType | None:
    return type_ if is_composite_type(type_) else None


def _list_levels(type_: GraphQLOutputType) -> int:
    """Return how many lists are wrapped around a type: 2 for `[[T!]!]!`."""
    levels = 0
    while is_list_type(inner := get_nullable_type(type_)):
        type_ = inner.of_type
        levels += 1
    return levels
