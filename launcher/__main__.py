"""`python -m launcher ROLE`."""

import argparse
import sys
from collections.abc import Callable

from contracts.errors import CatalogError
from launcher import logs
from launcher.assembly import local_roles
from launcher.errors import LauncherError
from launcher.process.ending import stop_jobs
from launcher.roles import run_together
from launcher.settings import JobsSettings, Settings, load

UNUSABLE = 2
"""Exit code when the launcher cannot start as it is set up; starting again will not help."""


def main() -> int:
    """Run a role; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m launcher", description="Turns commands into jobs and tells what became of them.")
    roles = parser.add_subparsers(dest="role", required=True, metavar="ROLE")
    roles.add_parser("local", help="submit and observe in one process, jobs as children of this machine")
    roles.add_parser("stop-jobs", help="end every running local job; for when no launcher runs")
    chosen: dict[str, Callable[[], int]] = {"local": _local, "stop-jobs": _stop_jobs}
    try:
        return chosen[parser.parse_args().role]()
    except (LauncherError, CatalogError) as error:
        sys.stderr.write(f"launcher: {error}\n")
        return UNUSABLE


def _local() -> int:
    settings = load(Settings)
    logs.configure(settings.log_level)
    with local_roles(settings) as roles:
        return run_together(roles)


def _stop_jobs() -> int:
    settings = load(JobsSettings)
    count = stop_jobs(settings.jobs_dir, "the local platform was stopped", settings.kill_grace_seconds)
    sys.stderr.write(f"{count} running jobs were ended\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
