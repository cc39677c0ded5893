"""All that can happen to processes: by callers, relays, launchers, runs, clusters, sealers and clocks. Each is one method."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

from contracts.command import CancelCommand, Command
from contracts.states import ProcessState
from control_plane import lifecycle, proposals, seal
from control_plane.database import queries
from control_plane.errors import ProposalRejected
from tests.control_plane.caller import condition
from tests.control_plane.direct import Direct
from tests.control_plane.driver import Driver
from tests.control_plane.model.oracle import Oracle

T = TypeVar("T")
Key = tuple[str, int]
News = Callable[[], Awaitable[None]]
_names = count()
ERRORS = ("NO_SPACE", "INVALID_PARAMETER", "SOME_SPARK_CLASS", "QUOTA_EXCEEDED")
REFUSALS = ("QUOTA_EXCEEDED", "JOB_REFUSED")
OUTCOMES = ("completed", "failed", "killed", "vanished", "evicted", "out_of_memory", "time_limit", "image_unavailable")


def chosen(items: Sequence[T], pick: int) -> T | None:
    """One of them, if there is any."""
    return items[pick % len(items)] if items else None


def key_of(ref: Command | CancelCommand) -> Key:
    return (str(ref.process_id), ref.attempt)


@dataclass
class World:
    """What exists outside of the control plane: messages, jobs, runs and news that is on its way."""

    direct: Direct
    oracle: Oracle
    example: int = field(default_factory=lambda: next(_names))
    processes: list[str] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    cancels: list[CancelCommand] = field(default_factory=list)
    jobs: dict[Key, Command] = field(default_factory=dict)
    drivers: list[Driver] = field(default_factory=list)
    grants: dict[Key, set[str]] = field(default_factory=lambda: defaultdict(set))
    news: list[News] = field(default_factory=list)

    @property
    def cluster(self) -> str:
        """The cluster of this example."""
        return f"cluster-{self.example}"

    # -- callers ---------------------------------------------------------------------------------------------------------

    async def submit(self, name: int, work: int) -> None:
        """Every third work makes a second dataset, of the rows that it rejects."""
        fields = {"output_dataset": f"m-{self.example}-{name}", **_WORKS[work % len(_WORKS)]}
        answer = await self.direct.caller.run(**fields)
        assert answer.status_code in (202, 200, 409), answer.text
        if answer.status_code == 202:
            self.processes.append(answer.json()["id"])

    async def cancel(self, pick: int) -> None:
        if process_id := chosen(self.processes, pick):
            answer = await self.direct.caller.post(f"/v1/processes/{process_id}/cancel")
            assert answer.status_code in (202, 409), answer.text

    async def retry(self, pick: int) -> None:
        if process_id := chosen(self.processes, pick):
            answer = await self.direct.caller.post(f"/v1/processes/{process_id}/retry")
            assert answer.status_code in (202, 200, 409), answer.text
            if answer.status_code == 202:
                self.processes.append(answer.json()["id"])

    # -- relay -----------------------------------------------------------------------------------------------------------

    async def release(self, most: int) -> None:
        await self.direct.release(most)

    async def publish(self, mark: bool) -> None:
        for message in await self.direct.publish(mark=mark):
            if isinstance(message, Command):
                self.commands.append(message)
            else:
                self.cancels.append(message)

    # -- launcher and cluster --------------------------------------------------------------------------------------------

    async def launch(self, pick: int) -> None:
        """A command is read, perhaps again: its job is made, or met."""
        if command := chosen(self.commands, pick):
            self.jobs.setdefault(key_of(command), command)
            self._will_say("submitted", command)

    async def refuse(self, pick: int, error_class: str) -> None:
        command = chosen([each for each in self.commands if key_of(each) not in self.jobs], pick)
        if command:
            self._will_say("refused", command, error_class=error_class)

    async def wait(self, pick: int, queued: bool) -> None:
        if command := chosen(list(self.jobs.values()), pick):
            self._will_say("pending", command, cause=f"waits for room {pick}", queued=queued)

    async def end_job(self, pick: int, outcome: str) -> None:
        if key := chosen(list(self.jobs), pick):
            self._will_say("ended", self.jobs.pop(key), outcome=outcome)

    async def answer_cancel(self, pick: int) -> None:
        """The launcher ends the job, or says that there is none."""
        if cancel := chosen(self.cancels, pick):
            outcome = "killed" if self.jobs.pop(key_of(cancel), None) else "absent"
            self._will_say("ended", cancel, outcome=outcome)

    async def relist(self, unseen: bool) -> None:
        """A list that is begun now, and read whenever."""
        began_at, live = await self.direct.now(), tuple(self.jobs.values())
        hidden = [self.direct.caller.tenant] if unseen else []
        self.news.append(lambda: self.direct.relist(*live, began_at=began_at, cluster=self.cluster, unseen=hidden))

    async def hear(self, pick: int, again: bool) -> None:
        """Some news arrives, in any order; `again`: not for the last time."""
        if news := chosen(self.news, pick):
            if not again:
                self.news.remove(news)
            await news()

    def _will_say(self, kind: str, ref: Command | CancelCommand, **fields: Any) -> None:
        self.news.append(lambda: self.direct.say(kind, ref, self.cluster, **fields))

    # -- runs ------------------------------------------------------------------------------------------------------------

    async def start(self, pick: int) -> None:
        """A pod of any job asks for its grant; jobs can have several."""
        if command := chosen(list(self.jobs.values()), pick):
            await self.begin(self.direct.driver(command))

    async def begin(self, driver: Driver) -> bool:
        """Whether it was granted."""
        answer = await driver.report("started")
        over = answer.status_code == 401 and "The token expired" in answer.text  # that of a command is good until its `start_before`
        assert answer.status_code in (200, 409, 410) or over, answer.text
        if answer.status_code == 200:
            self.drivers.append(driver)
            runs = self.grants[key_of(driver.command)]
            runs.add(driver.run_id)
            assert len(runs) == 1, f"two runs were granted attempt {key_of(driver.command)}: {runs}"
        return answer.status_code == 200

    async def heartbeat(self, pick: int, waiting: bool) -> None:
        if driver := chosen(self.drivers, pick):
            answer = await driver.heartbeat(**({"waiting": "waits for executors"} if waiting else {}))
            busy = answer.status_code == 503 and "urn:stratum:problem:busy" in answer.text  # others of the attempt are worked on
            assert answer.status_code in (200, 410) or busy, answer.text

    async def propose(self, pick: int) -> None:
        """Files and proposal lie there; nobody has heard of it yet."""
        if driver := chosen(self.drivers, pick):
            await driver.make_all()

    async def finish(self, pick: int, truly: bool) -> None:
        if driver := chosen(self.drivers, pick):
            nothing = {"key": driver.path.proposal_key(driver.run_id), "sha256": f"sha256:{'0' * 64}"}
            answer = await driver.finished(await driver.make_all() if truly else nothing)
            assert answer.status_code in (200, 410), answer.text

    async def fail(self, pick: int, error_class: str, retryable: bool) -> None:
        if driver := chosen(self.drivers, pick):
            answer = await driver.failed(retryable=retryable, error_class=error_class)
            assert answer.status_code in (200, 410), answer.text

    # -- clocks ----------------------------------------------------------------------------------------------------------

    async def pass_time(self, what: str) -> None:
        """A clock runs out, of every attempt that has it."""
        await self.direct.sql(_CLOCKS[what])

    async def deadlines(self) -> None:
        await self.direct.deadlines()

    # -- sealers ---------------------------------------------------------------------------------------------------------

    async def seal(self) -> None:
        await self.direct.seal()

    async def die_sealing(self) -> None:
        """A sealer puts a manifest, the first of two if there are two, and dies before it can write that down."""
        reconciler = self.direct.reconciler
        async with reconciler.database.connection() as connection:
            taken = await queries.take_seal(connection, seconds=0, served=[])
        if taken is None:
            return
        async with reconciler.database.transaction() as connection:
            current = await lifecycle.lock(connection, taken["process_id"])
        assert current is not None
        try:
            checked = (await asyncio.to_thread(proposals.checked, reconciler.storage, current, reconciler.settings))[-1]
        except ProposalRejected:
            return
        async with reconciler.database.connection() as connection:
            if await queries.begin_manifest(connection, **current.key, proposal_sha256=checked.proposal_sha256) is None:
                return
        manifest = proposals.manifest(current, checked, current.now)
        await asyncio.to_thread(seal.put_manifest, reconciler.storage, seal.sealable(checked.path, manifest), seal.put_until())

    # -- the end ---------------------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """From here on nothing fails, and everybody does their part: then every process must come to its end."""
        for _ in range(25):
            rows = await self.oracle.check()
            if all(ProcessState(row["state"]).is_final for row in rows):
                return await self._check_store(rows)
            await self._everybody_acts(rows)
        raise AssertionError(f"no end: {[(row['state'], row['reason'], row['attempts'][-1]['state'], row['events']) for row in rows]}")

    async def _everybody_acts(self, rows: list[dict[str, Any]]) -> None:
        await self.direct.sql("UPDATE attempts SET not_before = now() WHERE state = 'created'")
        self.oracle.seen.clear()  # the clock was meddled with
        await self.release(1000)
        await self.publish(True)
        current = {(row["id"], len(row["attempts"])) for row in await self.oracle.check()}
        for command in [each for each in self.commands if key_of(each) in current and key_of(each) not in self.jobs]:
            self.jobs[key_of(command)] = command
            await self.direct.say("submitted", command, self.cluster)
        for cancel in self.cancels:
            outcome = "killed" if self.jobs.pop(key_of(cancel), None) else "absent"
            await self.direct.say("ended", cancel, self.cluster, outcome=outcome)
        for key, command in list(self.jobs.items()):
            driver = next((each for each in self.drivers if key_of(each.command) == key), None) or self.direct.driver(command)
            if driver in self.drivers or await self.begin(driver):
                await driver.finished(await driver.make_all())
            del self.jobs[key]
            await self.direct.say("ended", command, self.cluster)
        while self.news:
            await self.hear(0, again=False)
        await self.direct.sql("UPDATE attempts SET seal_lease_until = NULL WHERE state = 'sealing'")
        while await self.direct.seal():
            pass

    async def _check_store(self, rows: list[dict[str, Any]]) -> None:
        """A manifest lies there for each dataset of a success, and for nothing else."""
        root = self.direct.driver(self.commands[0]).root if self.commands else None
        if root is None:
            return
        prefix = f"{root.prefix}cust_8842/v2024.10.05/m-{self.example}-"
        s3 = self.direct.installation.s3
        found = await asyncio.to_thread(s3.list_objects_v2, Bucket=root.bucket, Prefix=prefix)
        sealed = {key.split("/")[-2] for each in found.get("Contents", ()) if (key := each["Key"]).endswith("/_manifest.json")}
        assert sealed == {dataset["dataset"] for row in rows for dataset in row["datasets"]}


_WORKS: tuple[dict[str, Any], ...] = (
    {"parameters": condition(0)},
    {"parameters": condition(1)},
    {"action": "aggregate_revenue", "parameters": {"on_invalid": "reject"}},
)
_CLOCKS = {
    "lease": "UPDATE attempts SET lease_until = clock_timestamp() WHERE state IN ('submitted', 'started')",
    "silence": "UPDATE attempts SET silent_since = silent_since - interval '1 day' WHERE silent_since IS NOT NULL AND rank < 60",
    "start": "UPDATE attempts SET start_before = clock_timestamp() WHERE state IN ('released', 'published', 'submitted')",
    "pending": "UPDATE attempts SET pending_since = clock_timestamp() - interval '1 day' WHERE pending_since IS NOT NULL AND rank = 30",
    "time": "UPDATE attempts SET deadline = clock_timestamp() - interval '1 day' WHERE state = 'started'",
    "room": "UPDATE attempts SET waiting_since = clock_timestamp() - interval '2 days' WHERE waits > 0 AND rank < 60",
    "seal lease": "UPDATE attempts SET seal_lease_until = NULL WHERE state = 'sealing'",
}
CLOCKS = tuple(_CLOCKS)
