"""What the `sql` action accepts: one SELECT over declared views, with functions that always give the same answer.

The control plane asks here when it accepts a process, the job asks again before it runs it. The rules name what is allowed;
all else is refused. Spark's own parser has the last word in the job, since two parsers may read one text differently.
"""

import difflib
import re
from collections.abc import Collection, Iterator, Sequence

from sqlglot import exp
from sqlglot.errors import SqlglotError

from contracts.errors import SqlRefused
from contracts.sql_clock import present_times
from contracts.sql_dialect import MOST_WORDS, TooManyWords, TooMuchWork, statements
from contracts.sql_functions import (
    ALLOWED,
    ALLOWED_SYNTAX,
    CLOCK_NAMES,
    CLOCK_WITHOUT_ARGUMENTS,
    DENIED,
    ORDER_DEPENDENT,
    TABLE_FUNCTIONS,
)

MAX_QUERY_LENGTH = 100_000

_REFUSED_CLAUSES: dict[type[exp.Expr], str] = {
    exp.TableSample: "TABLESAMPLE gives other rows each time",
    exp.QueryTransform: "TRANSFORM … USING runs a program",
    exp.Version: "time travel is not allowed: name another data version's dataset in `inputs`",
    exp.Placeholder: "the query has a parameter without a value: write the value into the query",
    exp.Parameter: "the query has a variable without a value: write the value into the query",
    exp.Distribute: "DISTRIBUTE BY is not allowed: the platform chooses how rows are spread; order them by ORDER BY",
    exp.Cluster: "CLUSTER BY is not allowed: the platform chooses how rows are spread; order them by ORDER BY",
    exp.Into: "SELECT INTO writes a table: the result becomes the output dataset by itself",
    exp.Lock: "FOR UPDATE and FOR SHARE have no meaning here",
    exp.Command: "only SELECT is allowed",
    exp.DDL: "only SELECT is allowed",
    exp.DML: "only SELECT is allowed",
}
_REFUSED = tuple(_REFUSED_CLAUSES)


def check_query(query: str, views: Collection[str]) -> None:
    """Return quietly when `query` may run over `views` (their names; case does not matter).

    Raises:
        SqlRefused: it may not; the message says why and what to change.
    """
    tree = _parse_one(query, "query")
    if not isinstance(tree, exp.Query):
        raise SqlRefused("only SELECT is accepted (WITH, UNION, INTERSECT and EXCEPT included)")
    nodes = tuple(tree.walk())
    _check_clauses(nodes, query)
    _check_tables(nodes, query, views)
    _check_functions(nodes, query)
    _check_clock(nodes, query)


def check_condition(condition: str) -> None:
    """Return quietly when `condition` is one expression that may stand in WHERE.

    Raises:
        SqlRefused: it holds a query, more than one expression, or a function that is not allowed.
    """
    tree = _parse_one(condition, "condition")
    if tree.find(exp.Query, exp.DDL, exp.DML, exp.Command):
        raise SqlRefused("a condition is one expression like `dep_delay > 15`; for queries there is the action `sql`")
    if isinstance(tree, exp.Alias):
        raise SqlRefused(f"the condition goes on after its end, near `{tree.alias}`", _position(tree.args["alias"], condition))
    nodes = tuple(tree.walk())
    _check_clauses(nodes, condition)
    _check_functions(nodes, condition)
    _check_clock(nodes, condition)


def check_function(name: str) -> None:
    """Return quietly when a query may call the built-in function `name`.

    Raises:
        SqlRefused: it is denied, or unknown.
    """
    if reason := DENIED.get(name.lower()):
        raise SqlRefused(f"the function `{name}` is not allowed: it {reason}")
    if name.lower() not in ALLOWED and name.lower() not in ALLOWED_SYNTAX:
        raise SqlRefused(f"the function `{name}` is unknown{_suggest(name.lower(), ALLOWED)}")


def _parse_one(text: str, what: str) -> exp.Expr:
    if len(text) > MAX_QUERY_LENGTH:
        raise SqlRefused(f"the {what} has {len(text):,} characters; at most {MAX_QUERY_LENGTH:,} are accepted")
    try:
        found = statements(text)
    except SqlglotError as error:
        raise _syntax_error(error, what) from error
    except RecursionError as error:
        raise SqlRefused(f"the {what} is nested too deeply") from error
    except TooManyWords as error:
        raise SqlRefused(f"the {what} has {error.words:,} words and signs; at most {MOST_WORDS:,} are accepted") from error
    except TooMuchWork as error:
        raise SqlRefused(f"the {what} takes too long to understand: nest calls and types less deeply") from error
    if not found:
        raise SqlRefused(f"the {what} is empty")
    if len(found) > 1:
        raise SqlRefused(f"exactly one statement is accepted; the {what} has {len(found)}")
    return found[0]


def _syntax_error(error: SqlglotError, what: str) -> SqlRefused:
    details = getattr(error, "errors", None)
    if not details:
        return SqlRefused(f"the {what} cannot be read: {error}")
    first = details[0]
    line, column = first.get("line"), first.get("col")
    position = (line, column) if line and column else None
    near = f" near `{first['highlight']}`" if first.get("highlight") else ""
    # the parser names its own classes: `Required keyword: 'expression' missing for <class '...GT'>`
    reason = re.sub(r"^Required keyword: .*", "something is missing there", first.get("description") or "it is no SQL")
    return SqlRefused(f"the {what} cannot be read{near}: {reason}", position)


def _check_clauses(nodes: Sequence[exp.Expr], query: str) -> None:
    for node in nodes:
        if isinstance(node, exp.Select) and not node.expressions:
            raise SqlRefused("a SELECT names what it selects", _position(node, query))
        if isinstance(node, _REFUSED):
            reason = next(reason for refused, reason in _REFUSED_CLAUSES.items() if isinstance(node, refused))
            raise SqlRefused(reason, _position(node, query))


def _check_tables(nodes: Sequence[exp.Expr], query: str, views: Collection[str]) -> None:
    # A name out of its scope passes here and fails in Spark: the session holds nothing but the declared views.
    known = {view.lower() for view in views} | {cte.alias.lower() for cte in nodes if isinstance(cte, exp.CTE)}
    for table in nodes:
        if not isinstance(table, exp.Table):
            continue
        if isinstance(table.this, exp.Anonymous):
            _check_table_function(table.this, query)
            continue
        if table.db or table.catalog:
            raise SqlRefused(
                f"the table `{'.'.join(part.name for part in table.parts)}` is not allowed: only the declared views"
                f" ({_list(views)}) can be read, by their plain names",
                _position(table, query),
            )
        if table.name.lower() not in known:
            raise SqlRefused(
                f"the query reads the table `{table.name}`, which is not declared{_suggest(table.name, views)}; declared: {_list(views)}",
                _position(table, query),
            )


def _check_table_function(call: exp.Anonymous, query: str) -> None:
    if call.name.lower() not in TABLE_FUNCTIONS:
        raise SqlRefused(f"the table function `{call.name}` is not allowed; allowed: {_list(TABLE_FUNCTIONS)}", _position(call, query))


def _check_functions(nodes: Sequence[exp.Expr], query: str) -> None:
    for node, name in _calls(nodes):
        try:
            check_function(name)
        except SqlRefused as refusal:
            raise SqlRefused(refusal.reason, _position(node, query)) from None
        if isinstance(node.parent, exp.Dot) and node.parent.expression is node:
            raise SqlRefused(f"call the function `{name}` by its plain name", _position(node, query))
        if name.lower() in CLOCK_WITHOUT_ARGUMENTS and not node.expressions:
            raise SqlRefused(f"`{name}()` is not allowed: it {DENIED['now']}", _position(node, query))
        if name.lower() in ORDER_DEPENDENT and not _is_ordered(node):
            raise SqlRefused(
                f"the result of `{name}` depends on the order of rows, which is not fixed: wrap it in `sort_array`,"
                " give it an OVER or WITHIN GROUP clause with ORDER BY, or use `min`, `max`, `min_by` or `max_by`",
                _position(node, query),
            )


def _check_clock(nodes: Sequence[exp.Expr], query: str) -> None:
    for column in nodes:
        if not isinstance(column, exp.Column):
            continue
        if column.name.lower() in CLOCK_NAMES and not column.table and not column.this.args.get("quoted"):
            reason = f"`{column.name}` is not allowed: it {DENIED['now']}; a column of that name goes in backquotes"
            raise SqlRefused(reason, _position(column, query))
    for text in present_times(nodes):
        raise SqlRefused(f"the text '{text.name}' is not allowed as a time: it {DENIED['now']}", _position(text, query))


def _calls(nodes: Sequence[exp.Expr]) -> Iterator[tuple[exp.Expr, str]]:
    """Every function call with its name; clock and session values can be written without parentheses too."""
    for node in nodes:
        if isinstance(node, exp.Anonymous):
            yield node, node.name
        elif isinstance(node, exp.Func) and type(node).sql_names()[0].lower() in DENIED:
            yield node, type(node).sql_names()[0].lower()


def _is_ordered(call: exp.Expr) -> bool:
    around = call.parent
    while isinstance(around, exp.Filter | exp.IgnoreNulls | exp.RespectNulls):
        around = around.parent
    if isinstance(around, exp.Window):
        return around.args.get("order") is not None or around.args.get("alias") is not None  # a window named elsewhere
    if isinstance(around, exp.WithinGroup):
        return True
    return isinstance(around, exp.Anonymous) and around.name.lower() in {"sort_array", "array_sort"}


def _position(node: exp.Expr, query: str) -> tuple[int, int] | None:
    """(line, column) of the first word of `node` whose place is known."""
    starts = [start for part in node.walk() if isinstance(start := part.meta.get("start"), int)]
    if not starts:
        return None
    before = query[: min(starts)]
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def _suggest(name: str, known: Collection[str]) -> str:
    nearest = difflib.get_close_matches(name.lower(), [each.lower() for each in known], n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(f'`{each}`' for each in nearest)}?" if nearest else ""


def _list(names: Collection[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))
