"""The control plane's steps one by one, without Kafka between them: the test is the scheduler."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from contracts.command import AttemptRef, CancelCommand, Command
from contracts.event import launcher_event
from contracts.identifiers import job_name, new_id
from contracts.topics import Topics
from control_plane import observations, relay
from control_plane.database import queries
from control_plane.deadlines import enforce_deadlines
from control_plane.reconciler import Reconciler
from control_plane.sealing import seal_next
from tests.control_plane.caller import Caller
from tests.control_plane.driver import Driver
from tests.control_plane.installation import Installation
from tests.control_plane.launcher import PROFILE
from tests.control_plane.waiting import eventually

CLUSTER = "here"
_USUAL: dict[str, dict[str, Any]] = {
    "submitted": {"resource_profile": PROFILE},
    "pending": {"cause": "no node has room for the driver"},
    "ended": {"outcome": "completed", "message": "the job ended with exit code 0"},
    "refused": {"error_class": "UNKNOWN_ACTION", "message": "the launcher's catalog has no such action"},
}


@dataclass
class Direct:
    """An installation whose roles take a step when they are told to."""

    installation: Installation
    client: httpx.AsyncClient
    caller: Caller
    reconciler: Reconciler

    async def release(self, max_in_flight: int = 1000) -> int:
        """What the relay does first."""
        async with self.reconciler.database.connection() as connection:
            return int(await queries.release(connection, max_in_flight=max_in_flight))

    async def publish(self, *, mark: bool = True) -> list[Command | CancelCommand]:
        """What it does then. Without `mark` it dies before it can write down what was sent."""
        settings = self.installation.relay_settings
        async with self.reconciler.database.connection() as connection:
            rows = [row async for row in queries.ready_messages(connection, limit=1000)]
            settled = [row["id"] for row in rows if row["kind"] == "run" and row["rank"] > 10]
            ready = [row for row in rows if row["id"] not in settled]
            sent = [relay.outgoing(row, Topics("t"), self.installation.keys, settings.callback_url).value for row in ready]
            if mark:
                await queries.mark_published(connection, ids=[row["id"] for row in rows])
        kinds: list[type[Command] | type[CancelCommand]] = [CancelCommand if row["kind"] == "cancel" else Command for row in ready]
        return [kind.model_validate_json(value or b"") for kind, value in zip(kinds, sent, strict=True)]

    async def command(self, number: int = 1, **fields: Any) -> Command:
        """The command of a new process."""
        await self.caller.accepted(number, **fields)
        return await self.next_command()

    async def next_command(self) -> Command:
        """The one command that is due, or soon will be: a next attempt waits for its pause."""

        async def due() -> list[Command]:
            await self.release()
            return [message for message in await self.publish() if isinstance(message, Command)]

        (command,) = await eventually(due, 20, "a command")
        return command

    def driver(self, command: Command) -> Driver:
        """A run of the command."""
        return Driver(self.client, self.installation, command)

    async def say(self, kind: str, ref: AttemptRef, cluster: str = CLUSTER, **fields: Any) -> None:
        """What the launcher says of an attempt, taken into account."""
        attempt = {"tenant": ref.tenant, "process_id": str(ref.process_id), "step": ref.step, "attempt": ref.attempt}
        name = {} if kind == "refused" else {"job_name": job_name(ref.process_id, ref.step, ref.attempt)}
        await self._apply({"type": kind, **self._stamp(cluster), **attempt, **name, **_USUAL[kind], **fields})

    async def relist(self, *live: AttemptRef, began_at: datetime | None = None, cluster: str = CLUSTER, **fields: Any) -> None:
        """A complete list of jobs, begun now."""
        refs = [AttemptRef.model_validate(ref.model_dump(include=set(AttemptRef.model_fields))).model_dump(mode="json") for ref in live]
        began = began_at or await self.now()
        await self._apply({"type": "relist", **self._stamp(cluster), "began_at": began.isoformat(), "live": refs, **fields})

    async def now(self) -> datetime:
        """Database time."""
        async with self.reconciler.database.connection() as connection:
            return datetime.fromisoformat(str(await queries.database_time(connection)))

    async def deadlines(self) -> None:
        """End what is past a deadline."""
        await enforce_deadlines(self.reconciler)

    async def seal(self) -> bool:
        """Seal one attempt that waits for it."""
        return await seal_next(self.reconciler)

    async def sql(self, statement: str, *arguments: Any) -> Any:
        """Meddle, or look: every row."""
        async with self.reconciler.database.connection() as connection:
            return await connection.fetch(statement, *arguments)

    async def _apply(self, document: dict[str, Any]) -> None:
        reconciler = self.reconciler
        event = launcher_event.validate_python(document)
        await observations.apply(reconciler.database, reconciler.settings, reconciler.has_proposal, event)

    def _stamp(self, cluster: str) -> dict[str, str]:
        return {"event_id": str(new_id()), "at": datetime.now(UTC).isoformat(), "cluster": cluster}


@asynccontextmanager
async def directly(installation: Installation) -> AsyncIterator[Direct]:
    """With a tenant that has a sealed `source`."""
    async with installation.api() as client, installation.reconciler() as reconciler:
        caller = await installation.tenant(client)
        await caller.ingest()
        yield Direct(installation, client, caller, reconciler)
