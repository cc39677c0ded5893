"""How much a command's run gets; the arithmetic is `contracts.sizing`, which admission counts with too."""

from contracts.catalog import Action, Profile
from contracts.command import Command, ResourceProfile
from contracts.sizing import Resources, resources
from launcher.errors import CommandUnfit

SMALL_INPUT_BYTES = 64 * 2**20
"""Up to here a run is over in seconds."""


def size(command: Command, action: Action, profile: Profile) -> Resources:
    """Sized from the inputs; what the command asks for itself goes before, field by field.

    Raises:
        CommandUnfit: it asks for more than the profile allows.
    """
    asked = command.resource_profile or ResourceProfile()
    problems = profile.beyond(asked)
    if problems:
        raise CommandUnfit("RESOURCES_OUT_OF_BOUNDS", f"action {action.name!r}, profile {action.profile!r}: {'; '.join(problems)}")
    return resources((each.bytes for each in command.inputs), action.complexity, profile, asked)


def is_short(command: Command) -> bool:
    """Whether the run is over in seconds: before the optimizing compiler has paid for itself."""
    return sum(each.bytes for each in command.inputs) <= SMALL_INPUT_BYTES
