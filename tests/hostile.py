"""How much hostile input the tests make up: little with `make test`, more with `make security`."""

import json
import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

SIZE = int(os.environ.get("STRATUM_TEST_HOSTILE", "1"))
"""How many times as many examples as usual."""


def examples(usual: int) -> settings:
    """Settings of a test that makes so many examples, times `SIZE`."""
    kept = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
    return settings(max_examples=usual * SIZE, deadline=None, suppress_health_check=kept, database=None, derandomize=SIZE == 1)


class Raw:
    """JSON as it is written, where no Python value writes it."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"Raw({self.text[:40]!r})"


NASTY: list[Any] = [
    None, True, -1, 0, 1.5, 2**63, 10**400, "", " ", "..", "../../x", "/", "a/../b",
    "\u0000", "\u202e", "é" * 500, "x" * 5000, [], {}, [[]],
    {"": ""}, ["x"] * 2000, Raw("1e999"), Raw("-1e999"), Raw("NaN"), Raw('"\\ud800"'), Raw("[" * 500 + "]" * 500), Raw("9" * 6000),
    Raw('{"a": 1, "a": 2}'), Raw("1e-400"), Raw("0.1e38"), Raw("-0"),
]  # fmt: skip
"""Values that a field of almost any type does not expect."""


def written(value: Any) -> str:
    """As JSON, raw parts as they are."""
    match value:
        case Raw():
            return value.text
        case dict():
            return "{" + ",".join(f"{json.dumps(name)}:{written(child)}" for name, child in value.items()) + "}"
        case list():
            return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value)


def places(document: Any) -> list[tuple[Any, ...]]:
    """Paths of all values in a JSON document, the document itself too."""
    below: list[tuple[Any, ...]] = [()]
    items = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    for name, child in items:
        below += [(name, *rest) for rest in places(child)]
    return below


def replaced(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    """The document with another value at a place."""
    if not place:
        return value
    copy = document.copy()
    copy[place[0]] = replaced(document[place[0]], place[1:], value)
    return copy


def spoiled(document: Any) -> st.SearchStrategy[bytes]:
    """The JSON document, wrong in one to three places; or cut off; or with a byte changed; or garbage."""

    def changed(changes: list[tuple[tuple[Any, ...], Any]]) -> bytes:
        result = document
        for place, value in changes:
            try:
                result = replaced(result, place, value)
            except (AttributeError, TypeError, KeyError, IndexError):
                continue  # the place is gone with an earlier change
        return written(result).encode()

    whole = written(document).encode()
    change = st.tuples(st.sampled_from(places(document)), st.sampled_from(NASTY))
    return st.one_of(
        st.lists(change, min_size=1, max_size=3).map(changed),
        st.integers(0, len(whole) - 1).map(lambda end: whole[:end]),
        st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)).map(lambda at: whole[: at[0]] + bytes([at[1]]) + whole[at[0] + 1 :]),
        st.binary(max_size=200),
    )
