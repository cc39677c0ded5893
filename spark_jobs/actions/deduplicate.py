"""`deduplicate`: one row per key."""

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_jobs.actions.base import Action, Inputs, Names, Outcome, Parameters, only
from spark_jobs.columns import column, fields_of, fresh_names
from spark_jobs.errors import WrongType
from spark_jobs.fingerprint import hash_of_row

_DIRECTED = re.compile(r"\s*(?P<column>.*\S)\s+(?P<direction>asc|desc)\s*", re.IGNORECASE)


class Ordering(Parameters):
    """A column and its direction."""

    column: str
    direction: Literal["asc", "desc"] = "asc"


def _ordering(given: object) -> object:
    """`"updated_at desc"` is short for `{"column": "updated_at", "direction": "desc"}`."""
    if not isinstance(given, str):
        return given
    if directed := _DIRECTED.fullmatch(given):
        return {"column": directed["column"], "direction": directed["direction"].lower()}
    return {"column": given}


def _orderings(given: object) -> object:
    return [given] if isinstance(given, str | dict) else given


class Deduplicate(Parameters):
    """`keys`: the columns that tell rows apart; `order_by`: of the rows with equal keys the first in this order stays."""

    keys: Annotated[Names, Field(min_length=1)]
    order_by: Annotated[list[Annotated[Ordering, BeforeValidator(_ordering)]], BeforeValidator(_orderings)] = []


def deduplicate(inputs: Inputs, parameters: Deduplicate) -> Outcome:
    """Of all rows with equal keys keep the first by `order_by`, then by all columns from left to right.

    Null is a key like any other. In ascending order nulls come first, in descending order last. Same columns.
    """
    rows = only(inputs)
    keys = [field.name for field in fields_of(rows, parameters.keys)]
    for field in fields_of(rows, [*keys, *(ordering.column for ordering in parameters.order_by)]):
        if not _is_orderable(field.dataType):
            raise WrongType(f"the column `{field.name}` is {field.dataType.simpleString()}, which has no order")
    order = [_directed(ordering) for ordering in parameters.order_by] + _tie_breakers(rows)
    [place] = fresh_names(rows, "_place_")
    number = F.row_number().over(Window.partitionBy(*map(column, keys)).orderBy(*order))
    ranked = rows.select(*map(column, rows.columns), number.alias(place))
    return Outcome(ranked.where(column(place) == 1).drop(place))


def _directed(ordering: Ordering) -> Column:
    return column(ordering.column).asc() if ordering.direction == "asc" else column(ordering.column).desc()


def _tie_breakers(rows: DataFrame) -> list[Column]:
    """All columns, so that ties fall the same way every time; what has no order goes by its hash."""
    orderable = [column(field.name).asc() for field in rows.schema.fields if _is_orderable(field.dataType)]
    return orderable if len(orderable) == len(rows.columns) else [*orderable, hash_of_row(rows.schema).asc()]


def _is_orderable(kind: T.DataType) -> bool:
    match kind:
        case T.MapType() | T.VariantType():
            return False
        case T.ArrayType():
            return _is_orderable(kind.elementType)
        case T.StructType():
            return all(_is_orderable(field.dataType) for field in kind.fields)
        case _:
            return True


DEDUPLICATE = Action(Deduplicate, deduplicate)
