"""Two of each role, as in a cluster, and many processes."""

import asyncio
import hashlib

from tests.control_plane.driver import Driver
from tests.control_plane.installation import Installation, prepare_topics, running
from tests.control_plane.launcher import following

MANY = 24
SELDOM = 0.5  # seconds: so many that ask all the time are a load of their own


async def test_two_of_each_role_do_everything_once(still: Installation) -> None:
    prepare_topics(still)
    roles = (still.relay(), still.relay(), still.reconcile(), still.reconcile())
    with following(still) as launcher, running(*roles):
        async with still.api() as client, still.sql() as sql:
            acme = await still.tenant(client)
            await acme.ingest()
            ids = [(await acme.accepted(number))["id"] for number in range(MANY)]

            async def work(process_id: str) -> Driver:
                command = await launcher.command(process_id)
                await launcher.say("submitted", command)
                await acme.until(process_id, "submitted", pause=SELDOM)
                driver = await Driver(client, still, command).complete()
                await launcher.say("ended", command)
                await acme.until(process_id, "succeeded", pause=SELDOM)
                return driver

            drivers = await asyncio.gather(*(work(process_id) for process_id in ids))
            await launcher.caught_up()
            for driver in drivers:
                process_id = str(driver.command.process_id)
                assert await acme.history(process_id) == ["accepted", "queued", "submitted", "running", "sealing", "succeeded"]
                assert len(launcher.commands(process_id)) == 1
                manifest = driver.manifest()
                assert manifest is not None
                stored = await sql.fetchval("SELECT manifest_sha256 FROM datasets WHERE process_id = $1", driver.command.process_id)
                assert stored == f"sha256:{hashlib.sha256(manifest).hexdigest()}"
            assert await sql.fetchval("SELECT count(*) FROM claims") == 0
