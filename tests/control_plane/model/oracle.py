"""What must hold of every process at every moment, whatever was done to it and in whatever order."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from contracts.states import ATTEMPT_RANK, FINAL_RANK, PROCESS_TRANSITIONS, AttemptState, ProcessState
from control_plane.reconciler import Reconciler

_A, _P = AttemptState, ProcessState
AGREEING: dict[ProcessState, set[AttemptState]] = {
    _P.ACCEPTED: {_A.CREATED},
    _P.QUEUED: {_A.RELEASED, _A.PUBLISHED},
    _P.SUBMITTED: {_A.SUBMITTED},
    _P.RUNNING: {_A.STARTED},
    _P.SEALING: {_A.SEALING},
    _P.CANCELLING: {_A.CANCELLED},
    _P.SUCCEEDED: {_A.SUCCEEDED},
    _P.FAILED: {_A.FAILED, _A.LOST},
    _P.CANCELLED: {_A.CANCELLED},
}
"""In which state the last attempt of a process may be."""
_NOTES = {"pending", "waiting", "silent", "unwatched"}
"""Events that are no change of state."""
_LOOK = """
SELECT p.id::text, p.state, p.reason, p.last_event, p.ended_at, p.output_dataset, s.rejected_dataset,
    (SELECT jsonb_agg(to_jsonb(a) ORDER BY a.number) FROM attempts a WHERE a.process_id = p.id) AS attempts,
    (SELECT jsonb_agg(jsonb_build_array(e.sequence, e.type) ORDER BY e.sequence) FROM events e WHERE e.process_id = p.id) AS events,
    (SELECT count(*) FROM claims c WHERE c.process_id = p.id) AS claims,
    (SELECT coalesce(jsonb_agg(to_jsonb(o) ORDER BY o.id), '[]') FROM outbox o WHERE o.process_id = p.id) AS outbox,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('run_id', d.run_id, 'dataset', d.dataset)), '[]') FROM datasets d
        WHERE d.process_id = p.id) AS datasets,
    (s.limits->>'max_attempts')::integer AS max_attempts
FROM processes p JOIN steps s ON s.process_id = p.id ORDER BY p.id"""


@dataclass
class Oracle:
    """Looks at the database as it is at one moment, and remembers what it saw."""

    reconciler: Reconciler
    seen: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def check(self) -> list[dict[str, Any]]:
        """Every process; or the first thing that must not be."""
        async with self.reconciler.database.connection() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
            rows = [dict(row) for row in await connection.fetch(_LOOK)]
        active = [name for row in rows if not ProcessState(row["state"]).is_final for name in _outputs(row)]
        assert len(active) == len(set(active)), f"two processes make one dataset: {active}"
        for row in rows:
            _check_events(row)
            _check_attempts(row)
            _check_outbox(row)
            _check_results(row)
            if earlier := self.seen.get(row["id"]):
                _check_progress(earlier, row)
            self.seen[row["id"]] = row
        return rows


def _outputs(row: dict[str, Any]) -> list[str]:
    """The datasets that the process makes."""
    return [name for name in (row["output_dataset"], row["rejected_dataset"]) if name is not None]


def _check_events(row: dict[str, Any]) -> None:
    sequences, types = zip(*row["events"], strict=True)
    assert list(sequences) == list(range(1, row["last_event"] + 1)), f"events are not numbered without gaps: {row['events']}"
    path = ["accepted" if kind == "retrying" else kind for kind in types if kind not in _NOTES]
    assert path[0] == "accepted"
    for before, after in pairwise(path):
        assert ProcessState(after) in PROCESS_TRANSITIONS[ProcessState(before)], f"no arrow from {before} to {after}: {types}"
    assert path[-1] == row["state"], f"the last event is not the state {row['state']}: {types}"


def _check_attempts(row: dict[str, Any]) -> None:
    attempts = row["attempts"]
    assert [attempt["number"] for attempt in attempts] == list(range(1, len(attempts) + 1))
    assert all(attempt["rank"] == FINAL_RANK for attempt in attempts[:-1]), "an earlier attempt is still open"
    last = attempts[-1]
    assert AttemptState(last["state"]) in AGREEING[ProcessState(row["state"])], f"{row['state']} with an attempt that is {last['state']}"
    assert last["failures"] < row["max_attempts"], "tried more often than it may"
    runs = [attempt["run_id"] for attempt in attempts if attempt["run_id"]]
    assert len(runs) == len(set(runs)), "one run has two attempts"


def _check_outbox(row: dict[str, Any]) -> None:
    runs = {message["attempt"]: message for message in row["outbox"] if message["kind"] == "run"}
    assert runs.keys() == {attempt["number"] for attempt in row["attempts"]}, "not one command an attempt"
    for attempt in row["attempts"]:
        message = runs[attempt["number"]]
        assert message["message_id"] == attempt["message_id"]
        assert (message["released_at"] is not None) == (attempt["released_at"] is not None), "a command is released with its attempt"
        assert message["published_at"] is None or message["released_at"] is not None
        if attempt["state"] == "published":
            assert message["published_at"] is not None
        if attempt["state"] == "created":
            assert message["released_at"] is None
    for message in row["outbox"]:
        if message["kind"] == "cancel":
            assert row["attempts"][message["attempt"] - 1]["rank"] == FINAL_RANK, "a cancel for an attempt that is not over"


def _check_results(row: dict[str, Any]) -> None:
    state = ProcessState(row["state"])
    assert state.is_final == (row["ended_at"] is not None)
    assert (row["claims"] == 0) == state.is_final, f"{state} with {row['claims']} claims"
    if state is not ProcessState.SUCCEEDED:
        assert row["datasets"] == [], f"{state} with a dataset"
        return
    run_id = row["attempts"][-1]["run_id"]
    made = sorted((dataset["dataset"], dataset["run_id"]) for dataset in row["datasets"])
    assert made == sorted((name, run_id) for name in _outputs(row)), "a success is not with the datasets that it should have made"


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """What is told of an ended process. Where its job was may still become known."""
    attempts = [
        [attempt[name] for name in ("number", "state", "reason", "error_class", "run_id", "ended_at")] for attempt in row["attempts"]
    ]
    kept = ("state", "reason", "last_event", "ended_at", "events", "claims", "datasets")
    return {"attempts": attempts, **{name: row[name] for name in kept}}


def _check_progress(earlier: dict[str, Any], now: dict[str, Any]) -> None:
    assert now["events"][: len(earlier["events"])] == earlier["events"], "history was rewritten"
    if ProcessState(earlier["state"]).is_final:
        changed = {name: (value, _told(now)[name]) for name, value in _told(earlier).items() if value != _told(now)[name]}
        assert not changed, f"final is final, and it changed: {changed}"
    for before, after in zip(earlier["attempts"], now["attempts"], strict=False):
        assert ATTEMPT_RANK[AttemptState(before["state"])] <= ATTEMPT_RANK[AttemptState(after["state"])]
        if before["rank"] == FINAL_RANK:
            assert before["state"] == after["state"]
        assert before["run_id"] in (None, after["run_id"]), "an attempt was granted to another run"
        assert before["not_before"] == after["not_before"], "a delay was chosen twice"
