"""From a judged request to an accepted process: what is left to check is checked before anything is stored, in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
from pydantic import TypeAdapter, ValidationError

from contracts.catalog import Action
from contracts.http import ProcessRequest
from contracts.identifiers import Identifier, new_id
from contracts.model import canonical_json, sha256_of
from contracts.sizing import resources
from control_plane import quotas
from control_plane.database import Connection, queries
from control_plane.errors import Conflict, Invalid, Missing, NameTaken, Retired, StorageUsedUp, TooManyHeld
from control_plane.input_views import input_views
from control_plane.judging import Judged
from control_plane.retirement.retire import check_not_retired

_identifier: TypeAdapter[str] = TypeAdapter(Identifier)
_PINNED = ("data_version", "dataset", "manifest_sha256", "rows", "bytes")
MOST_INPUT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Work:
    """A request, resolved: the action's revision and the inputs' manifests are pinned."""

    request: ProcessRequest
    action: Action
    inputs: list[dict[str, Any]]
    output_data_version: str
    output_dataset: str
    rejected_dataset: str | None

    @property
    def outputs(self) -> list[str]:
        """Every dataset name that the work needs for itself."""
        return [self.output_dataset] + ([self.rejected_dataset] if self.rejected_dataset else [])

    def digest(self, tenant: str) -> str:
        """Equal for the same work: same tenant, result, action revision, parameters and input manifests."""
        request, action = self.request, self.action
        where = (tenant, request.entity_id, self.output_data_version, self.output_dataset)
        return work_digest(*where, action.name, action.revision, request.parameters, self.inputs)


def work_digest(
    tenant: str,
    entity_id: str,
    data_version: str,
    dataset: str,
    action: str,
    action_revision: str,
    parameters: dict[str, Any],
    inputs: Sequence[dict[str, Any]],
) -> str:
    """See `Work.digest`; `data_version` and `dataset` are the result's. A manifest says all of it, too."""
    return sha256_of(
        {
            "tenant": tenant,
            "entity_id": entity_id,
            "data_version": data_version,
            "dataset": dataset,
            "action": action,
            "action_revision": action_revision,
            "parameters": parameters,
            "inputs": sorted([i["view"], i["data_version"], i["dataset"], i["manifest_sha256"]] for i in inputs),
        }
    )


async def accept(
    connection: Connection, tenant: str, judged: Judged, traceparent: str | None, retry_of: UUID | None = None
) -> tuple[UUID, bool]:
    """Accept the work, or find the process that already does it. Returns its id and whether it is new. Runs in the caller's transaction.

    Raises:
        Invalid, Missing: the request names what does not exist, or too much.
        NameTaken: a dataset name belongs to other work.
        StorageUsedUp, TooManyHeld: the tenant's quota has no room for one more.
        Retired: an input was retired.
    """
    request, action, profile = judged.request, judged.action, judged.profile
    # Owners can come and go between a refused insert and the look at who it is: then simply try again.
    for _ in range(5):
        work = await resolve(connection, tenant, request, action)
        _check_size(work)
        cores = resources((i["bytes"] for i in work.inputs), action.complexity, profile, request.resource_profile).all_executor_cores
        try:
            await quotas.check_process(connection, tenant, cores)
        except (StorageUsedUp, TooManyHeld):
            # what is there already takes nothing more
            same = await queries.same_work(connection, tenant=tenant, work_digest=work.digest(tenant))
            if same is None:
                raise
            return same, False
        try:
            async with connection.transaction():  # a savepoint: a refused insert leaves the outer transaction usable
                process_id = await _insert(connection, tenant, work, cores, traceparent, retry_of)
                # the claim is ours now; whoever sealed the name did so before we got the claim
                if not await queries.is_sealed(connection, **_names(tenant, work)):
                    await _check_inputs(connection, tenant, work)
                    return process_id, True
                raise NameTaken("sealed")
        except (NameTaken, asyncpg.UniqueViolationError):
            await _check_outputs(connection, tenant, work)
            same = await queries.same_work(connection, tenant=tenant, work_digest=work.digest(tenant))
            if same is not None:
                return same, False
            owner = await queries.owner_of(connection, **_names(tenant, work))
        if owner is not None:
            raise taken(request.entity_id, work.output_data_version, owner)
    raise Conflict("The dataset name changes hands right now; send the request again.")


def _check_size(work: Work) -> None:
    """With at most so much of inputs, and of parameters (see `StorableObject`), every accepted request makes a command that is read."""
    size = len(canonical_json(work.inputs))
    if size > MOST_INPUT_BYTES:
        raise Invalid(
            f"The request reads {len(work.inputs)} inputs; that is more than fits into a message. Name fewer, or make one dataset of them.",
            errors=[{"pointer": "/parameters", "detail": "too many inputs"}],
        )


async def resolve(connection: Connection, tenant: str, request: ProcessRequest, action: Action) -> Work:
    """Pin the inputs to the manifests that are sealed now, and name the outputs."""
    views = input_views(action, request.parameters, request.input_dataset)
    where = {"tenant": tenant, "entity_id": request.entity_id, "data_version": request.data_version}
    found = {row["dataset"]: row async for row in queries.find_datasets(connection, **where, datasets=list(views.values()))}
    for dataset in views.values():
        if dataset not in found:
            raise Missing(request.entity_id, request.data_version, dataset)
    output = request.output_dataset or action.name
    rejected = f"{output}_rejected" if request.parameters.get("on_invalid") == "reject" else None
    if rejected:
        _check_identifier(rejected, "/output_dataset")
    return Work(
        request=request,
        action=action,
        inputs=[{"view": view, **{name: found[dataset][name] for name in _PINNED}} for view, dataset in views.items()],
        output_data_version=request.output_data_version or request.data_version,
        output_dataset=output,
        rejected_dataset=rejected,
    )


async def _check_inputs(connection: Connection, tenant: str, work: Work) -> None:
    """Raise `Retired` for an input that is. Asked after `find_datasets` has held them: none can be retired from then on."""
    inputs = [item["dataset"] for item in work.inputs]
    await check_not_retired(connection, tenant, work.request.entity_id, work.request.data_version, inputs)


async def _check_outputs(connection: Connection, tenant: str, work: Work) -> None:
    """Raise `NameTaken` for a name whose dataset is retired, even by the very same work: what that made is no answer any more."""
    try:
        await check_not_retired(connection, tenant, work.request.entity_id, work.output_data_version, work.outputs)
    except Retired as error:
        raise NameTaken(f"{error.detail} Choose another dataset name or data version.") from error


async def _insert(connection: Connection, tenant: str, work: Work, cores: int, traceparent: str | None, retry_of: UUID | None) -> UUID:
    request, action = work.request, work.action
    process_id = new_id()
    await queries.accept_process(
        connection,
        id=process_id,
        tenant=tenant,
        reason="accepted; waits for its turn",
        entity_id=request.entity_id,
        data_version=request.data_version,
        action=action.name,
        action_revision=action.revision,
        parameters=request.parameters,
        input_dataset=request.input_dataset,
        output_data_version=work.output_data_version,
        output_dataset=work.output_dataset,
        rejected_dataset=work.rejected_dataset,
        resource_profile=request.resource_profile.model_dump(mode="json", exclude_none=True) if request.resource_profile else None,
        priority=request.priority,
        callback_url=str(request.callback_url) if request.callback_url else None,
        labels=request.labels,
        work_digest=work.digest(tenant),
        retry_of=retry_of,
        traceparent=traceparent,
        claimed_datasets=work.outputs,
        image=action.image,
        entry_point=action.entry_point,
        inputs=work.inputs,
        limits=action.limits.model_dump(mode="json"),
        executor_cores=cores,
        message_id=new_id(),
        event_data={"action": action.name, "action_revision": action.revision, "retry_of": str(retry_of) if retry_of else None},
    )
    return process_id


def _names(tenant: str, work: Work) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "entity_id": work.request.entity_id,
        "data_version": work.output_data_version,
        "datasets": work.outputs,
    }


def taken(entity_id: str, data_version: str, owner: asyncpg.Record) -> NameTaken:
    """The refusal of a dataset name that belongs to `owner`, a row of `owner_of`."""
    name = f"{entity_id}/{data_version}/{owner['dataset']}"
    maker = f"process {owner['process_id']}" if owner["process_id"] else f"upload {owner['upload_id']}"
    if owner["sealed"]:
        what = f"is sealed already, made by {maker} from other work or files"
    elif owner["expires_at"] is None:
        what = f"is being made by {maker}"
    else:
        place = f"/v1/entities/{entity_id}/versions/{data_version}/datasets/{owner['dataset']}/uploads/{owner['upload_id']}"
        until = owner["expires_at"].isoformat(timespec="seconds")
        what = f"is held until {until} by an upload of other files: seal it (POST {place}/seal) or give it up (DELETE {place})"
    return NameTaken(
        f"The dataset {name} {what}. Datasets never change: choose another dataset name or data version.",
        owner_process_id=owner["process_id"],
    )


def _check_identifier(name: str, pointer: str) -> None:
    try:
        _identifier.validate_python(name)
    except ValidationError as error:
        raise Invalid(
            f"{name!r} is not a valid dataset name.", errors=[{"pointer": pointer, "detail": error.errors()[0]["msg"]}]
        ) from error
