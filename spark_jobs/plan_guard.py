"""The last word on queries: what Spark's own parser and analyzer make of them, node by node.

`contracts.sql_guard` reads the text with another parser, and two parsers may differ. What is checked here is the very plan
that runs.
"""

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts.errors import SqlRefused
from contracts.sql_functions import DENIED, TABLE_FUNCTIONS
from contracts.sql_guard import check_function
from spark_jobs.errors import QueryRefused


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PLANS = _words(
    """
    Aggregate Deduplicate Distinct Except Filter Generate GlobalLimit Intersect Join LateralJoin LocalLimit LocalRelation
    Offset OneRowRelation Pivot Project ResolvedInlineTable Sort SubqueryAlias Union UnresolvedHaving UnresolvedInlineTable
    UnresolvedRelation UnresolvedSubqueryColumnAliases UnresolvedTVFAliases UnresolvedTableValuedFunction UnresolvedWith
    Unpivot WithWindowDefinition
    """
)
"""Parsed plans may consist of these and nothing else."""

_SUBQUERIES = frozenset({"Exists", "LateralSubquery", "ListQuery", "ScalarSubquery"})

_CLOCK_OR_SESSION = _words(
    """
    CurrentCatalog CurrentDatabase CurrentDate CurrentTime CurrentTimeZone CurrentTimestamp
    CurrentUser InputFileBlockLength InputFileBlockStart InputFileName LocalTimestamp MonotonicallyIncreasingID Now
    SessionUser SparkPartitionID
    """
)
"""Expressions that the analyzer makes of plain names, such as `user`, where there is no such column."""


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
    plan = spark._jsparkSession.sessionState().sqlParser().parsePlan(query)
    nodes = list(_walk(plan))
    named = {view.lower() for view in views} | {name.lower() for node in nodes for name in _names_in_with(node)}
    for node in nodes:
        if node.is_plan:
            _check_plan(node, named)
        else:
            _check_call(node)
    # The plan that was checked runs, not the text: it is not parsed again.
    jvm: Any = spark._jvm
    rows = DataFrame(jvm.org.apache.spark.sql.classic.Dataset.ofRows(spark._jsparkSession, plan), spark)
    _check_analyzed(rows)
    return rows


def checked_condition(rows: DataFrame, condition: str) -> DataFrame:
    """The `rows` for which `condition` is true. Raises as `checked_query`."""
    expression = rows.sparkSession._jsparkSession.sessionState().sqlParser().parseExpression(condition)
    for node in _walk_expression(expression):
        if node.kind in _SUBQUERIES:
            raise QueryRefused("a condition cannot hold a query; for queries there is the action `sql`")
        _check_call(node)
    result = rows.where(F.expr(condition))
    _check_analyzed(result)
    return result


def _check_plan(node: _Node, named: Collection[str]) -> None:
    if node.kind not in _PLANS:
        raise QueryRefused(f"the query is more than a SELECT over the declared views: it holds `{node.kind}`")
    if node.kind == "UnresolvedRelation":
        parts = list(_items(node.java.multipartIdentifier()))
        if len(parts) != 1 or parts[0].lower() not in named:
            raise QueryRefused(f"the query reads `{'.'.join(parts)}`, which is not a declared view")
    if node.kind == "UnresolvedTableValuedFunction":
        function = ".".join(_items(node.java.name()))
        if function.lower() not in TABLE_FUNCTIONS:
            raise QueryRefused(f"the table function `{function}` is not allowed")


def _check_call(node: _Node) -> None:
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


def _check_analyzed(rows: DataFrame) -> None:
    for node in _walk(rows._jdf.queryExecution().analyzed()):
        if node.kind in _CLOCK_OR_SESSION:
            raise QueryRefused(f"`{node.java.prettyName()}` is not allowed: it {DENIED['now']}, or on who asks")


def _walk(plan: Any) -> Iterator[_Node]:
    """All plans and expressions below and including `plan`, those of subqueries and WITH as well."""
    yield _Node(plan, _class_of(plan), is_plan=True)
    for expression in _items(plan.expressions()):
        yield from _walk_expression(expression)
    for child in (*_items(plan.children()), *_items(plan.innerChildren())):
        yield from _walk(child)


def _walk_expression(expression: Any) -> Iterator[_Node]:
    node = _Node(expression, _class_of(expression), is_plan=False)
    yield node
    if node.kind in _SUBQUERIES:
        yield from _walk(expression.plan())
    for child in _items(expression.children()):
        yield from _walk_expression(child)


def _names_in_with(node: _Node) -> list[str]:
    return [each._1() for each in _items(node.java.cteRelations())] if node.kind == "UnresolvedWith" else []


def _items(sequence: Any) -> Iterator[Any]:
    """A Scala sequence as a Python iterator."""
    iterator = sequence.iterator()
    while iterator.hasNext():
        yield iterator.next()


def _class_of(node: Any) -> str:
    return str(node.getClass().getSimpleName())
