"""The sign of life of a run, from a thread of its own."""

from collections.abc import Callable
from threading import Event, Thread
from types import TracebackType

import structlog

from contracts.callback import Progress
from spark_jobs.edge.callbacks import ControlPlane
from spark_jobs.errors import ControlPlaneUnreachable, GrantLost

log = structlog.get_logger()


class Heartbeats:
    """Reports progress every `seconds` while the context is open. When the grant is withdrawn, calls `on_loss` once.

    While the control plane cannot be reached the run goes on: only the control plane judges whether it is lost.
    """

    def __init__(self, control_plane: ControlPlane, seconds: float, progress: Callable[[], Progress], on_loss: Callable[[], None]) -> None:
        self._control_plane = control_plane
        self._seconds = seconds
        self._progress = progress
        self._on_loss = on_loss
        self._stop = Event()
        self._loss: GrantLost | None = None
        self._thread = Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> "Heartbeats":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Send no more; return when the last one is through."""
        self._stop.set()
        self._thread.join()

    def check(self) -> None:
        """Raise `GrantLost` when the grant was withdrawn."""
        if self._loss is not None:
            raise self._loss

    def _beat(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                self._seconds = self._control_plane.heartbeat(self._progress()).heartbeat_seconds
            except ControlPlaneUnreachable as error:
                log.warning("heartbeat not delivered", reason=str(error))
            except GrantLost as error:
                self._loss = error
                self._on_loss()
                return
