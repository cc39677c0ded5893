"""Sealing: what a run left is judged, its manifests are put, its process ends. One attempt's trouble is never another's."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import structlog

from contracts.states import AttemptState
from control_plane import lifecycle, metrics, proposals, seal
from control_plane.database import queries
from control_plane.errors import ProposalRejected, StorageRefused, StorageUnavailable, Unavailable
from control_plane.lifecycle import Current, Ending
from control_plane.proposals import Checked
from control_plane.reconciler import Reconciler
from control_plane.seal import Sealable
from control_plane.storage import Storage

log = structlog.get_logger()
_SEAL_LEASE_SECONDS = 10
_WAITS_FOR_STORE = "the files are complete; their seal waits for the object store"
_MAY_BE_PUT = "the files are complete; their seal may be under way, and is looked after again"


async def seal_next(reconciler: Reconciler) -> bool:
    """Seal one attempt whose files are complete. Returns whether there was one.

    Raises:
        StorageUnavailable, Unavailable: not one attempt's matter; it waits for its next turn.
    """
    async with reconciler.database.connection() as connection:
        taken = await queries.take_seal(connection, seconds=_SEAL_LEASE_SECONDS, served=list(reconciler.seal_turns))
    if taken is None:
        return False
    reconciler.took_turn(taken["tenant"])
    try:
        await _seal(reconciler, taken["process_id"])
    except StorageRefused as error:
        # as a rule one tenant's bucket: the seals of others go on at once
        log.warning("a seal is put off", process_id=str(taken["process_id"]), error=str(error))
        async with reconciler.database.connection() as connection:
            await queries.put_off_seal(connection, process_id=taken["process_id"])
    except (StorageUnavailable, Unavailable):
        raise
    except Exception as error:
        # a defect that one attempt brings to light; its manifest may be there, so nobody may say that it failed
        log.exception("an attempt could not be sealed; it is tried again", process_id=str(taken["process_id"]))
        metrics.SEALS.labels("defect").inc()
        why = f"the files are complete; their seal met a defect of the platform ({type(error).__name__}) and is tried again"
        await _put_off(reconciler, taken["process_id"], why)
    return True


async def _seal(reconciler: Reconciler, process_id: UUID) -> None:
    async with reconciler.database.transaction() as connection:
        current = await lifecycle.lock(connection, process_id)
    if current is None or current.attempt_state is not AttemptState.SEALING:
        return
    with structlog.contextvars.bound_contextvars(process_id=str(current.id), attempt=current.attempt):
        try:
            await _seal_or_refuse(reconciler, current)
        except StorageUnavailable as error:
            await _seal_waits(reconciler, current, error)
            raise


async def _seal_or_refuse(reconciler: Reconciler, current: Current) -> None:
    """All that can be refused is refused before the first manifest is put; from then on the seal is to be finished."""
    try:
        checked, sealables = await _prepared(reconciler, current)
        until = seal.put_until()
        if not await _begin_manifest(reconciler, current, checked[0].proposal_sha256):
            return
        datasets = await asyncio.to_thread(_put_manifests, reconciler.storage, sealables, until)
    except ProposalRejected as error:
        await _refuse(reconciler, current, error)
        return
    async with reconciler.database.transaction() as connection:
        await lifecycle.lock(connection, current.id)
        await lifecycle.succeeded(connection, current, checked[0].proposal.metrics.model_dump(mode="json"), datasets)
    metrics.SEALS.labels("sealed").inc()
    log.info("sealed", location=datasets[0]["location"])


async def _prepared(reconciler: Reconciler, current: Current) -> tuple[list[Checked], list[Sealable]]:
    """What the run left, judged, and the manifests of it, their names free. Whatever it is, this one attempt ends by it, not the role."""

    def judged() -> tuple[list[Checked], list[Sealable]]:
        checked = proposals.checked(reconciler.storage, current, reconciler.settings)
        sealables = [seal.sealable(each.path, proposals.manifest(current, each, current.now)) for each in checked]
        for each in sealables:
            seal.check_name(reconciler.storage, each)
        return checked, sealables

    try:
        return await asyncio.to_thread(judged)
    except (StorageUnavailable, ProposalRejected):
        raise
    except Exception as error:
        if current.manifest_put_at is not None:  # an earlier try may have sealed it
            raise
        log.exception("a proposal could not be judged")
        raise ProposalRejected(f"it could not be judged ({type(error).__name__})") from error


async def _begin_manifest(reconciler: Reconciler, current: Current, proposal_sha256: str) -> bool:
    """Write down, before anything is put, that a manifest may be there, and of which proposal. False: another sealer was faster."""
    async with reconciler.database.connection() as connection:
        if await queries.begin_manifest(connection, **current.key, proposal_sha256=proposal_sha256) is not None:
            return True
        if await queries.is_being_swept(connection, **current.key):
            raise ProposalRejected("a sweeper is removing the folder of the run, or has")
        return False


def _put_manifests(storage: Storage, sealables: Sequence[Sealable], until: float) -> list[dict[str, object]]:
    """Put the manifests, the main dataset's first: it alone tells whether the run's seal was begun. The rows to register, in this order."""
    return [seal.registration(each.path, *seal.put_manifest(storage, each, until)) for each in sealables]


async def _refuse(reconciler: Reconciler, current: Current, error: ProposalRejected) -> None:
    """Fail what does not hold, unless it is sealed, or may be yet: what became of the folder after a manifest was put changes nothing."""
    sealed = await asyncio.to_thread(_sealed, reconciler.storage, current)
    async with reconciler.database.transaction() as connection:
        still = await lifecycle.lock(connection, current.id)
        if still is None or not still.is_about(current.ref):
            return
        if sealed:
            log.warning("the folder was changed after its manifest was put", reason=str(error))
            await lifecycle.succeeded(connection, still, None, sealed)
            return
        if not _may_be_put(current, still):
            metrics.SEALS.labels("rejected").inc()
            ending = Ending(AttemptState.FAILED, "PROPOSAL_REJECTED", f"the result was refused: {error}", False)
            await lifecycle.ended(connection, still, ending, reconciler.settings.retry_delay_seconds)
            return
    await _put_off(reconciler, current.id, _MAY_BE_PUT)


def _may_be_put(before: Current, after: Current) -> bool:
    """Whether a look at the store between these two may have come too early: some sealer's PUT was under way, or was begun."""
    if after.manifest_put_at != before.manifest_put_at:
        return True
    return before.manifest_put_at is not None and before.now - before.manifest_put_at < timedelta(seconds=seal.PUT_SECONDS)


def _sealed(storage: Storage, current: Current) -> list[dict[str, object]]:
    """The rows of what an earlier try sealed of this run, the main one first; none while the main manifest is not there."""
    found = [(path, seal.find_manifest(storage, path, current.id, current.run_id)) for path in current.outputs]
    return [seal.registration(path, *there) for path, there in found if there is not None] if found[0][1] is not None else []


async def _seal_waits(reconciler: Reconciler, current: Current, error: StorageUnavailable) -> None:
    """Say that the seal waits; after its limit, give it up, unless a manifest may be there already: then only the store can tell."""
    limit = reconciler.settings.seal_limit_seconds
    async with reconciler.database.transaction() as connection:
        still = await lifecycle.lock(connection, current.id)
        if still is None or still.attempt_state is not AttemptState.SEALING:  # another sealer had more luck
            return
        waited = still.sealing_at is not None and still.now - still.sealing_at > timedelta(seconds=limit)
        if waited and still.manifest_put_at is None:
            reason = f"the files are complete, and for {limit:g} s the object store did not let them be sealed: {error}"
            ending = Ending(AttemptState.FAILED, "STORAGE_UNAVAILABLE", reason, retryable=False)
            await lifecycle.ended(connection, still, ending, reconciler.settings.retry_delay_seconds)
        else:
            await lifecycle.note(connection, still, "waiting", _WAITS_FOR_STORE)


async def _put_off(reconciler: Reconciler, process_id: UUID, why: str) -> None:
    """Let the attempt wait for its next turn, the longer the longer it has waited, and its process say why."""
    async with reconciler.database.connection() as connection:
        await queries.put_off_seal(connection, process_id=process_id)
    async with reconciler.database.transaction() as connection:
        still = await lifecycle.lock(connection, process_id)
        if still is not None and still.attempt_state is AttemptState.SEALING:
            await lifecycle.note(connection, still, "waiting", why)
