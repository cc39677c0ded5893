"""How much a run gets: sized from its input, within the profile of its action."""

import math
from collections.abc import Iterable

from contracts.catalog import Action, Profile
from contracts.command import Command, InputDataset, MemorySize, ResourceProfile
from contracts.model import Contract
from launcher.errors import CommandUnfit

MOST_SHUFFLE_PARTITIONS = 20_000
SMALL_INPUT_BYTES = 64 * 2**20
"""Up to here a run is over in seconds."""


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


def size(command: Command, action: Action, profile: Profile) -> Resources:
    """Sized from the inputs; what the command asks for itself goes before, field by field.

    Raises:
        CommandUnfit: it asks for more than the profile allows.
    """
    asked = command.resource_profile or ResourceProfile()
    problems = profile.beyond(asked)
    if problems:
        raise CommandUnfit("RESOURCES_OUT_OF_BOUNDS", f"action {action.name!r}, profile {action.profile!r}: {'; '.join(problems)}")
    sized = _from_data(weighted_bytes(command.inputs, action.complexity), profile)
    return sized.model_copy(update=asked.model_dump(exclude_none=True))


def is_short(command: Command) -> bool:
    """Whether the run is over in seconds: before the optimizing compiler has paid for itself."""
    return sum(each.bytes for each in command.inputs) <= SMALL_INPUT_BYTES


def weighted_bytes(inputs: Iterable[InputDataset], complexity: float) -> float:
    """Bytes of all inputs x work per byte."""
    return sum(each.bytes for each in inputs) * complexity


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
