"""A platform under steady load while its parts and drivers are killed, or asked to end, in turn: nothing is lost, and nothing grows.

    python -m benchmarks.soak --minutes 30 [--seed 7] [--kill-every 20] [--json soak.json]

Exit code 0: the oracle has nothing to say, something was killed, and at the end nothing runs. From five minutes on each part and a driver
were sent SIGKILL and SIGTERM once at least, for which it goes on for longer if it must, and memory, open files and connections are flat;
from ten on every series is. The seed is printed; the same seed makes the same choices of work and of victims.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from confluent_kafka import Consumer, TopicPartition

from benchmarks.pauses import pause
from benchmarks.samples import Samples
from benchmarks.slope import Trend, trend
from benchmarks.strikes import PARTS, ROUND, Strikes
from benchmarks.witness import Witness
from tests.chaos.left import left_running
from tests.chaos.oracle import Evidence, violations
from tests.control_plane.caller import announced, parquet
from tests.control_plane.waiting import eventually
from tests.e2e.platform import FINAL, Platform, running_platform

TOLERANCE = 0.25
"""Growth over the second half, as a part of the median, that still counts as flat."""
JUDGED_FROM_MINUTES = 5
JUDGED_IN_FULL_FROM_MINUTES = 10
FLOORS = {"memory (PSS, MiB)": 128, "open files": 16, "connections": 8}
"""What is judged of a short soak, and the growth, each in its unit, up to which that is noise."""
WARM_SECONDS = 60
ENOUGH_PROCESSES = 20
"""So many that what is there in any case does not weigh in what tables and topics take a process."""
_OPEN = "SELECT process_id, number, state FROM attempts WHERE rank < 60"
_WAITING = "SELECT process_id, kind FROM outbox WHERE released_at IS NOT NULL AND published_at IS NULL"
ENTITY, VERSION = "soak", "v1"
WORK: tuple[tuple[str, dict[str, Any]], ...] = (
    ("filter", {"condition": "delay > 0"}),
    ("aggregate", {"group_by": ["carrier"], "measures": [{"function": "count", "name": "n"}]}),
    ("profile", {}),
    ("sql", {"query": "SELECT carrier, sum(delay) AS total FROM source GROUP BY carrier"}),
)
OPEN_AT_ONCE = 6
"""Processes that may be open before another is posted: a steady load is one that this machine keeps up with."""
QUIET_SECONDS = 900.0
"""In which what is under way at the end ends, on a machine that has much else to do too."""


@dataclass
class Soak:
    """What was done and found."""

    seed: int
    minutes: float
    accepted: list[str] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    cancels: int = 0
    retries: int = 0
    uploads: int = 0
    states: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    trends: dict[str, Trend] = field(default_factory=dict)

    def steep(self) -> list[str]:
        """Series that grow, of those that so many minutes can tell of."""
        if self.minutes < JUDGED_FROM_MINUTES:
            return []
        if self.minutes >= JUDGED_IN_FULL_FROM_MINUTES:
            few = len(self.accepted) < ENOUGH_PROCESSES
            return [name for name, found in self.trends.items() if not found.is_flat(TOLERANCE) and not (few and "a process" in name)]
        judged = {name: FLOORS[kind] for name in self.trends for kind in FLOORS if name.endswith(kind)}
        return [name for name, floor in judged.items() if not self.trends[name].is_flat(TOLERANCE, floor)]

    def unjudged(self) -> list[str]:
        """Series that must be judged, and have too few samples."""
        if self.minutes < JUDGED_FROM_MINUTES:
            return []
        wanted = [f"{part}: {kind}" for part in PARTS for kind in FLOORS if kind != "connections"]
        return [name for name in (*wanted, "postgres: connections") if name not in self.trends]

    def failures(self) -> list[str]:
        """Why it has not passed, in plain words; empty when it has."""
        steep = [f"{name} grows by more than {TOLERANCE:.0%}" for name in self.steep()]
        return [*self.problems, *steep, *(f"{name} has too few samples" for name in self.unjudged())]

    def table(self) -> str:
        """For people."""
        done = f"seed {self.seed}: {len(self.accepted)} processes {self.states}, {self.cancels} cancels, {self.retries} retries"
        lines = [f"{done}, {self.uploads} uploads; killed {self.kills}", f"{'series':40} {'median':>14} {'growth':>8}"]
        lines += [f"{name:40} {found.level:14.1f} {found.growth:8.1%}" for name, found in sorted(self.trends.items())]
        return "\n".join([*lines, *(self.failures() or ["the oracle has nothing to say"])])

    def document(self) -> dict[str, Any]:
        """For programs."""
        trends = {name: {"level": found.level, "growth": found.growth} for name, found in self.trends.items()}
        return {**self.__dict__, "trends": trends, "tolerance": TOLERANCE, "failures": self.failures()}


async def soak(platform: Platform, minutes: float, kill_every: float, seed: int) -> Soak:
    """Load, kill, wait, judge."""
    done, chance = Soak(seed, minutes), random.Random(seed)
    samples = Samples(platform.home, platform.document["database_url"], min(WARM_SECONDS, minutes * 6))
    load_chance, strike_chance = random.Random(chance.random()), random.Random(chance.random())
    strikes, witness = Strikes(platform, strike_chance, kill_every, done.kills), Witness(platform)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_load(platform, done, load_chance, stop))
        tasks.create_task(strikes.strike(stop))
        tasks.create_task(_witness(witness, stop))
        tasks.create_task(_sample(platform, samples, min(3, minutes * 60 / 40), stop))
        tasks.create_task(_tell(done, minutes, stop))
        await asyncio.sleep(minutes * 60)
        if minutes >= JUDGED_FROM_MINUTES:
            with suppress(TimeoutError):  # who was spared is told
                await asyncio.wait_for(strikes.round_over.wait(), minutes * 60)
        stop.set()
    print("no more load, no more kills: waiting for what is open, then judging", flush=True)
    await asyncio.to_thread(platform.up)
    await _judge(platform, done, witness)
    if not done.kills:
        done.problems.append("nothing was killed")
    if minutes >= JUDGED_FROM_MINUTES:
        done.problems += [f"never sent: {blow}" for blow in strikes.spared()]
    done.trends = {name: found for name, series in samples.series.items() if (found := trend(series)) is not None}
    return done


async def _load(platform: Platform, done: Soak, chance: random.Random, stop: asyncio.Event) -> None:
    headers = {"Authorization": f"Bearer {platform.document['token']}"}
    async with httpx.AsyncClient(base_url=platform.document["url"], headers=headers, timeout=30) as http:
        await _upload(http, done, VERSION)
        number = 0
        while not await pause(stop, 1 + chance.random() * 2):
            with suppress(httpx.TransportError):  # a part was killed; `_one` sends again whatever was accepted
                if await _open(http) < OPEN_AT_ONCE:
                    number += 1
                    await _one(http, done, chance, number)


async def _open(http: httpx.AsyncClient) -> int:
    """How many processes have not ended; as good as too many while the API cannot say."""
    answer = await http.get("/v1/processes", params={"limit": 200})
    return sum(item["state"] not in FINAL for item in answer.json()["items"]) if answer.is_success else OPEN_AT_ONCE


async def _one(http: httpx.AsyncClient, done: Soak, chance: random.Random, number: int) -> None:
    """One process, and now and then a cancel of it, a retry or an upload."""
    action, parameters = chance.choice(WORK)
    body = {"entity_id": ENTITY, "data_version": VERSION, "action": action, "parameters": parameters, "output_dataset": f"d{number}"}
    answer = await _insist(http, "/v1/processes", body)
    process_id = str(answer.raise_for_status().json()["id"])
    done.accepted.append(process_id)
    if chance.random() < 0.15:
        await asyncio.sleep(chance.random() * 5)
        if (await _insist(http, f"/v1/processes/{process_id}/cancel")).status_code == 202:
            done.cancels += 1
    if chance.random() < 0.1:
        await _upload(http, done, f"more-{number}")
    if chance.random() < 0.15:
        again = await _insist(http, f"/v1/processes/{chance.choice(done.accepted)}/retry")
        if again.status_code == 202:
            done.accepted.append(str(again.json()["id"]))
            done.retries += 1


async def _insist(http: httpx.AsyncClient, path: str, body: Any = None) -> httpx.Response:
    """POST until there is an answer other than 'not now'."""
    while True:
        try:
            answer = await http.post(path, json=body)
        except httpx.TransportError:
            await asyncio.sleep(0.5)
            continue
        if answer.status_code != 503:
            return answer
        await asyncio.sleep(float(answer.headers.get("Retry-After", 1)))


async def _upload(http: httpx.AsyncClient, done: Soak, version: str) -> None:
    path = f"/v1/entities/{ENTITY}/versions/{version}/datasets/source/uploads"
    data = parquet()
    answer = await _insist(http, path, {"files": [announced("part-00000.parquet", data)]})
    upload = answer.raise_for_status().json()
    async with httpx.AsyncClient() as store:
        for target in upload["files"]:
            while True:
                try:
                    put = await store.put(target["url"], content=data, headers=target["headers"])
                except httpx.TransportError:
                    await asyncio.sleep(0.5)
                    continue
                if put.is_success or put.status_code == 412:  # there already: the answer to the first try was lost
                    break
                await asyncio.sleep(0.5)
    (await _insist(http, f"{path}/{upload['upload_id']}/seal")).raise_for_status()
    done.uploads += 1


async def _sample(platform: Platform, samples: Samples, every: float, stop: asyncio.Event) -> None:
    while not await pause(stop, every):
        await samples.take(platform.document["pids"])


async def _witness(witness: Witness, stop: asyncio.Event) -> None:
    while not await pause(stop, 10):
        with suppress(OSError, asyncpg.PostgresError):  # the database was killed a moment ago
            await witness.look()


async def _tell(done: Soak, minutes: float, stop: asyncio.Event) -> None:
    """A line a minute, so that nobody wonders."""
    minute = 0
    while not await pause(stop, 60):
        minute += 1
        print(f"minute {minute} of {minutes:g}: {len(done.accepted)} processes accepted, killed {done.kills}", flush=True)


async def _judge(platform: Platform, done: Soak, witness: Witness) -> None:
    """Wait until all have ended; then the oracle over everything, and what is left that should not be."""
    sql = await asyncpg.connect(platform.document["database_url"])
    try:
        all_ended = "SELECT NOT EXISTS (SELECT FROM processes WHERE ended_at IS NULL)"
        with suppress(AssertionError):  # the oracle says it better
            await eventually(lambda: sql.fetchval(all_ended), QUIET_SECONDS, "the end of all processes")
        rows = await sql.fetch("SELECT state, count(*) AS n FROM processes GROUP BY state")
        done.states = {row["state"]: row["n"] for row in rows}
        commands = await asyncio.to_thread(_commands, platform.document["kafka"]["bootstrap"])
        await witness.look()
        witness.ledger.accepted = done.accepted
        done.problems = await violations(Evidence(sql, platform.s3, commands, witness.ledger), sorted(set(done.accepted)))
        done.problems += await _left(sql) + await left_running(platform.home / "jobs")
        for what, runs in (("granted", witness.ledger.granted), ("finished", witness.ledger.finished)):
            if not runs and "succeeded" in done.states:
                done.problems.append(f"no driver's log has an attempt that was {what}: {done.states}")
        if set(done.states) - set(FINAL):
            done.problems.append(f"not all have ended: {done.states}")
    finally:
        await sql.close()


async def _left(sql: asyncpg.Connection) -> list[str]:
    """What is still open or on its way, of whatever process."""
    problems = [f"attempt {row['number']} of {row['process_id']} is {row['state']}" for row in await sql.fetch(_OPEN)]
    return problems + [f"a message of {row['process_id']} is not published: {row['kind']}" for row in await sql.fetch(_WAITING)]


def _commands(bootstrap: str) -> list[bytes]:
    """Every message on the command topic."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "soak", "enable.auto.commit": False})
    topic = "stratum.commands.v1"
    try:
        parts = [TopicPartition(topic, number, 0) for number in consumer.list_topics(topic, timeout=20).topics[topic].partitions]
        left = sum(high - low for low, high in (consumer.get_watermark_offsets(part, timeout=20) for part in parts))
        consumer.assign(parts)
        values: list[bytes] = []
        while len(values) < left:
            values += [message.value() for message in consumer.consume(min(left - len(values), 1000), 20) if message.error() is None]
        return values
    finally:
        consumer.close()


def main() -> int:
    """Soak and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--kill-every", type=float, help="seconds, on average; by default 20, or as many as a round of all takes")
    parser.add_argument("--json", type=Path, default=Path("soak.json"))
    chosen = parser.parse_args()
    kill_every = chosen.kill_every or min(20, chosen.minutes * 60 / (2 * len(ROUND)))
    print(f"seed {chosen.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder, running_platform(Path(folder) / "home") as platform:
        done = asyncio.run(soak(platform, chosen.minutes, kill_every, chosen.seed))
    print(done.table())
    chosen.json.write_text(json.dumps(done.document(), indent=2))
    return int(bool(done.failures()))


if __name__ == "__main__":
    sys.exit(main())
