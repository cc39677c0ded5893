"""Puts the role `local` together: everything in one process, jobs as children of this machine."""

import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from launcher.assembly import connections, observer, submit_roles
from launcher.log_shipping import LogShipper
from launcher.process.backend import ProcessBackend
from launcher.process.spark_submit import SparkSubmit
from launcher.roles import Role
from launcher.settings import LocalSettings
from launcher.store import s3_client


@contextmanager
def local_roles(settings: LocalSettings) -> Iterator[Mapping[str, Role]]:
    """The roles, by name; what they use is closed at the end."""
    launch = SparkSubmit(settings, cache_folder() / "class-archives")
    archive = launch.archive  # asks Java and Spark at once, so that a wrong setting stops the start
    with (
        connections(settings) as shared,
        closing(s3_client(settings)) as s3,
        ProcessBackend.open(settings.jobs_dir, settings.max_local_jobs, launch, grace_seconds=settings.kill_grace_seconds) as backend,
    ):
        shipper = LogShipper(backend, s3, partial(shared.pulse.beat, "ship-logs"))
        yield {
            **submit_roles(settings, backend, shared, member=settings.cluster),
            "observe": observer(settings, backend, shared, shared.publisher.publish_events, shipper.is_complete).run,
            "ship-logs": shipper.run,
            "archive-classes": partial(archive.build_when_idle, backend),
        }


def cache_folder() -> Path:
    """Where what is dear to make is kept, for all platforms of this user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stratum"
