"""The inputs that a request declares: under which view a run sees which dataset."""

from typing import Any

from pydantic import TypeAdapter, ValidationError

from contracts.catalog import Action
from contracts.identifiers import Identifier
from control_plane.errors import Invalid

_identifier: TypeAdapter[str] = TypeAdapter(Identifier)


def input_views(action: Action, parameters: dict[str, Any], input_dataset: str) -> dict[str, str]:
    """Datasets by view; `input_dataset` alone, as `source`, where none are declared.

    An action's own schema may take more than a command can say: its author need not know what a command is.

    Raises:
        Invalid: a view is no identifier, or what it shows is no text. A dataset that does not exist is found out later.
    """
    name = action.inputs_parameter
    declared = parameters.get(name) if name else None
    if declared is None or declared == {}:
        return {"source": input_dataset}
    pointer = f"/parameters/{name}"
    if not isinstance(declared, dict):
        detail = "must be an object: names of datasets by the views under which they are read"
        raise Invalid(f"The parameter {name!r} is wrong: it {detail}.", errors=[{"pointer": pointer, "detail": detail}])
    wrong = []
    for view, dataset in declared.items():
        place = f"{pointer}/{view.replace('~', '~0').replace('/', '~1')}"
        if (problem := _problem(view)) is not None:
            wrong.append({"pointer": place, "detail": f"{view!r} is no name of a view: {problem}"})
        if not isinstance(dataset, str):
            wrong.append({"pointer": place, "detail": "the name of a dataset must be a text"})
    if wrong:
        first = wrong[0]
        raise Invalid(f"The parameter {name!r} is wrong: {first['detail']} (at {first['pointer']}).", errors=wrong)
    return declared


def _problem(text: str) -> str | None:
    try:
        _identifier.validate_python(text)
    except ValidationError as error:
        return str(error.errors()[0]["msg"])
    return None
