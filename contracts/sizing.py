"""How much a run gets: sized from its input, within the profile of its action. Admission counts it, the launcher gives it."""

import math
from collections.abc import Iterable

from contracts.catalog import Profile
from contracts.command import MemorySize, ResourceProfile
from contracts.model import Contract

MOST_SHUFFLE_PARTITIONS = 20_000


class Resources(Contract):
    """A resource profile with nothing left open."""

    driver_cores: int
    driver_memory: MemorySize
    executor_instances: int
    executor_cores: int
    executor_memory: MemorySize
    shuffle_partitions: int

    def as_profile(self) -> ResourceProfile:
        """The same in the words of the messages."""
        return ResourceProfile.model_validate(self.model_dump())

    @property
    def all_executor_cores(self) -> int:
        """What its executors take together."""
        return self.executor_instances * self.executor_cores


def resources(input_bytes: Iterable[int], complexity: float, profile: Profile, asked: ResourceProfile | None) -> Resources:
    """Sized from the inputs; what is asked for goes before, field by field. Whether the profile allows it, `Profile.beyond` says."""
    sized = _from_data(sum(input_bytes) * complexity, profile)
    return sized.model_copy(update=asked.model_dump(exclude_none=True) if asked else {})


def _from_data(weight: float, profile: Profile) -> Resources:
    bounds = profile.executor_instances
    executors = math.ceil(weight / profile.bytes_per_executor)
    partitions = math.ceil(weight / profile.bytes_per_partition)
    return Resources(
        driver_cores=profile.driver_cores,
        driver_memory=profile.driver_memory,
        executor_instances=min(max(executors, bounds.min), bounds.max),
        executor_cores=profile.executor_cores,
        executor_memory=profile.executor_memory,
        shuffle_partitions=min(max(partitions, 1), MOST_SHUFFLE_PARTITIONS),
    )
