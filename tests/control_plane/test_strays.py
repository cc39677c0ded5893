"""Jobs that live and that the database has forgotten, as after its restore from an older copy, are found, reported and ended."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio

from contracts.command import AttemptRef, CancelCommand
from contracts.identifiers import new_id
from control_plane import metrics
from control_plane.database import queries
from control_plane.sweeper.settings import SweepSettings
from control_plane.sweeper.sweep import leftovers
from control_plane.sweeper.sweeper import Sweeper
from control_plane.sweeper.tally import NOT_ASKED, Kind, Tally
from tests.control_plane.direct import CLUSTER, Direct, directly
from tests.control_plane.installation import Installation, prepare_topics, running
from tests.control_plane.launcher import following
from tests.control_plane.quiet import sweeper

WAITS = "the grace since it was first seen is not over"
TOLD = "it was told to end, and no full list shows it gone yet"
OPEN = "its process goes on, and may yet come to that attempt"


@pytest_asyncio.fixture(loop_scope="session")
async def direct(still: Installation) -> AsyncIterator[Direct]:
    async with directly(still) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def usual(direct: Direct) -> AsyncIterator[Sweeper]:
    made = sweeper(Sweeper, direct.installation)
    yield made
    await made.database.close()


def _forgotten(direct: Direct) -> AttemptRef:
    """An attempt of which this database knows nothing."""
    return AttemptRef(tenant=direct.caller.tenant, process_id=new_id(), step=0, attempt=1)


def _named(ref: AttemptRef) -> str:
    return f"job {ref.tenant}/{ref.process_id}/{ref.step}/{ref.attempt} in cluster {CLUSTER}"


async def _the_grace_is_over(direct: Direct) -> None:
    await direct.sql("UPDATE stray_jobs SET first_seen_at = first_seen_at - interval '2 hours'")


async def _figures(sweeping: Sweeper, *, remove: bool) -> tuple[dict[str, int], list[str], list[str]]:
    """Why jobs are kept, which, and which the launcher is told to end."""
    tally: Tally = await leftovers(sweeping, remove=remove)
    kept = tally.counts[Kind.JOB].kept if Kind.JOB in tally.counts else {}
    return kept, [name for name in tally.kept_names if name.startswith("job ")], tally.removed_names


async def _to_be_told(direct: Direct) -> list[int]:
    """Rows whose cancel the relay would publish."""
    async with direct.reconciler.database.connection() as connection:
        return [row["id"] async for row in queries.stray_cancels(connection, limit=100)]


async def test_a_job_that_no_row_knows_is_reported_and_ended(direct: Direct, usual: Sweeper) -> None:
    prepare_topics(direct.installation)
    stray = _forgotten(direct)
    for _ in range(2):
        await direct.relist(stray)
    assert await _figures(usual, remove=False) == ({WAITS: 1}, [_named(stray)], [])
    assert await _figures(usual, remove=True) == ({WAITS: 1}, [_named(stray)], [])
    async with direct.reconciler.database.connection() as connection:
        await metrics.refresh(connection)
    assert metrics.STRAYS._value.get() == 1
    await _the_grace_is_over(direct)
    assert await _figures(usual, remove=False) == ({NOT_ASKED: 1}, [_named(stray)], [])
    assert await _to_be_told(direct) == [], "a report changes nothing"
    assert await _figures(usual, remove=True) == ({}, [], [_named(stray)])
    with following(direct.installation) as launcher, running(direct.installation.relay()):
        cancel: CancelCommand = await launcher.cancelled(str(stray.process_id))
    assert AttemptRef(**cancel.model_dump(include=set(AttemptRef.model_fields))) == stray
    claims = direct.installation.keys.verify(cancel.flow_token, "stratum:cancel", None)
    assert AttemptRef(**claims.model_dump(include=set(AttemptRef.model_fields))) == stray, "no other token lets a launcher end it"
    assert await _figures(usual, remove=True) == ({TOLD: 1}, [_named(stray)], [])
    assert len(await direct.sql("SELECT FROM sweeps WHERE report->'kinds'->'job'->>'removed' = '1'")) == 1, "who ended it is on record"
    await direct.say("ended", stray, outcome="killed", message="ended at the control plane's wish")
    await direct.relist()
    assert await _figures(usual, remove=True) == ({}, [], [])


async def test_what_was_told_in_vain_is_told_again(direct: Direct, usual: Sweeper) -> None:
    """Once in ten minutes, as for other jobs: the message may have been lost."""
    stray = _forgotten(direct)
    await direct.relist(stray)
    await _the_grace_is_over(direct)
    await leftovers(usual, remove=True)
    (row,) = await _to_be_told(direct)
    for minutes, again in ((5, []), (15, [row])):
        await direct.sql(f"UPDATE stray_jobs SET published_at = now() - interval '{minutes} minutes'")
        assert await _to_be_told(direct) == []
        await direct.relist(stray)
        assert await _to_be_told(direct) == again


async def test_never_one_of_an_attempt_that_may_be_open(direct: Direct, usual: Sweeper) -> None:
    """A second attempt that only the newer database had begun: its process goes on here, and comes to it by itself."""
    command = await direct.command()
    await direct.say("submitted", command)
    following_attempt = command.model_copy(update={"attempt": 2})
    for _ in range(2):
        await direct.relist(command, following_attempt)
    await _the_grace_is_over(direct)
    assert await _figures(usual, remove=True) == ({OPEN: 1}, [_named(following_attempt)], [])
    await direct.sql("UPDATE stray_jobs SET end_asked_at = now()")
    assert await _to_be_told(direct) == [], "nor if it was asked for before that was known"
    await direct.say("ended", command, outcome="vanished")
    assert (await direct.next_command()).attempt == 2
    assert await _figures(usual, remove=True) == ({}, [], [])
    assert await _to_be_told(direct) == []
    await direct.relist(following_attempt)
    assert await direct.sql("SELECT FROM stray_jobs") == []


async def test_one_whose_process_has_ended_is_ended(direct: Direct, usual: Sweeper) -> None:
    """It will never come to that attempt."""
    command = await direct.command()
    await direct.say("submitted", command)
    await direct.driver(command).complete()
    while await direct.seal():
        continue
    stray = command.model_copy(update={"attempt": 2})
    await direct.relist(stray)
    await _the_grace_is_over(direct)
    assert await _figures(usual, remove=True) == ({}, [], [_named(stray)])


async def test_only_a_list_that_could_see_it_shows_it_gone(direct: Direct) -> None:
    stray, other = _forgotten(direct), _forgotten(direct)
    first = await direct.now()
    await direct.relist(stray)
    await direct.relist(other, cluster="there")
    await direct.relist(cluster="there", unseen=[stray.tenant])
    await direct.relist(unseen=[stray.tenant])
    await direct.relist(began_at=first - timedelta(minutes=1))
    assert {row["process_id"] for row in await direct.sql("SELECT process_id FROM stray_jobs")} == {stray.process_id, other.process_id}
    await direct.relist()
    assert [row["process_id"] for row in await direct.sql("SELECT process_id FROM stray_jobs")] == [other.process_id]


async def test_policy_may_only_report_them(direct: Direct) -> None:
    stray = _forgotten(direct)
    await direct.relist(stray, stray)
    await _the_grace_is_over(direct)
    careful = sweeper(Sweeper, direct.installation, stray_job_seconds=0)
    figures = await _figures(careful, remove=True)
    await careful.database.close()
    assert figures == ({"policy only reports such jobs (STRATUM_STRAY_JOB_SECONDS)": 1}, [_named(stray)], [])


def test_the_grace_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SweepSettings().stray_job_seconds == 3600
    monkeypatch.setenv("STRATUM_STRAY_JOB_SECONDS", "0")
    assert SweepSettings().stray_job_seconds is None
