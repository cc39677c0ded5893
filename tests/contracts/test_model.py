"""Canonical JSON, hashes, and the fingerprints made of them."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from contracts.manifest import Manifest, schema_fingerprint
from contracts.model import Timestamp, Words, canonical_json, sha256_of
from contracts.proposal import Column, ColumnStatistics
from tests.contracts.verdicts import EXAMPLES

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(codec="utf-8")),
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), children, max_size=4)
    ),
    max_leaves=12,
)


@given(json_values)
def test_canonical_json_is_the_same_json(value: object) -> None:
    assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), st.integers()), st.randoms())
def test_the_order_of_keys_does_not_matter(value: dict[str, int], random: object) -> None:
    shuffled = list(value.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert canonical_json(dict(shuffled)) == canonical_json(value)


def test_the_very_bytes() -> None:
    assert canonical_json({"b": [1, 2.5, None, True], "a": "\u00fc\u2028\n"}) == '{"a":"\u00fc\u2028\\n","b":[1,2.5,null,true]}'.encode()
    assert sha256_of({}) == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), {1, 2}, b"x", datetime(2024, 10, 5, tzinfo=UTC)])
def test_what_is_no_json_is_refused(value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        canonical_json(value)


@pytest.mark.parametrize("name", ["mission", "uploaded", "numbers-as-statistics"])
def test_a_manifest_read_and_written_again_has_the_same_bytes(name: str) -> None:
    manifest = Manifest.model_validate_json((EXAMPLES / "manifest" / f"good-{name}.json").read_bytes())
    written = manifest.to_bytes()
    assert Manifest.model_validate_json(written).to_bytes() == written
    assert written == canonical_json(json.loads(written))


def test_the_mission_command_names_the_uploaded_manifest_by_its_bytes() -> None:
    uploaded = Manifest.model_validate_json((EXAMPLES / "manifest/good-uploaded.json").read_bytes())
    command = json.loads((EXAMPLES / "command/good-mission.json").read_bytes())
    assert sha256_of(json.loads(uploaded.to_bytes())) == command["inputs"][0]["manifest_sha256"]


BASE = (Column(name="a", type="bigint", nullable=False), Column(name="b", type="decimal(18,2)"))


@pytest.mark.parametrize(
    "other",
    [
        BASE[::-1],
        BASE[:1],
        (*BASE, Column(name="c", type="string")),
        (Column(name="A", type="bigint", nullable=False), BASE[1]),
        (Column(name="a", type="int", nullable=False), BASE[1]),
        (Column(name="a", type="bigint"), BASE[1]),
    ],
)
def test_schema_fingerprint_tells_order_names_types_and_nulls(other: tuple[Column, ...]) -> None:
    assert schema_fingerprint(BASE) == schema_fingerprint(tuple(Column(**column.model_dump()) for column in BASE))
    assert schema_fingerprint(BASE) != schema_fingerprint(other)


column_texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=3)


@given(st.lists(st.tuples(column_texts, column_texts, st.booleans()), max_size=4))
def test_schema_fingerprint_is_injective_on_its_text(columns: list[tuple[str, str, bool]]) -> None:
    first = tuple(Column(name=name, type=type_, nullable=nullable) for name, type_, nullable in columns)
    moved = tuple(Column(name=name + type_, type="", nullable=nullable) for name, type_, nullable in columns)
    assert (schema_fingerprint(first) == schema_fingerprint(moved)) == (first == moved)


timestamps = TypeAdapter(Timestamp)


@given(st.datetimes(min_value=datetime(1000, 1, 2), max_value=datetime(9999, 12, 30)), st.integers(-14 * 60, 14 * 60))
def test_every_time_that_is_written_is_read(moment: datetime, offset: int) -> None:
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=offset)))
    assert timestamps.validate_json(timestamps.dump_json(aware)) == aware


@pytest.mark.parametrize(
    "text", ["2024-02-30T00:00:00Z", "0000-01-01T00:00:00Z", "2024-10-05T12:00:60Z", "\u0662\u0660\u0662\u0664-10-05T12:00:00Z"]
)
def test_no_moment(text: str) -> None:
    with pytest.raises(ValidationError):
        timestamps.validate_python(text)


def test_a_time_without_its_offset_is_refused_in_code_too() -> None:
    with pytest.raises(ValidationError):
        timestamps.validate_python(datetime(2024, 10, 5))


words: TypeAdapter[str] = TypeAdapter(Words)


@given(st.text(st.characters()))
def test_words_are_never_refused_and_always_storable(text: str) -> None:
    kept = words.validate_python(text)
    assert "\x00" not in kept
    kept.encode()
    if "\x00" not in text and text.encode(errors="ignore").decode() == text:
        assert kept == text


@pytest.mark.parametrize(("bound", "kept"), [("a", "a"), ("a\x00", None), ("a" * 256, "a" * 256), ("a" * 257, None), (5, 5), (None, None)])
def test_bounds_that_cannot_be_kept_are_left_out(bound: object, kept: object) -> None:
    statistics = ColumnStatistics.model_validate({"min": bound, "max": bound, "nulls": 0})
    assert (statistics.min, statistics.max) == (kept, kept)


@pytest.mark.parametrize("bound", ["1e999", "-1e999", "NaN", "Infinity", "-Infinity"])
def test_bounds_that_json_has_no_form_for_are_refused(bound: str) -> None:
    with pytest.raises(ValidationError):
        ColumnStatistics.model_validate_json(f'{{"min": null, "max": {bound}, "nulls": 0}}')


@pytest.mark.parametrize("bound", ["5", "0.5", "true", "1.7976931348623157e308", '"Infinity"', f"1{'0' * 400}"])
def test_bounds_that_are_accepted_are_written_as_they_were_read(bound: str) -> None:
    read = ColumnStatistics.model_validate_json(f'{{"min": {bound}, "max": null, "nulls": 0}}')
    assert canonical_json(read.model_dump(mode="json")) == canonical_json({"min": json.loads(bound), "max": None, "nulls": 0})
