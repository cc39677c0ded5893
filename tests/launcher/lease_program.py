"""A candidate for a Lease. While it leads and is sure of it, it writes its name into a file that all candidates share."""

import sys
from functools import partial
from pathlib import Path
from threading import Event

from launcher import logs
from launcher.errors import NotLeading
from launcher.kubernetes.api import KubernetesApi
from launcher.kubernetes.lease import Leadership, Lease
from launcher.roles import run_together

MARGIN_SECONDS = 2.0


def lead(lease: Lease, said: Path, stop: Event) -> None:
    while not stop.wait(0.01):
        try:
            lease.require(MARGIN_SECONDS)
        except NotLeading:
            continue
        with said.open("a", encoding="utf-8") as file:
            file.write(f"{lease.holder}\n")


def main(namespace: str, holder: str, said: str, duration: str) -> int:
    logs.configure("info")
    with KubernetesApi.open() as api:
        lease = Lease(api, namespace, "test", holder, duration_seconds=int(duration))
        leadership = Leadership(lease, partial(lead, lease, Path(said)), lambda: None)
        return run_together({"lead": leadership.run})


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
