"""Runs roles side by side, each in a thread; the first that fails ends them all."""

import signal
import threading
from collections.abc import Callable, Mapping
from threading import Event

import structlog

log = structlog.get_logger()

Role = Callable[[Event], None]
"""Works until the event is set, then returns soon."""


def run_together(roles: Mapping[str, Role]) -> int:
    """Run until SIGTERM or SIGINT, or until one fails. The exit code: 0, or 1 when one failed."""
    stop, failed = Event(), Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def guarded(name: str, role: Role) -> None:
        try:
            role(stop)
        except Exception:
            log.exception("role failed; the launcher stops", role=name)
            failed.set()
            stop.set()

    threads = [threading.Thread(target=guarded, args=item, name=item[0]) for item in roles.items()]
    for thread in threads:
        thread.start()
    log.info("launcher started", roles=list(roles))
    stop.wait()
    for thread in threads:
        thread.join()
    log.info("launcher stopped")
    return int(failed.is_set())
