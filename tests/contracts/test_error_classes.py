"""One table says what is tried again; whoever names an error class of Stratum's own finds it there."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from contracts.catalog import Retry
from contracts.error_classes import REMEDIES, Remedy, may_pass, remedy

ROOT = Path(__file__).parents[2]
NAMED = {
    "control_plane": r'Ending\(\s*(?:AttemptState\.\w+|state), "([A-Z_.]+)"|^    "[a-z_]+": "([A-Z_]+)",$',
    "launcher": r'CommandUnfit\("([A-Z_.]+)"',
    "spark_jobs": r'error_class(?:: str)? = "([A-Z_.]+)"|SparkFailed\("([A-Z_.]+)"',
}


@pytest.mark.parametrize("part", NAMED)
def test_every_class_that_a_part_names_is_in_the_table(part: str) -> None:
    named = {
        name
        for path in (ROOT / part).rglob("*.py")
        for match in re.finditer(NAMED[part], path.read_text(), re.MULTILINE)
        for name in match.groups()
        if name
    }
    assert len(named) >= 5, "the pattern finds none any more"
    assert named <= REMEDIES.keys()


def test_what_is_wrong_with_the_request_is_never_tried_again() -> None:
    for name in ("INVALID_PARAMETER", "QUERY_REFUSED", "EMPTY_INPUT", "INPUT_CHANGED", "PROPOSAL_REJECTED", "TIME_LIMIT"):
        assert remedy(name) is Remedy.NEVER
        assert remedy(name, also=(name,)) is Remedy.NEVER
    assert may_pass("JOB_LOST")
    assert remedy("QUOTA_EXCEEDED") is Remedy.WAIT


def test_an_unknown_class_passes_only_where_the_catalog_says_so() -> None:
    assert remedy("DIVIDE_BY_ZERO") is Remedy.NEVER
    assert remedy("RATE_LIMITED", also=("RATE_LIMITED",)) is Remedy.AGAIN
    assert Retry(also=("RATE_LIMITED",)).also == ("RATE_LIMITED",)


@pytest.mark.parametrize(
    "wrong",
    [
        {"also": ("INVALID_PARAMETER",)},
        {"also": ("lower",)},
        {"delay_seconds": -1.0},
        {"factor": 0.5},
        {"max_delay_seconds": 1e9},
        {"jitter": "some"},
    ],
)
def test_a_policy_that_makes_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Retry(**wrong)
