"""`python -m launcher ROLE`. Each role imports only what it runs: a sidecar starts with every job, and should be small."""

import argparse
import signal
import sys
from collections.abc import Callable
from threading import Event

from contracts.errors import CatalogError
from launcher.errors import LauncherError

UNUSABLE = 2
"""Exit code when the launcher cannot start as it is set up; starting again will not help."""


def main() -> int:
    """Run a role; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m launcher", description="Turns commands into jobs and tells what became of them.")
    roles = parser.add_subparsers(dest="role", required=True, metavar="ROLE")
    roles.add_parser("submit", help="on Kubernetes: commands become Jobs; run as many as you like")
    roles.add_parser("observe", help="on Kubernetes: watch Jobs and tell; one of all that run does it")
    roles.add_parser("ship-log", help="beside a driver: ship what it writes to the object store")
    roles.add_parser("local", help="submit and observe in one process, jobs as children of this machine")
    roles.add_parser("stop-jobs", help="end every running local job; for when no launcher runs")
    chosen: dict[str, Callable[[], int]] = {
        "submit": _submit,
        "observe": _observe,
        "ship-log": _ship_log,
        "local": _local,
        "stop-jobs": _stop_jobs,
    }
    try:
        return chosen[parser.parse_args().role]()
    except (LauncherError, CatalogError) as error:
        sys.stderr.write(f"launcher: {error}\n")
        return UNUSABLE


def _submit() -> int:
    from launcher import logs
    from launcher.settings import KubernetesSubmitSettings, load

    settings = load(KubernetesSubmitSettings)
    from launcher.kubernetes.assembly import cluster_submit_roles
    from launcher.roles import run_together

    logs.configure(settings.log_level)
    with cluster_submit_roles(settings) as roles:
        return run_together(roles)


def _observe() -> int:
    from launcher import logs
    from launcher.settings import KubernetesObserveSettings, load

    settings = load(KubernetesObserveSettings)
    from launcher.kubernetes.assembly import cluster_observe_roles
    from launcher.roles import run_together

    logs.configure(settings.log_level)
    with cluster_observe_roles(settings) as roles:
        return run_together(roles)


def _ship_log() -> int:
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    # a driver may have ended before all this is imported, and its log is to be shipped all the same
    from launcher import logs
    from launcher.settings import ShipLogSettings, load
    from launcher.ship_log import ship_log

    settings = load(ShipLogSettings)
    logs.configure(settings.log_level)
    ship_log(settings, stop)
    return 0


def _local() -> int:
    from launcher import logs
    from launcher.settings import LocalSettings, load

    settings = load(LocalSettings)
    from launcher.process.assembly import local_roles
    from launcher.roles import run_together

    logs.configure(settings.log_level)
    with local_roles(settings) as roles:
        return run_together(roles)


def _stop_jobs() -> int:
    from launcher.process.ending import stop_jobs
    from launcher.settings import JobsSettings, load

    settings = load(JobsSettings)
    count = stop_jobs(settings.jobs_dir, "the local platform was stopped", settings.kill_grace_seconds)
    sys.stderr.write(f"{count} running jobs were ended\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
