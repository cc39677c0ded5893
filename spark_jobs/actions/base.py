"""What an action is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pyspark.sql import DataFrame

from spark_jobs.errors import InvalidParameter


class Parameters(BaseModel):
    """The parameters of an action. Unknown names and values of another type are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _names(given: object) -> object:
    if isinstance(given, str):
        return (given,)
    return tuple(given) if isinstance(given, list) else given


Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
"""Column names; a single one may be given without a list."""

Inputs = Mapping[str, DataFrame]
"""The input rows by the name of their view."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an action gives: rows, perhaps refused rows, and numbers about both for `quality`."""

    rows: DataFrame
    rejected: DataFrame | None = None
    quality: Mapping[str, Any] = field(default_factory=dict)


P = TypeVar("P", bound=Parameters)


@dataclass(frozen=True, slots=True)
class Action(Generic[P]):
    """A computation: its parameters, and the function of inputs and parameters."""

    parameters: type[P]
    compute: Callable[[Inputs, P], Outcome]
    takes_empty: bool = False

    def apply(self, inputs: Inputs, given: Mapping[str, Any]) -> Outcome:
        """Read the parameters and compute.

        Raises:
            InvalidParameter: a parameter is missing, unknown or of the wrong type.
        """
        return self.compute(inputs, self.read(given))

    def read(self, given: Mapping[str, Any]) -> P:
        """The parameters, typed. Raises as `apply`."""
        try:
            return self.parameters.model_validate(dict(given))
        except ValidationError as error:
            problems = "; ".join(f"/{'/'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
            raise InvalidParameter(f"the parameters cannot be used: {problems}") from error


def only(inputs: Inputs) -> DataFrame:
    """The rows of an action with one input.

    Raises:
        InvalidParameter: there are several.
    """
    if len(inputs) != 1:
        raise InvalidParameter(f"this action reads one dataset; it was given {len(inputs)}: {', '.join(sorted(inputs))}")
    return next(iter(inputs.values()))
