"""What the catalog alone decides of a request: its action, parameters, image and resources."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

from jsonschema.exceptions import ValidationError as SchemaViolation

from contracts.catalog import Action, Catalog, Profile
from contracts.command import ResourceProfile
from contracts.errors import ImageRefused, SqlRefused
from contracts.http import ProcessRequest
from contracts.images import ImageSettings
from contracts.model import canonical_json
from contracts.sql_guard import check_condition, check_query
from control_plane.errors import ImageNotAllowed, Invalid
from control_plane.input_views import input_views
from control_plane.nearest import did_you_mean, nearest
from control_plane.turns import Room, Turns

MOST_VIOLATIONS = 100
"""Of an action's schema by one request's parameters: no more are looked for."""
ROOM = Room(
    of_one=400_000,
    of_all=4_000_000,
    refusal="This server checks as many long requests as it may; nothing was done. Send the request again.",
)
"""Bytes of the parameters that are judged or wait for it, of a tenant and of all: some seconds of work, and some more."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A request whose parameters and resources are what its action takes; one state of the catalog said so."""

    request: ProcessRequest
    action: Action
    profile: Profile


class Judge:
    """Judges one request at a time, and the tenants in turn: it is work for the processor alone, up to a second of it for one request."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "judge")
        self._turns = Turns(at_once=1, of_one=1, room=ROOM)

    async def judge(self, catalog: Catalog, images: ImageSettings, tenant: str, request: ProcessRequest) -> Judged:
        """Check all that the catalog alone decides. Call it without a connection in hand: it takes its time, and others need the pool.

        Raises:
            Invalid: there is no such action, or the parameters or resources are not what it takes.
            ImageNotAllowed: the tenant may not run the action's image.
            Busy: too much waits to be judged already.
        """
        action = find_action(catalog, request.action)
        check_image(images, tenant, action)
        async with self._turns.turn(tenant, weight=len(canonical_json(request.parameters))):
            await asyncio.get_running_loop().run_in_executor(self._thread, check_parameters, action, request.parameters)
        check_resources(catalog, action, request.resource_profile)
        return Judged(request, action, catalog.profiles[action.profile])

    def close(self) -> None:
        """Judge no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def find_action(catalog: Catalog, name: str) -> Action:
    """The action; raises `Invalid` with the nearest names."""
    action = catalog.actions.get(name)
    if action is None:
        near = nearest(name, catalog.actions)
        raise Invalid(
            f"There is no action {name!r}.{did_you_mean(near)} GET /v1/actions lists all of them.",
            errors=[{"pointer": "/action", "detail": "unknown action"}],
            suggestions=near,
        )
    return action


def check_parameters(action: Action, parameters: dict[str, Any]) -> None:
    """Check against the action's JSON Schema, and its query against the guard; raises `Invalid` with a JSON Pointer each."""
    wrong = _errors(action, parameters)
    if wrong:
        first = wrong[0]
        raise Invalid(f"The parameters of {action.name!r} are wrong: {first['detail']} (at {first['pointer']}).", errors=wrong)
    views = input_views(action, parameters, "source")
    guards = ((action.query_parameter, lambda text: check_query(text, views)), (action.condition_parameter, check_condition))
    for name, guard in guards:
        if name in parameters:
            try:
                guard(parameters[name])
            except SqlRefused as error:
                wrong = [{"pointer": f"/parameters/{name}", "detail": str(error)}]
                raise Invalid(f"The {name} is refused: {error}", errors=wrong) from error


def _errors(action: Action, parameters: dict[str, Any]) -> list[dict[str, str]]:
    """The first errors that are found, in the order of their places. There may be as many as the parameters have bytes."""
    found = islice(action.validator.iter_errors(parameters), MOST_VIOLATIONS)
    return [{"pointer": _pointer(each), "detail": each.message} for each in sorted(found, key=_place)]


def _place(violation: SchemaViolation) -> list[tuple[bool, str | int]]:
    return [(isinstance(part, str), part) for part in violation.absolute_path]


def check_image(images: ImageSettings, tenant: str, action: Action) -> None:
    """Raise `ImageNotAllowed` when the operator does not let the tenant run the action's image."""
    try:
        images.check_image(tenant, action.image)
    except ImageRefused as refusal:
        raise ImageNotAllowed(
            f"The action {action.name!r} cannot run: {refusal}.", errors=[{"pointer": "/action", "detail": str(refusal)}]
        ) from refusal


def check_resources(catalog: Catalog, action: Action, asked: ResourceProfile | None) -> None:
    """Raise `Invalid` when a request asks for more than the action's profile allows."""
    problems = catalog.profiles[action.profile].beyond(asked) if asked else []
    if problems:
        errors = [{"pointer": f"/resource_profile/{problem.split(' ')[0]}", "detail": problem} for problem in problems]
        raise Invalid(f"The action {action.name!r} may not use so much: {'; '.join(problems)}.", errors=errors)


def _pointer(violation: SchemaViolation) -> str:
    return "/parameters" + "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in violation.absolute_path)
