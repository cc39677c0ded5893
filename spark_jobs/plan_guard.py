"""The last word on queries: what Spark's own parser and analyzer make of them, node by node.

`contracts.sql_guard` reads the text with another parser, and two parsers may differ. What is checked here is the very plan
that runs.
"""

import re
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts.errors import SqlRefused
from contracts.sql_clock import means_present_time
from contracts.sql_functions import DENIED, TABLE_FUNCTIONS
from contracts.sql_guard import check_function
from spark_jobs.errors import QueryRefused
from spark_jobs.plan_kinds import CLOCK_OR_SESSION, EXPRESSIONS, FOREIGN_CODE, PLANS, SUBQUERIES

_FILE_METADATA = "_metadata"
"""The hidden column by which Spark tells of the files that a row came from."""

_TIMES = frozenset({"date", "timestamp", "timestamp_ntz"})
"""Types for which Spark knows words such as 'now'."""


class _Node(NamedTuple):
    """A node of Spark's tree: the Java object, its class, and whether it is a plan (or else an expression)."""

    java: Any
    kind: str
    is_plan: bool


def checked_query(spark: SparkSession, query: str, views: Collection[str]) -> DataFrame:
    """The result of `query` over the temporary `views`.

    Raises:
        QueryRefused: Spark sees something in the query that is not allowed.
    """
    parser = spark._jsparkSession.sessionState().sqlParser()
    plan = parser.parsePlan(query)
    nodes = list(_walk(plan))
    named = {view.lower() for view in views} | {name.lower() for node in nodes for name in _names_in_with(node)}
    for node in nodes:
        if node.is_plan:
            _check_plan(node, named)
        else:
            _check_expression(node, parser)
    # The plan that was checked runs, not the text: it is not parsed again.
    jvm: Any = spark._jvm
    rows = DataFrame(jvm.org.apache.spark.sql.classic.Dataset.ofRows(spark._jsparkSession, plan), spark)
    _check_analyzed(rows)
    return rows


def checked_condition(rows: DataFrame, condition: str) -> DataFrame:
    """The `rows` for which `condition` is true. Raises as `checked_query`."""
    parser = rows.sparkSession._jsparkSession.sessionState().sqlParser()
    for node in _walk_expression(parser.parseExpression(condition)):
        if node.kind in SUBQUERIES:
            raise QueryRefused("a condition cannot hold a query; for queries there is the action `sql`")
        _check_expression(node, parser)
    result = rows.where(F.expr(condition))
    _check_analyzed(result)
    return result


def _check_plan(node: _Node, named: Collection[str]) -> None:
    if node.kind not in PLANS:
        raise QueryRefused(f"the query is more than a SELECT over the declared views: it holds `{node.kind}`")
    if node.kind == "UnresolvedRelation":
        parts = list(_items(node.java.multipartIdentifier()))
        if len(parts) != 1 or parts[0].lower() not in named:
            raise QueryRefused(f"the query reads `{'.'.join(parts)}`, which is not a declared view")
    if node.kind == "UnresolvedTableValuedFunction":
        function = ".".join(_items(node.java.name()))
        if function.lower() not in TABLE_FUNCTIONS:
            raise QueryRefused(f"the table function `{function}` is not allowed")


def _check_expression(node: _Node, parser: Any) -> None:
    if node.kind not in EXPRESSIONS:
        raise QueryRefused(f"the query holds `{node.kind}`, which is not allowed")
    if node.kind == "Literal" and node.java.dataType().typeName() in _TIMES:
        _refuse_present_time(_written(node.java.origin(), parser))
    if node.kind == "UnresolvedFunction":
        function = ".".join(_items(node.java.nameParts()))
    elif node.kind == "UnresolvedGenerator":
        function = node.java.name().unquotedString()
    else:
        return
    try:
        check_function(function)
    except SqlRefused as error:
        raise QueryRefused(error.reason) from error


def _written(origin: Any, parser: Any) -> str:
    """The text of a literal such as `DATE 'today'`: the parser has already made a day of it, so it is read again as text."""
    literal = origin.sqlText().get()[origin.startIndex().get() : origin.stopIndex().get() + 1]
    return str(parser.parseExpression(re.sub(r"^\w+", "", literal)).value())


def _refuse_present_time(text: str) -> None:
    if means_present_time(text):
        raise QueryRefused(f"the text '{text}' is not allowed as a time: it {DENIED['now']}")


def _check_analyzed(rows: DataFrame) -> None:
    plan = rows._jdf.queryExecution().analyzed()
    _check_casts(rows.sparkSession, plan)
    for node in _walk(plan):
        if node.kind in SUBQUERIES:
            _check_casts(rows.sparkSession, node.java.plan())
        if node.kind in CLOCK_OR_SESSION:
            raise QueryRefused(f"`{node.java.prettyName()}` is not allowed: it {DENIED['now']}, or on who asks")
        if node.kind in FOREIGN_CODE:
            raise QueryRefused(f"`{node.java.prettyName()}` is not allowed: it {DENIED['reflect']}")
        if node.kind == "AttributeReference" and node.java.name() == _FILE_METADATA and node.java.metadata().contains("__metadata_col"):
            raise QueryRefused(f"the column `{_FILE_METADATA}` is not allowed: it {DENIED['input_file_name']}")


def _check_casts(spark: SparkSession, plan: Any) -> None:
    """Refuse constant texts that are cast to the present time, written or implied as in `t <= 'now'`.

    Spark's own rules tell whether there is a special word at all: the first one puts casts for functions such as `to_date`,
    the second one values for the words. Neither looks into subqueries.
    """
    rules: Any = spark._jvm.org.apache.spark.sql.catalyst.optimizer  # type: ignore[union-attr]
    casts = rules.ReplaceExpressions.apply(plan)
    if casts.fastEquals(rules.SpecialDatetimeValues.apply(casts)):
        return
    for node in _walk(casts):
        if node.kind == "Cast" and node.java.dataType().typeName() in _TIMES and node.java.child().foldable():
            _refuse_present_time(str(node.java.child().eval(None)))


def _walk(plan: Any) -> Iterator[_Node]:
    """All plans and expressions below and including `plan`, those of subqueries and WITH as well."""
    yield _Node(plan, _class_of(plan), is_plan=True)
    for expression in (*_items(plan.expressions()), *_window_definitions(plan)):
        yield from _walk_expression(expression)
    for child in (*_items(plan.children()), *_items(plan.innerChildren())):
        yield from _walk(child)


def _walk_expression(expression: Any) -> Iterator[_Node]:
    node = _Node(expression, _class_of(expression), is_plan=False)
    yield node
    if node.kind in SUBQUERIES:
        yield from _walk(expression.plan())
    for child in _items(expression.children()):
        yield from _walk_expression(child)


def _window_definitions(plan: Any) -> list[Any]:
    """What WINDOW defines: Spark keeps it in a map, where `expressions` does not look."""
    return list(_items(plan.windowDefinitions().values())) if _class_of(plan) == "WithWindowDefinition" else []


def _names_in_with(node: _Node) -> list[str]:
    return [each._1() for each in _items(node.java.cteRelations())] if node.kind == "UnresolvedWith" else []


def _items(sequence: Any) -> Iterator[Any]:
    """A Scala sequence as a Python iterator."""
    iterator = sequence.iterator()
    while iterator.hasNext():
        yield iterator.next()


def _class_of(node: Any) -> str:
    return str(node.getClass().getSimpleName())
