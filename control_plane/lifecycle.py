"""Every change of a process's or attempt's state. Each function runs inside the caller's transaction, under the process's row lock."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from contracts.catalog import Limits
from contracts.command import AttemptRef
from contracts.error_classes import Remedy, remedy
from contracts.identifiers import new_id
from contracts.layout import DatasetPath, StorageRoot
from contracts.states import PROCESS_TRANSITIONS, AttemptState, ProcessState
from control_plane import retrying
from control_plane.database import Connection, queries
from control_plane.retrying import Tried

RUNNING = "the run has started"


@dataclass(frozen=True, slots=True)
class Current:
    """A locked process with its latest attempt, and that attempt's step."""

    id: UUID
    tenant: str
    process_state: ProcessState
    reason: str
    entity_id: str
    step: int
    action: str
    action_revision: str
    image: str
    parameters: dict[str, Any]
    inputs: list[dict[str, Any]]
    output_data_version: str
    output_dataset: str
    rejected_dataset: str | None
    limits: dict[str, Any]
    attempt: int
    attempt_state: AttemptState
    attempt_reason: str
    failures: int
    waits: int
    waiting_since: datetime | None
    pending_since: datetime | None
    run_id: str | None
    last_sequence: int
    start_before: datetime | None
    proposal_sha256: str | None
    lease_until: datetime | None
    deadline: datetime | None
    silent_since: datetime | None
    sealing_at: datetime | None
    manifest_put_at: datetime | None
    bucket: str
    prefix: str
    now: datetime

    @property
    def ref(self) -> AttemptRef:
        """The attempt, as messages and tokens name it."""
        return AttemptRef(tenant=self.tenant, process_id=self.id, step=self.step, attempt=self.attempt)

    @property
    def root(self) -> StorageRoot:
        """The tenant's storage root."""
        return StorageRoot(self.bucket, self.prefix)

    @property
    def outputs(self) -> list[DatasetPath]:
        """The dataset that the step makes, and the one for refused rows if it was asked for."""
        names = [self.output_dataset] + ([self.rejected_dataset] if self.rejected_dataset else [])
        return [self.root.dataset(self.entity_id, self.output_data_version, name) for name in names]

    def is_about(self, ref: AttemptRef) -> bool:
        """Whether a message is about this very attempt, and not an earlier one."""
        return (ref.tenant, ref.process_id, ref.step, ref.attempt) == (self.tenant, self.id, self.step, self.attempt)

    @property
    def key(self) -> dict[str, Any]:
        """Parameters that name the attempt in a query."""
        return {"process_id": self.id, "step": self.step, "attempt": self.attempt}

    @property
    def tried(self) -> Tried:
        """What became of the attempts up to this one."""
        waited = (self.now - self.waiting_since).total_seconds() if self.waiting_since else 0.0
        return Tried(self.failures, self.waits, waited, self.run_id is not None)


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended without a dataset. `retryable`: what its reporter thinks; the table of error classes has its say too."""

    state: AttemptState
    error_class: str
    reason: str
    retryable: bool


async def lock(connection: Connection, process_id: UUID, tenant: str | None = None) -> Current | None:
    """Lock a process until the transaction ends, and read it. None: there is no such process (of this tenant)."""
    if await queries.lock_process(connection, id=process_id, tenant=tenant) is None:
        return None
    return await read(connection, process_id)


async def read(connection: Connection, process_id: UUID) -> Current:
    """Read a process that this transaction has locked."""
    row = dict(await queries.read_process(connection, id=process_id))
    return Current(**{**row, "process_state": ProcessState(row["process_state"]), "attempt_state": AttemptState(row["attempt_state"])})


async def move(connection: Connection, current: Current, to: ProcessState, reason: str, **data: Any) -> bool:
    """Move the process, with its event. False: the table has no such arrow from where it is now."""
    return await _move(connection, current, to, to.value, reason, data)


async def _move(connection: Connection, current: Current, to: ProcessState, event: str, reason: str, data: dict[str, Any]) -> bool:
    sequence = await queries.move_process(
        connection,
        id=current.id,
        state=to.value,
        reason=reason,
        final=to.is_final,
        allowed=[state.value for state, following in PROCESS_TRANSITIONS.items() if to in following],
        type=event,
        data={"attempt": current.attempt, "reason": reason, **data},
    )
    if sequence is not None and to.is_final:
        await queries.release_claims(connection, process_id=current.id)
        await queries.owe_webhook(connection, id=new_id(), process_id=current.id)
    return sequence is not None


async def submitted(
    connection: Connection, current: Current, job_name: str, cluster: str, profile: dict[str, Any] | None, lease_seconds: float
) -> None:
    """The launcher made the job. News that comes after the run's own changes nothing but where the job is."""
    job = {"job_name": job_name, "cluster": cluster, "resource_profile": profile}
    if await queries.submit_attempt(connection, **current.key, **job, lease_seconds=lease_seconds) is None:
        await queries.note_job(connection, **current.key, **job)
        return
    await move(connection, current, ProcessState.SUBMITTED, "the job exists and waits to start", job_name=job_name)


async def pending(connection: Connection, current: Current, cause: str, *, queued: bool) -> None:
    """The job waits, for `cause`; `queued`: a queue holds it, which has no limit of its own."""
    if await queries.note_pending(connection, **current.key, cause=cause, queued=queued) is not None:
        await note(connection, current, "pending", cause)


async def note(connection: Connection, current: Current, event: str, reason: str) -> None:
    """Say why the process is as it is, once, without a change of its state."""
    await queries.note_event(connection, id=current.id, reason=reason, type=event, data={"attempt": current.attempt, "reason": reason})


async def heard(
    connection: Connection, current: Current, run_id: str, sequence: int, progress: dict[str, Any] | None, lease_seconds: float
) -> None:
    """The granted run is alive: renew its lease, say what it waits for, and take back what is over of that and of its silence."""
    await queries.renew_lease(connection, **current.key, run_id=run_id, sequence=sequence, progress=progress, lease_seconds=lease_seconds)
    if sequence <= current.last_sequence:
        return  # overtaken on its way: what the run waited for may be over
    if waiting := (progress or {}).get("waiting"):
        await note(connection, current, "waiting", waiting)
    elif current.reason != RUNNING:
        await queries.set_reason(connection, id=current.id, reason=RUNNING)


async def started(connection: Connection, current: Current, run_id: str, sequence: int, lease_seconds: float) -> bool:
    """Grant the attempt to a run: from now on this run, and no other, may write."""
    granted = await queries.start_attempt(
        connection,
        **current.key,
        run_id=run_id,
        sequence=sequence,
        lease_seconds=lease_seconds,
        time_limit_seconds=current.limits["time_limit_seconds"],
    )
    return granted is not None and await move(connection, current, ProcessState.RUNNING, RUNNING, run_id=run_id)


async def sealing(connection: Connection, current: Current, proposal_sha256: str | None, sequence: int, witness: str) -> bool:
    """The run's files are complete; from here on it can no longer be cancelled."""
    begun = await queries.start_sealing(connection, **current.key, proposal_sha256=proposal_sha256, sequence=sequence)
    return begun is not None and await move(connection, current, ProcessState.SEALING, "the files are complete", witness=witness)


async def succeeded(connection: Connection, current: Current, metrics: dict[str, Any] | None, datasets: list[dict[str, Any]]) -> bool:
    """Register the sealed datasets and end the process. `metrics`: None when nobody can tell any more."""
    if await queries.end_attempt(connection, **current.key, state="succeeded", reason="sealed", error_class=None) is None:
        return False
    for dataset in datasets:
        await queries.register_dataset(connection, **dataset)
    await queries.set_metrics(connection, id=current.id, metrics=metrics)
    return await move(connection, current, ProcessState.SUCCEEDED, "the dataset is sealed", location=datasets[0]["location"])


async def ended(connection: Connection, current: Current, ending: Ending, retry_delay_seconds: float) -> bool:
    """End an attempt without a dataset: try again if that may help and there are attempts left, else fail the process."""
    closed = await queries.end_attempt(
        connection, **current.key, state=ending.state.value, reason=ending.reason, error_class=ending.error_class
    )
    if closed is None:
        return False
    facts = {"outcome": ending.state.value, "error_class": ending.error_class}
    limits, tried = Limits.model_validate(current.limits), current.tried
    again = retrying.following(limits, tried, ending.error_class, retry_delay_seconds, claimed=ending.retryable)
    if again is None:
        return await move(connection, current, ProcessState.FAILED, _last_words(ending, limits, tried), **facts)
    await queries.next_attempt(
        connection, **current.key, message_id=new_id(), delay_seconds=again.delay_seconds, failures=again.failures, waits=again.waits
    )
    which = "" if again.waits else f"attempt {again.failures} of {limits.max_attempts}: "
    reason = f"{which}{ending.reason}; tried again in {again.delay_seconds:g} s"
    return await _move(connection, current, ProcessState.ACCEPTED, "retrying", reason, {**facts, "delay_seconds": again.delay_seconds})


def _last_words(ending: Ending, limits: Limits, tried: Tried) -> str:
    """The reason of a failed process: with how often or how long it was tried, where that was of use."""
    wanted = remedy(ending.error_class, limits.retry.also)
    if wanted is Remedy.NEVER or not ending.retryable:
        return ending.reason
    if wanted is Remedy.WAIT and not tried.has_run:
        return f"{ending.reason} (tried for {tried.waited_seconds:.0f} s)"
    return f"{ending.reason} (after {tried.failures + 1} attempts)"


async def cancel(connection: Connection, current: Current) -> bool:
    """Fence the attempt, so that no run of it may go on, and have its job ended. False: too late."""
    waiting = current.process_state is ProcessState.ACCEPTED
    target = ProcessState.CANCELLED if waiting else ProcessState.CANCELLING
    if target not in PROCESS_TRANSITIONS[current.process_state]:
        return False
    reason = "cancelled by the caller"
    await queries.end_attempt(connection, **current.key, state="cancelled", reason=reason, error_class=None)
    if not waiting:
        await kill_job(connection, current)
    return await move(connection, current, target, reason if waiting else "cancelled by the caller; waiting until its job is gone")


async def kill_job(connection: Connection, current: Current) -> None:
    """Tell the launcher to end the attempt's job."""
    await queries.send_cancel(connection, tenant=current.tenant, **current.key, message_id=new_id())


async def job_gone(connection: Connection, current: Current) -> bool:
    """A cancelled process's job was seen to be gone."""
    return await move(connection, current, ProcessState.CANCELLED, "cancelled by the caller")
