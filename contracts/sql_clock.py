"""Text that Spark reads as the present time where it becomes a date or a timestamp: 'now', 'today' and their like.

As text they are words like any other. Only the text itself is judged here; who asks knows that it is made a time.
"""

import re
from collections.abc import Iterable, Iterator

from sqlglot import exp

# As Spark reads them: blanks and control characters around, any case, perhaps a zone. 'epoch' is the same whenever it is asked.
_WORD = re.compile(r"[\x00-\x20]*(now|today|tomorrow|yesterday)(?![a-z])", re.IGNORECASE)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TIMES = frozenset(
    {
        exp.DType.DATE,
        exp.DType.DATETIME,
        exp.DType.TIMESTAMP,
        exp.DType.TIMESTAMPTZ,
        exp.DType.TIMESTAMPLTZ,
        exp.DType.TIMESTAMPNTZ,
    }
)

_READ_TEXT = _names(
    """
    add_months convert_timezone date date_add date_diff date_format date_part date_sub date_trunc dateadd datediff datepart day
    dayname dayofmonth dayofweek dayofyear from_utc_timestamp hour last_day minute month monthname months_between next_day
    quarter second sequence timestamp timestampadd timestampdiff to_date to_timestamp to_timestamp_ltz to_timestamp_ntz
    to_unix_timestamp to_utc_timestamp trunc try_to_date try_to_timestamp unix_date unix_micros unix_millis unix_seconds
    unix_timestamp weekday weekofyear window year
    """
)
"""Functions that make a time of the text they are given."""


def means_present_time(text: str) -> bool:
    """Whether Spark makes the present time, or one counted from it, of the constant `text`."""
    return _WORD.match(text) is not None


def present_times(nodes: Iterable[exp.Expr]) -> Iterator[exp.Expr]:
    """The constant texts among all `nodes` of a tree that are made the present time there, as far as the query alone tells."""
    return (node for node in nodes if _is_text(node) and means_present_time(node.name) and _becomes_time(node))


def _becomes_time(text: exp.Expr) -> bool:
    """Whether what stands around `text`, with only parentheses and casts between, makes a time of it."""
    value = text
    while isinstance(around := value.parent, exp.Paren | exp.Cast) and value is around.this:
        if isinstance(around, exp.Cast) and around.to.this in _TIMES:
            return True
        value = around
    if isinstance(around, exp.Extract):
        return value is around.expression
    return isinstance(around, exp.Anonymous) and around.name.lower() in _READ_TEXT and value.arg_key == "expressions"


def _is_text(value: exp.Expr) -> bool:
    return value.is_string or isinstance(value, exp.RawString)
