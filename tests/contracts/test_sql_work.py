"""The SQL guard's work grows with the length of a text, whatever the text says."""

from collections.abc import Callable

import pytest
from sqlglot.parsers.spark import SparkParser

from contracts.errors import SqlRefused
from contracts.sql_dialect import FEWEST_STEPS, MOST_WORDS, STEPS_PER_WORD
from contracts.sql_guard import MAX_QUERY_LENGTH, check_condition, check_query

BOMBS = [
    ("struct(", ")"),
    ("date (", ")"),
    ("timestamp(", ")"),
    ("decimal(", ")"),
    ("string(", ")"),
    ("array(", ")"),
    ("map(", ")"),
    ("struct(date(", "))"),
    ("cast(1 AS array<", ">)"),
    ("transform(a, x -> struct(", "))"),
    ("CASE WHEN struct(", ") = 1 THEN 1 END"),
]
TYPES = ["array<", "map<", "struct<a: ", "struct<a: array<map<int, "]


@pytest.fixture
def count_steps(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Fails the test when a text takes more steps than any may: some tens of thousands, of some microseconds each."""
    left = 0
    advance = SparkParser._advance

    def counted(parser: SparkParser, times: int = 1) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            pytest.fail("the parser goes on and on")
        advance(parser, times)

    monkeypatch.setattr(SparkParser, "_advance", counted)

    def start() -> None:
        nonlocal left
        left = FEWEST_STEPS + STEPS_PER_WORD * MOST_WORDS

    return start


def _judge(check: Callable[[str], None], text: str) -> str:
    try:
        check(text)
    except SqlRefused as refusal:
        return refusal.reason
    return ""


@pytest.mark.parametrize("depth", range(10, 61, 10))
@pytest.mark.parametrize(("opening", "closing"), BOMBS)
def test_nested_calls_take_bounded_work(opening: str, closing: str, depth: int, count_steps: Callable[[], None]) -> None:
    bomb = opening * depth + "1" + closing * depth
    for check, text in ((lambda query: check_query(query, ["source"]), f"SELECT {bomb} FROM source"), (check_condition, f"{bomb} = 1")):
        count_steps()
        reason = _judge(check, text)
        if depth > 20 and "struct(" in opening:
            assert "nest" in reason


@pytest.mark.parametrize("depth", range(10, 61, 10))
@pytest.mark.parametrize("opening", TYPES)
def test_nested_types_take_bounded_work(opening: str, depth: int, count_steps: Callable[[], None]) -> None:
    typed = f"CAST(a AS {opening * depth}int{'>' * opening.count('<') * depth})"
    count_steps()
    _judge(check_condition, f"{typed} IS NULL")
    _judge(lambda query: check_query(query, ["source"]), f"SELECT {typed} FROM source")
    count_steps()
    _judge(check_condition, f"{opening * depth}int{'>' * opening.count('<') * depth}")


def test_what_is_refused_says_what_to_do() -> None:
    with pytest.raises(SqlRefused, match=r"the condition takes too long to understand: nest calls and types less deeply"):
        check_condition("struct(" * 40 + "1" + ")" * 40)


@pytest.mark.parametrize("inner", ["`" + "a " * 40_000 + "`", "a" * 80_000, "1 /* */" * 10_000, "'" + "a" * 80_000 + "'"])
def test_what_is_tried_again_may_be_long(inner: str) -> None:
    """Each attempt takes time for the length of a word and for comments: few attempts are made at such."""
    with pytest.raises(SqlRefused):
        check_condition("struct(" * 12 + inner + ")" * 12)


def test_a_hint_is_not_read() -> None:
    with pytest.raises(SqlRefused, match="hints are not allowed"):
        check_query(f"SELECT /*+ {'struct(' * 40} */ 1", ["source"])


@pytest.mark.parametrize(
    ("start", "part", "end"),
    [
        ("SELECT 'a'", "::date", ""),
        ("SELECT a", ".f()", ""),
        ("SELECT INTERVAL '", "1", "'"),
        ("SELECT INTERVAL '", " ", "'"),
        ("SELECT * FROM ", "source,", "source"),
        ("SELECT ", "(1),", "1"),
        ("SELECT ", "source.a,", "1"),
        ("SELECT ", "/* */", "1"),
        ("SELECT a", "[1]", ""),
        ("SELECT ", "a[1],", "1"),
        ("SELECT a", "+a", ""),
        ("SELECT ", "struct(date(a), 1), ", "1"),
        ("SELECT ", "struct(date(struct(date(a)))), ", "1"),
        ("SELECT ", "struct(struct(struct(struct(struct(struct(a)))))), ", "1"),
    ],
)
def test_the_longest_texts(start: str, part: str, end: str, count_steps: Callable[[], None]) -> None:
    parts = (MAX_QUERY_LENGTH - len(start) - len(end)) // len(part)
    count_steps()
    _judge(lambda query: check_query(query, ["source"]), start + part * parts + end)


@pytest.mark.parametrize(("start", "part"), [("SELECT a", "+a"), ("SELECT a", "[1]"), ("SELECT a", ",a")])
def test_the_parser_sees_no_more_words_than_are_read(start: str, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SparkParser, "_advance", None)
    with pytest.raises(SqlRefused, match=r"the condition has \d\d,\d\d\d words and signs; at most 20,000 are accepted"):
        check_condition(start + part * ((MAX_QUERY_LENGTH - len(start)) // len(part)))


@pytest.mark.parametrize(
    "pivot",
    [
        "sum(a) FOR " + " ".join(f"c{column} IN ({', '.join(map(str, range(100)))})" for column in range(10)),
        ", ".join(f"sum(a) AS s{number}" for number in range(3_000)) + f" FOR c IN ({', '.join(map(str, range(7_000)))})",
    ],
)
def test_combinations_of_a_pivot_are_not_listed(pivot: str) -> None:
    _judge(lambda query: check_query(query, ["source"]), f"SELECT * FROM source PIVOT ({pivot})")


@pytest.mark.parametrize(
    "query",
    [
        "SELECT " + "abs(" * 12 + "a" + ")" * 12 + " FROM source",
        "SELECT " + "struct(" * 6 + "a" + ")" * 6 + ", " + "string(date(" * 3 + "a" + "))" * 3 + " FROM source",
        "SELECT " + "CASE WHEN a > 1 THEN " * 12 + "1" + " END" * 12 + " FROM source",
        "SELECT * FROM " + "(SELECT * FROM " * 10 + "source" + ")" * 10,
        "SELECT CAST(a AS " + "array<struct<b: map<string, " * 3 + "int" + ">>>" * 3 + ") FROM source",
        f"SELECT * FROM source WHERE a IN ({', '.join(map(str, range(9_900)))})",
        "SELECT * FROM source WHERE " + " AND ".join(["a = 1"] * 4_900),
        "SELECT " + ", ".join(["a"] * 9_900) + " FROM source",
        "SELECT " + "+".join(["1"] * 9_900) + " FROM source",
        "SELECT " + ", ".join(["date(a)"] * 3_900) + " FROM source",
        "SELECT " + ", ".join(["struct(date(a), 1)"] * 1_900) + " FROM source",
        " UNION ALL ".join(["SELECT * FROM source"] * 3_000),
        "WITH " + ", ".join(f"c{number} AS (SELECT 1)" for number in range(2_800)) + " SELECT * FROM c1",
        "SELECT '" + "a" * 99_000 + "'",
        "SELECT INTERVAL '1 year 2 months 3 days 4 hours 5 minutes 6.789 seconds'",
        "SELECT * FROM source PIVOT (sum(a) AS s, avg(a) FOR (b, c) IN ((1, 2) AS x, (3, 4)))",
    ],
)
def test_honest_queries_have_steps_enough(query: str) -> None:
    check_query(query, ["source"])
