"""Commands of `python -m control_plane`, each in a process of its own.

The processes are forked from a server that has imported the control plane once: an import takes longer than most commands.
"""

import asyncio
import multiprocessing
import os
import sys
from pathlib import Path
from tempfile import NamedTemporaryFile

from tests.control_plane.installation import Installation
from tests.control_plane.waiting import eventually

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["__main__", "control_plane.__main__", "tests.control_plane.commands"])


class Command:
    """A command that runs. Variables set to None are taken out of its environment."""

    def __init__(self, installation: Installation, *arguments: str, **changes: str | None) -> None:
        changed: dict[str, str | None] = {**os.environ, **installation.environment, **changes}
        environment = {name: value for name, value in changed.items() if value is not None}
        with NamedTemporaryFile(delete=False) as output:
            self._output = Path(output.name)
        self._process = _processes.Process(target=_become, args=(arguments, environment, output.name))
        self._process.start()
        self._closed = False

    async def ended(self, seconds: float = 60) -> tuple[int, str]:
        """Wait for its end; returns exit code and output."""
        await asyncio.to_thread(self._process.join, seconds)
        code = self._process.exitcode
        if code is None:
            self._process.kill()
            self._process.join()
        self._process.close()
        self._closed = True
        output = self._output.read_text()
        self._output.unlink()
        assert code is not None, f"still up after {seconds} s: {output}"
        return code, output

    async def says(self, words: str, seconds: float = 60) -> None:
        """Wait until its output holds the words."""

        async def look() -> bool:
            return words in self._output.read_text()

        await eventually(look, seconds, words)

    @property
    def pid(self) -> int:
        """Of its process, which runs."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def is_up(self) -> bool:
        """Whether it runs; False also after `ended`."""
        return not self._closed and self._process.is_alive()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()

    def terminate(self) -> None:
        """SIGTERM."""
        self._process.terminate()


def _become(arguments: tuple[str, ...], environment: dict[str, str], output: str) -> None:
    os.environ.clear()
    os.environ.update(environment)
    descriptor = os.open(output, os.O_WRONLY | os.O_APPEND)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    sys.argv = ["control_plane", *arguments]
    from control_plane.__main__ import main

    main()


async def run(installation: Installation, *arguments: str, **changes: str | None) -> tuple[int, str]:
    """Run a command to its end; returns exit code and output."""
    return await Command(installation, *arguments, **changes).ended()
