"""A history is judged with all its events, those too that depend on who is faster."""

import pytest

from tests.chaos.histories import CERTAIN, RETRIED, WHOLE, is_one_of, misplaced

SUCCESS = ["accepted", "queued", "submitted", "pending", "running", "waiting", "sealing", "waiting", "succeeded", "webhook_delivered"]


def test_remarks_in_their_places() -> None:
    assert misplaced(SUCCESS) == []


@pytest.mark.parametrize(
    "types",
    [
        ["waiting"],
        ["accepted", "pending"],
        ["accepted", "queued", "silent"],
        ["accepted", "queued", "running", "pending"],
        ["accepted", "queued", "running", "sealing", "unwatched"],
        ["accepted", "queued", "running", "webhook_delivered"],
        ["accepted", "queued", "running", "sealing", "succeeded", "waiting"],
        ["accepted", "gossip"],
    ],
)
def test_a_remark_out_of_its_place_is_condemned(types: list[str]) -> None:
    assert len(misplaced(types)) == 1


def test_a_pattern_is_held_against_the_whole_of_it() -> None:
    assert is_one_of(["accepted", "queued", "submitted", "running", "sealing", "succeeded"], [RETRIED, WHOLE])
    assert is_one_of(CERTAIN.split(), [WHOLE])
    assert not is_one_of(["accepted", "queued", "running", "submitted", "sealing", "succeeded"], [WHOLE])
    assert not is_one_of([*CERTAIN.split(), "silent"], [WHOLE])
    assert not is_one_of(SUCCESS, [CERTAIN])
