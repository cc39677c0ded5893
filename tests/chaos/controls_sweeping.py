"""Situations in which a sweeper comes upon what is sealed, or is being sealed. See `controls.py`."""

import asyncio
import threading
from dataclasses import replace

from contracts.command import Command
from contracts.layout import StorageRoot
from control_plane.sweeper.sweep import leftovers
from control_plane.sweeper.tally import Kind, Tally
from control_plane.tenants import provision
from tests.chaos.fleet import Fleet
from tests.chaos.stage import Stage, behind
from tests.chaos.table import MANIFEST
from tests.chaos.wire import Wire
from tests.control_plane.caller import ENTITY, VERSION, parquet
from tests.control_plane.installation import Installation, create_database
from tests.control_plane.quiet import Later, sweeper
from tests.control_plane.waiting import eventually

_PROPOSAL = rb"DELETE /[^ ]+_proposal\.json"
_FILE = rb"DELETE /[^ ]+\.parquet"


class _Gate:
    """Holds a request up until it is opened."""

    def __init__(self, wire: Wire, pattern: bytes) -> None:
        self._opened = threading.Event()
        self._trap = wire.trap(pattern, then=lambda: self._opened.wait(60) and None)

    @property
    def is_reached(self) -> bool:
        return self._trap.taken > 0

    async def reached(self) -> None:
        async def look() -> bool:
            return self.is_reached

        await eventually(look, 60, f"the request {self._trap.pattern.pattern!r}")

    def open(self) -> None:
        self._opened.set()


async def sweeper_beside_a_sealer(stage: Stage) -> list[str]:
    """A run writes before it is granted anything, and a sweeper marks its folder, which no row knows; then the run is granted and finishes.

    Each has looked before the other acts: the sealer at the proposal before that is deleted, the sweeper for a manifest before one is put.
    """
    wire = stage.network.wire("sweeper_s3", stage.installation.s3_endpoint)
    proposal, file, manifest = _Gate(wire, _PROPOSAL), _Gate(wire, _FILE), _Gate(stage.wire("reconcile_s3"), MANIFEST)
    sweeps: list[asyncio.Task[Tally]] = []

    async def play(fleet: Fleet, command: Command) -> None:
        driver = fleet.driver(command)
        reference = await driver.make()
        sweeps.append(asyncio.create_task(_swept(behind(stage.installation, stage.network, "sweeper"))))
        await proposal.reached()
        await fleet.started(driver)
        await fleet.finished(driver, reference)

    async def ended() -> bool:
        return bool(await stage.sql.fetchval("SELECT ended_at IS NOT NULL FROM processes WHERE id = $1", process_id))

    async def seals_or_ended() -> bool:
        return manifest.is_reached or await ended()

    stage.fleet.play = play
    try:
        (process_id,) = await stage.accept(1)
        await eventually(seals_or_ended, 60, "a manifest on its way, or the refusal of the seal")
        proposal.open()
        await file.reached()
        manifest.open()
        await eventually(ended, 60, "the end of the process")
    finally:
        for gate in (proposal, file, manifest):
            gate.open()
    tally = await sweeps[0]
    assert tally.counts[Kind.UNKNOWN_FOLDER].removed == 1
    return [process_id]


async def sweeper_of_an_empty_database(stage: Stage) -> list[str]:
    """As after a loss, before it is rebuilt: it knows the tenant, and nothing of what lies in the store."""
    ids = await stage.accept(2)
    await stage.settled(ids)
    root, tenant = StorageRoot.parse(stage.caller.root), stage.caller.tenant
    stray = root.dataset(ENTITY, VERSION, "filtered-0").run_prefix("stray")
    await asyncio.to_thread(stage.installation.s3.put_object, Bucket=root.bucket, Key=f"{stray}part-0.parquet", Body=parquet())
    empty = replace(stage.installation, database_url=await create_database(stage.installation.database_url))
    await provision(empty.api_settings, tenant, root.bucket, root.prefix, 1000, stage.caller.key, "admin")
    tally = await _swept(empty)
    assert f"s3://{root.bucket}/{stray}" in tally.removed_names
    return ids


async def _swept(installation: Installation) -> Tally:
    """What became of all left-overs, had an operator asked for it in eight days."""
    own = sweeper(Later, installation)
    try:
        return await leftovers(own, remove=True)
    finally:
        await own.database.close()
