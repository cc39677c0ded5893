"""Become a server: `python -m stratum.local.runner PROGRAM.json` records its own identity, then executes the program in its place.

So the pid the supervisor knows is the server's own, and whoever finds the record later can tell the server from a stranger.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from stratum.local.identity import identity
from stratum.local.private_file import write_private


def main() -> None:
    """Record and execute; does not return."""
    specification = Path(sys.argv[1])
    supervisor_pid = Path(sys.argv[2])
    program = json.loads(specification.read_text())
    record = {"pid": os.getpid(), "identity": identity(os.getpid())}
    write_private(specification.with_suffix(".pid"), json.dumps(record))
    # A supervisor that died before the record was written leaves a child that nobody would find.
    if os.getppid() != int(supervisor_pid.read_text()):
        sys.exit("the supervisor is gone")
    os.chdir(program["folder"])
    os.execvpe(program["argv"][0], program["argv"], {**os.environ, **program["environment"]})  # noqa: S606


if __name__ == "__main__":
    main()
