"""The two state tables. Every state change in Stratum goes through them; the database holds the same tables as CHECKs."""

from enum import StrEnum


class ProcessState(StrEnum):
    """What a caller sees of a request."""

    ACCEPTED = "accepted"
    QUEUED = "queued"
    SUBMITTED = "submitted"
    RUNNING = "running"
    SEALING = "sealing"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Final is final: nothing leads out of it; a retry is a new process."""
        return not PROCESS_TRANSITIONS[self]


_P = ProcessState
PROCESS_TRANSITIONS: dict[ProcessState, frozenset[ProcessState]] = {
    _P.ACCEPTED: frozenset({_P.QUEUED, _P.CANCELLED, _P.FAILED}),
    _P.QUEUED: frozenset({_P.SUBMITTED, _P.RUNNING, _P.ACCEPTED, _P.CANCELLING, _P.FAILED}),
    _P.SUBMITTED: frozenset({_P.RUNNING, _P.ACCEPTED, _P.CANCELLING, _P.FAILED}),
    _P.RUNNING: frozenset({_P.SEALING, _P.ACCEPTED, _P.CANCELLING, _P.FAILED}),
    _P.SEALING: frozenset({_P.SUCCEEDED, _P.FAILED}),
    _P.CANCELLING: frozenset({_P.CANCELLED}),
    _P.SUCCEEDED: frozenset(),
    _P.FAILED: frozenset(),
    _P.CANCELLED: frozenset(),
}
PROCESS_MEANING: dict[ProcessState, str] = {
    _P.ACCEPTED: "Stored; held by admission until there is room, or waiting for its next attempt.",
    _P.QUEUED: "Released: on its way to the launcher.",
    _P.SUBMITTED: "The job exists and waits to start.",
    _P.RUNNING: "A run was granted the attempt and reports heartbeats.",
    _P.SEALING: "All files are written; the manifest is being put. Can no longer be cancelled.",
    _P.CANCELLING: "No run may go on; waiting until its job is seen to be gone.",
    _P.SUCCEEDED: "The dataset is sealed.",
    _P.FAILED: "Ended without a dataset; the reason says why.",
    _P.CANCELLED: "Ended at the caller's wish.",
}


class AttemptState(StrEnum):
    """One numbered try at a step. It only moves forward by rank, and may skip: messages and pods outrun bookkeeping."""

    CREATED = "created"
    RELEASED = "released"
    PUBLISHED = "published"
    SUBMITTED = "submitted"
    STARTED = "started"
    SEALING = "sealing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Ended, one way or another."""
        return ATTEMPT_RANK[self] == FINAL_RANK


_A = AttemptState
FINAL_RANK = 60
ATTEMPT_RANK: dict[AttemptState, int] = {
    _A.CREATED: 0,
    _A.RELEASED: 10,
    _A.PUBLISHED: 20,
    _A.SUBMITTED: 30,
    _A.STARTED: 40,
    _A.SEALING: 50,
    _A.SUCCEEDED: FINAL_RANK,
    _A.FAILED: FINAL_RANK,
    _A.LOST: FINAL_RANK,
    _A.CANCELLED: FINAL_RANK,
}
ATTEMPT_MEANING: dict[AttemptState, str] = {
    _A.CREATED: "Stored; held by admission.",
    _A.RELEASED: "Admitted: its command lies in the outbox.",
    _A.PUBLISHED: "Kafka has the command.",
    _A.SUBMITTED: "The job exists.",
    _A.STARTED: "A run was granted the attempt; no other run can be.",
    _A.SEALING: "The run has proposed its files; the manifest is being put.",
    _A.SUCCEEDED: "The manifest is there.",
    _A.FAILED: "The run or the launcher reported why it cannot succeed, or its proposal did not hold.",
    _A.LOST: "Its lease is over and a full list of jobs, begun after that, did not have it.",
    _A.CANCELLED: "Ended at the caller's wish.",
}


def process_may_become(current: ProcessState, following: ProcessState) -> bool:
    """Whether the table has an arrow from `current` to `following`."""
    return following in PROCESS_TRANSITIONS[current]


def attempt_may_become(current: AttemptState, following: AttemptState) -> bool:
    """Forward by rank only. Out of `sealing` only the seal's own outcomes lead: success, or a proposal that does not hold."""
    if current is _A.SEALING and following in (_A.LOST, _A.CANCELLED):
        return False
    if following is _A.SUCCEEDED:
        return current is _A.SEALING
    return ATTEMPT_RANK[current] < ATTEMPT_RANK[following]
