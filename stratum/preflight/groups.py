"""The groups of checks, in the order in which a deployment comes up."""

from collections.abc import Collection
from importlib import import_module
from types import ModuleType
from typing import Literal, get_args

from stratum.errors import Invalid, MissingExtra
from stratum.preflight.runner import Check
from stratum.preflight.target import Target

Group = Literal["api", "postgres", "kafka", "s3", "tokens", "kubernetes"]
NAMES: tuple[str, ...] = get_args(Group)


def chosen(only: Collection[str], skip: Collection[str]) -> list[str]:
    """The names of the groups to look at; raises `Invalid` for one that does not exist, or when none is left."""
    unknown = sorted({*only, *skip} - set(NAMES))
    if unknown:
        raise Invalid(f"There is no group {', '.join(unknown)}.", f"There are: {', '.join(NAMES)}.")
    names = [name for name in NAMES if (not only or name in only) and name not in skip]
    if not names:
        raise Invalid("--only and --skip leave no group.", f"There are: {', '.join(NAMES)}.")
    return names


def checks(names: Collection[str], target: Target) -> list[Check]:
    """The checks of these groups."""
    return [check for name in names for check in _module(name).checks(target)]


def _module(name: str) -> ModuleType:
    try:
        return import_module(f"stratum.preflight.{name}")
    except ModuleNotFoundError as error:
        raise MissingExtra("preflight") from error
