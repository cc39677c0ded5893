"""Request bodies: what no part could store or hash is refused at the door."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from contracts.http import ProcessRequest, UploadRequest
from contracts.model import canonical_json

MISSION: dict[str, Any] = {"entity_id": "cust_8842", "data_version": "v2024.10.05", "action": "aggregate_revenue"}


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_the_mission() -> None:
    request = ProcessRequest.model_validate({**MISSION, "parameters": {"currency": "EUR"}})
    assert (request.input_dataset, request.priority, request.labels) == ("source", 0, {})


@pytest.mark.parametrize(
    "text",
    [
        '{"a": NaN}',
        '{"a": [1, -Infinity]}',
        '{"a": 1e999}',
        '{"a": "\\u0000"}',
        '{"\\u0000": 1}',
        '{"a": {"b": "\\ud800"}}',
        '{"\\udc00": 1}',
    ],
)
def test_what_python_reads_and_no_database_takes(text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ProcessRequest.model_validate({**MISSION, "parameters": json.loads(text)})
    assert [problem["loc"] for problem in caught.value.errors()] == [("parameters",)]


def test_nesting_has_a_bottom() -> None:
    ProcessRequest.model_validate({**MISSION, "parameters": {"a": _nested(60)}})
    with pytest.raises(ValidationError, match="64 levels"):
        ProcessRequest.model_validate({**MISSION, "parameters": {"a": _nested(900)}})


def test_parameters_fit_into_a_message() -> None:
    ProcessRequest.model_validate({**MISSION, "parameters": {"a": "\u00e4" * 131_000}})
    with pytest.raises(ValidationError, match="at most 262144 bytes"):
        ProcessRequest.model_validate({**MISSION, "parameters": {"a": "\u00e4" * 132_000}})


@given(
    st.dictionaries(
        st.text(max_size=3), st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5)
    )
)
def test_what_is_accepted_can_be_hashed(parameters: dict[str, Any]) -> None:
    try:
        request = ProcessRequest.model_validate({**MISSION, "parameters": parameters})
    except ValidationError:
        return
    assert json.loads(canonical_json(request.parameters)) == parameters


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("entity_id", "../cust"),
        ("output_dataset", ""),
        ("output_data_version", "v1\n"),
        ("priority", 101),
        ("priority", "5"),
        ("priority", True),
        ("callback_url", "file:///etc/passwd"),
        ("callback_url", "http://user:password@host/"),
        ("labels", {"a": "\x00"}),
        ("labels", {"a b": "c"}),
        ("labels", {"a": "x" * 257}),
        ("labels", {f"k{number}": "v" for number in range(33)}),
        ("resource_profile", {"executor_instances": 0}),
        ("resource_profile", {"executors": 1}),
        ("tenant", "other"),
    ],
)
def test_wrong_fields_are_named(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        ProcessRequest.model_validate({**MISSION, field: value})
    assert {problem["loc"][0] for problem in caught.value.errors()} == {field}


@pytest.mark.parametrize(
    "change",
    [
        {"name": "data.csv"},
        {"name": "../part.parquet"},
        {"name": ".parquet"},
        {"name": "a/b.parquet"},
        {"name": "a.parquet\n"},
        {"bytes": 0},
        {"bytes": -1},
        {"bytes": "1"},
        {"bytes": 5 * 1024**3 + 1},
        {"sha256": "sha256:" + "0" * 64},
        {"sha256": "A" * 64},
        {"extra": 1},
    ],
)
def test_no_upload(change: dict[str, Any]) -> None:
    file = {"name": "part-00000.parquet", "bytes": 100, "sha256": "0" * 64}
    UploadRequest.model_validate({"files": [file]})
    for files in ([{**file, **change}], []):
        with pytest.raises(ValidationError):
            UploadRequest.model_validate({"files": files})
