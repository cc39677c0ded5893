"""Identifiers, against the plain words of the interface."""

import re
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from contracts.identifiers import IDENTIFIER_PATTERN, Identifier, ProcessId, Tenant, job_name, new_id
from contracts.json_schema import validator_of

PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
identifiers = TypeAdapter(Identifier)
tenants = TypeAdapter(Tenant)
process_ids = TypeAdapter(ProcessId)

near_misses = st.text(st.sampled_from("aZ09._-./ \n\u0430\u0661\x00"), max_size=12)
plain_matches = st.from_regex(PLAIN, fullmatch=True)


def _is_valid(adapter: TypeAdapter[str] | TypeAdapter[UUID], value: str) -> bool:
    try:
        adapter.validate_python(value)
    except ValidationError:
        return False
    return True


@given(st.text() | near_misses | plain_matches)
@example("..")
@example("a..b")
@example("a.")
@example("a.b.c")
@example("a\n")
@example("a" * 128)
@example("a" * 129)
@example("a." * 64)
def test_identifier_is_the_plain_pattern_without_two_dots(value: str) -> None:
    expected = bool(PLAIN.fullmatch(value)) and ".." not in value
    assert _is_valid(identifiers, value) == expected
    schema = validator_of({"pattern": IDENTIFIER_PATTERN, "maxLength": 128})
    assert schema.is_valid(value) == expected


def test_long_input_is_judged_at_once() -> None:
    # a pattern that backtracks would take years over these
    assert not _is_valid(identifiers, "a." * 50_000 + "!")
    assert not re.fullmatch(IDENTIFIER_PATTERN, "a" * 50_000 + "!")


@pytest.mark.parametrize("value", ["acme", "a", "0", "a-b", "a" * 40])
def test_tenant(value: str) -> None:
    assert _is_valid(tenants, value)


@pytest.mark.parametrize("value", ["", "Acme", "-a", "a-", "a.b", "a_b", "a" * 41, "a\n", "\u00e4"])
def test_no_tenant(value: str) -> None:
    assert not _is_valid(tenants, value)


def test_new_ids_are_process_ids_and_sort_by_time() -> None:
    made = [new_id() for _ in range(1000)]
    assert made == sorted(made)
    assert len(set(made)) == 1000
    assert all(_is_valid(process_ids, str(each)) for each in made)
    since = datetime.fromtimestamp((made[0].int >> 80) / 1000, UTC)
    assert abs((datetime.now(UTC) - since).total_seconds()) < 60


@pytest.mark.parametrize(
    "value", ["5f0c2e9a-7b41-4d3e-a6f8-1c9d2b7e4a03", "0192614e6f007a3c9b1d5e8f2a4c7d10", "{0192614e-6f00-7a3c-9b1d-5e8f2a4c7d10}", "", "1"]
)
def test_no_process_id(value: str) -> None:
    assert not _is_valid(process_ids, value)


@given(st.uuids(), st.integers(0, 1000), st.integers(1, 2**31 - 1))
def test_job_names_are_dns_labels_and_tell_attempts_apart(process_id: UUID, step: int, attempt: int) -> None:
    name = job_name(process_id, step, attempt)
    assert re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", name)
    assert len(name) <= 63
    _, written, *numbers = name.split("-")
    assert (UUID(written), *map(int, numbers)) == (process_id, step, attempt)
