"""What must not run any more once all has ended: the processes of jobs, looked for by the mark that each of them carries."""

import asyncio
from pathlib import Path

from launcher.process.folder import MARKER
from launcher.process.identity import marked_processes
from tests.control_plane.waiting import eventually

END_SECONDS = 60
"""In which a driver that has reported its end, or was told to end, is gone on a busy machine too."""


def still_running(jobs: Path) -> list[str]:
    """The processes of all jobs under the folder, in plain words."""
    root = jobs.resolve()
    found = [(process.pid, Path(folder)) for process, folder in marked_processes(MARKER)]
    return [f"process {pid} of {folder.name} runs still" for pid, folder in found if folder.is_relative_to(root)]


async def left_running(jobs: Path, seconds: float = END_SECONDS) -> list[str]:
    """What still runs after so many seconds; empty as soon as nothing does."""

    async def quiet() -> bool:
        return not await asyncio.to_thread(still_running, jobs)

    try:
        await eventually(quiet, seconds, "the end of all jobs", pause=0.5)
    except AssertionError:
        return await asyncio.to_thread(still_running, jobs)
    return []
