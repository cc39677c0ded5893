"""The one judge of all chaos: what must hold of every process, whatever was broken. It asks the database, the store and the broker."""

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from uuid import UUID

import asyncpg

from contracts.layout import MANIFEST_NAME
from contracts.states import PROCESS_TRANSITIONS, ProcessState
from tests.chaos.histories import STATE_OF, misplaced
from tests.chaos.ledger import Ledger

_CLAIMS = "SELECT dataset FROM claims WHERE process_id = $1"
_OPEN = "SELECT state, number FROM attempts WHERE process_id = $1 AND rank < 60"
_UNPUBLISHED = "SELECT kind, attempt FROM outbox WHERE process_id = $1 AND released_at IS NOT NULL AND published_at IS NULL"


@dataclass(frozen=True)
class Evidence:
    """Where the truth is looked up. `commands`: values of all messages on the command topic."""

    sql: asyncpg.Connection
    s3: Any
    commands: Sequence[bytes]
    ledger: Ledger


async def violations(evidence: Evidence, process_ids: Iterable[str], *, once: bool = False) -> list[str]:
    """Everything that does not hold, in plain words; empty when all is well. `once`: nothing died, so no message may come twice."""
    found = []
    for process_id in process_ids:
        found += [f"{process_id}: {problem}" for problem in await _of_process(evidence, process_id)]
    return found + _of_commands(evidence.commands, once) + evidence.ledger.intruders


async def _of_process(evidence: Evidence, process_id: str) -> list[str]:
    sql, key = evidence.sql, UUID(process_id)
    process = await sql.fetchrow("SELECT * FROM processes WHERE id = $1", key)
    if process is None:
        return ["it was accepted and is gone"]
    problems = await _history(sql, key, process)
    if process["ended_at"] is None:
        return [*problems, f"it has not ended: {process['state']}, {process['reason']}"]
    for what, query in (("a claim is left", _CLAIMS), ("an attempt is open", _OPEN), ("a message is not published", _UNPUBLISHED)):
        problems += [f"{what}: {tuple(row)}" for row in await sql.fetch(query, key)]
    last = await sql.fetchval("SELECT state FROM attempts WHERE process_id = $1 ORDER BY step DESC, number DESC LIMIT 1", key)
    if (last == "succeeded") != (process["state"] == "succeeded"):
        problems.append(f"its last attempt is {last}, it is {process['state']}")
    return problems + await _runs(evidence, process_id) + await _datasets(evidence, process)


async def _history(sql: asyncpg.Connection, key: UUID, process: asyncpg.Record) -> list[str]:
    """Events are complete, numbered, in an order that the state table has, and each remark is in its place."""
    events = await sql.fetch("SELECT sequence, type FROM events WHERE process_id = $1 ORDER BY sequence", key)
    problems = []
    if [event["sequence"] for event in events] != list(range(1, process["last_event"] + 1)):
        problems.append(f"its events are numbered {[event['sequence'] for event in events]}, the last is {process['last_event']}")
    problems += misplaced(event["type"] for event in events)
    states = [STATE_OF[event["type"]] for event in events if event["type"] in STATE_OF]
    if not states or states[0] is not ProcessState.ACCEPTED:
        problems.append("its history does not begin with its acceptance")
    problems += [f"its history has {a} -> {b}" for a, b in pairwise(states) if b not in PROCESS_TRANSITIONS[a]]
    if states and states[-1].value != process["state"]:
        problems.append(f"its history ends with {states[-1]}, its state is {process['state']}")
    return problems


async def _runs(evidence: Evidence, process_id: str) -> list[str]:
    """One run an attempt was granted; who had finished was not called lost."""
    problems = []
    attempts = await evidence.sql.fetch(
        "SELECT number, state, run_id FROM attempts WHERE process_id = $1 ORDER BY number", UUID(process_id)
    )
    for attempt in attempts:
        granted = evidence.ledger.granted.get((process_id, attempt["number"]), set())
        finished = evidence.ledger.finished.get((process_id, attempt["number"]), set())
        if len(granted) > 1:
            problems.append(f"attempt {attempt['number']} was granted to {len(granted)} runs")
        if granted and attempt["run_id"] not in granted:
            problems.append(f"attempt {attempt['number']} is {attempt['run_id']}'s by the database, {granted} were told so")
        if finished and attempt["state"] in ("lost", "cancelled"):
            problems.append(f"attempt {attempt['number']} had finished and was called {attempt['state']}")
        if attempt["state"] == "lost" and (process_id, attempt["number"]) in evidence.ledger.alive:
            problems.append(f"attempt {attempt['number']} was called lost while its run lived")
    if len(attempts) != 1 + sum(attempt["state"] in ("failed", "lost") for attempt in attempts[:-1]):
        problems.append(f"it has {len(attempts)} attempts that end {[attempt['state'] for attempt in attempts]}")
    return problems


async def _datasets(evidence: Evidence, process: asyncpg.Record) -> list[str]:
    """A success has one manifest a dataset, which names exactly the files that lie there; what did not succeed has none."""
    rows = {row["dataset"]: row for row in await evidence.sql.fetch("SELECT * FROM datasets WHERE process_id = $1", process["id"])}
    step = await evidence.sql.fetchrow(
        "SELECT rejected_dataset FROM steps WHERE process_id = $1 ORDER BY number DESC LIMIT 1", process["id"]
    )
    names = [process["output_dataset"], *filter(None, [step["rejected_dataset"]])]
    problems = [f"it has the dataset {name}, which was not asked for" for name in sorted(rows.keys() - set(names))]
    for name in names:
        problems += await _dataset(evidence, process, name, rows.get(name))
    return problems


async def _dataset(evidence: Evidence, process: asyncpg.Record, name: str, row: asyncpg.Record | None) -> list[str]:
    tenant = await evidence.sql.fetchrow("SELECT bucket, prefix FROM tenants WHERE id = $1", process["tenant"])
    folder = f"{tenant['prefix']}{process['entity_id']}/{process['output_data_version']}/{name}/"
    objects = await asyncio.to_thread(_listing, evidence.s3, tenant["bucket"], folder)
    mine = [m for m in await _manifests(evidence.s3, tenant["bucket"], objects) if m["process_id"] == str(process["id"])]
    if process["state"] != "succeeded":
        problems = [f"it is {process['state']} and has the dataset {name}"] if row is not None else []
        return problems + (["it is not a success and a manifest is its own"] if mine else [])
    if row is None and not mine and name != process["output_dataset"]:
        return []  # no row was refused
    if row is None or f"{folder}{MANIFEST_NAME}" not in objects:
        return [f"it succeeded; {name} is registered: {row is not None}, its manifest is there: {f'{folder}{MANIFEST_NAME}' in objects}"]
    return await _sealed(evidence, row, tenant["bucket"], objects)


async def _sealed(evidence: Evidence, row: asyncpg.Record, bucket: str, objects: dict[str, int]) -> list[str]:
    body = await asyncio.to_thread(_read, evidence.s3, bucket, row["manifest_key"])
    problems = []
    if f"sha256:{hashlib.sha256(body).hexdigest()}" != row["manifest_sha256"]:
        problems.append("the manifest in the store is not the one that was registered")
    manifest = json.loads(body)
    prefix = row["manifest_key"].removesuffix(MANIFEST_NAME) + f"{manifest['run_id']}/"
    named = {file["key"]: file["size"] for file in manifest["files"]}
    lies = {key: size for key, size in objects.items() if key.startswith(prefix) and not key.rsplit("/", 1)[1].startswith("_")}
    if named != lies:
        problems.append(f"the manifest names {sorted(named)}, there lie {sorted(lies)}")
    if (manifest["process_id"], manifest["run_id"]) != (str(row["process_id"]), row["run_id"]):
        problems.append("the manifest is another run's")
    folders = {key.removeprefix(row["manifest_key"].removesuffix(MANIFEST_NAME)).split("/")[0] for key in objects} - {MANIFEST_NAME}
    granted = {run for runs in evidence.ledger.granted.values() for run in runs}
    granted |= {row["run_id"] for row in await evidence.sql.fetch("SELECT run_id FROM attempts WHERE run_id = ANY($1)", list(folders))}
    return problems + [f"{stranger} wrote without a grant" for stranger in sorted(folders - granted)]


def _of_commands(values: Sequence[bytes], once: bool) -> list[str]:
    """An attempt has one command; if it comes twice, it is the same to the byte."""
    by_attempt: dict[tuple[str, int], list[bytes]] = defaultdict(list)
    for value in values:
        command = json.loads(value)
        by_attempt[command["process_id"], command["attempt"]].append(value)
    problems = []
    for (process_id, number), copies in by_attempt.items():
        if len(set(copies)) > 1:
            problems.append(f"{process_id}: attempt {number} has {len(set(copies))} different commands")
        if once and len(copies) > 1:
            problems.append(f"{process_id}: the command of attempt {number} came {len(copies)} times")
    return problems


async def _manifests(s3: Any, bucket: str, objects: dict[str, int]) -> list[dict[str, Any]]:
    keys = [key for key in objects if key.endswith(MANIFEST_NAME)]
    return [json.loads(await asyncio.to_thread(_read, s3, bucket, key)) for key in keys]


def _listing(s3: Any, bucket: str, prefix: str) -> dict[str, int]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", ()) if not item["Key"].endswith("/")}


def _read(s3: Any, bucket: str, key: str) -> bytes:
    return bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
