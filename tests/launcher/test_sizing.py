"""How much a run gets."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.catalog import DEFAULT_FOLDER, Action, Bounds, Catalog, Profile
from contracts.command import ResourceProfile
from contracts.sizing import MOST_SHUFFLE_PARTITIONS, Resources
from launcher.errors import CommandUnfit
from launcher.sizing import size
from tests.launcher.samples import a_command, with_inputs_of

MIB = 2**20
PROFILE = Profile(
    driver_cores=1,
    driver_memory="1g",
    executor_cores=2,
    executor_memory="2g",
    executor_instances=Bounds(min=2, max=10),
    bytes_per_executor=512 * MIB,
    bytes_per_partition=64 * MIB,
)


def an_action(complexity: float = 1.0) -> Action:
    return Action(name="aggregate_revenue", description="", image="i", parameters={}, complexity=complexity)


def sized(*inputs: int, complexity: float = 1.0, asked: ResourceProfile | None = None) -> Resources:
    return size(with_inputs_of(a_command(), *inputs, asked=asked), an_action(complexity), PROFILE)


@pytest.mark.parametrize(
    ("inputs", "complexity", "executors", "partitions"),
    [
        ((0,), 1.0, 2, 1),
        ((1,), 1.0, 2, 1),
        ((64 * MIB,), 1.0, 2, 1),
        ((64 * MIB + 1,), 1.0, 2, 2),
        ((1024 * MIB,), 1.0, 2, 16),
        ((1024 * MIB + 1,), 1.0, 3, 17),
        ((512 * MIB, 512 * MIB), 2.0, 4, 32),
        ((1024 * MIB,), 0.5, 2, 8),
        ((2**50,), 1.0, 10, MOST_SHUFFLE_PARTITIONS),
    ],
)
def test_from_the_data(inputs: tuple[int, ...], complexity: float, executors: int, partitions: int) -> None:
    resources = sized(*inputs, complexity=complexity)
    assert (resources.executor_instances, resources.shuffle_partitions) == (executors, partitions)
    assert (resources.driver_cores, resources.driver_memory) == (1, "1g")
    assert (resources.executor_cores, resources.executor_memory) == (2, "2g")


def test_what_is_asked_goes_before_field_by_field() -> None:
    resources = sized(2048 * MIB, asked=ResourceProfile(executor_memory="16g", shuffle_partitions=7))
    assert resources == Resources(
        driver_cores=1, driver_memory="1g", executor_instances=4, executor_cores=2, executor_memory="16g", shuffle_partitions=7
    )


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"executor_instances": 11}, "executor_instances must be from 2 to 10, not 11"),
        ({"executor_instances": 1}, "executor_instances must be from 2 to 10, not 1"),
        ({"driver_cores": 17}, "driver_cores must be at most 16"),
        ({"driver_memory": "65g"}, "driver_memory must be at most 64g, not 65g"),
        ({"executor_memory": "65537m"}, "executor_memory must be at most 64g, not 65537m"),
        ({"shuffle_partitions": 20_001}, "shuffle_partitions must be at most 20000"),
    ],
)
def test_beyond_the_bounds_is_refused(asked: dict[str, Any], says: str) -> None:
    with pytest.raises(CommandUnfit, match=says) as refusal:
        sized(1, asked=ResourceProfile(**asked))
    assert refusal.value.error_class == "RESOURCES_OUT_OF_BOUNDS"


def test_every_action_of_the_catalog_can_be_sized() -> None:
    catalog = Catalog.load(DEFAULT_FOLDER)
    for action in catalog.actions.values():
        size(a_command(action=action.name), action, catalog.profiles[action.profile])


BYTES = st.integers(min_value=0, max_value=2**60)
COMPLEXITY = st.floats(min_value=0.01, max_value=100)


@given(st.lists(BYTES, min_size=1, max_size=5), COMPLEXITY)
def test_within_bounds(inputs: list[int], complexity: float) -> None:
    resources = sized(*inputs, complexity=complexity)
    assert 2 <= resources.executor_instances <= 10
    assert 1 <= resources.shuffle_partitions <= MOST_SHUFFLE_PARTITIONS
    ResourceProfile.model_validate(resources.model_dump())


@given(BYTES, BYTES, COMPLEXITY, COMPLEXITY)
def test_more_work_never_gets_less(some: int, more: int, simple: float, hard: float) -> None:
    less = sized(min(some, more), complexity=min(simple, hard))
    most = sized(max(some, more), complexity=max(simple, hard))
    assert less.executor_instances <= most.executor_instances
    assert less.shuffle_partitions <= most.shuffle_partitions
