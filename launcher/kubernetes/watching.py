"""Threads that keep the mirror true: one for each kind of object in each namespace."""

import threading
import time
from contextlib import suppress

import structlog

from launcher.errors import BackendError, BackendUnavailable, NotNow
from launcher.kubernetes.api import LIST_SECONDS, ApiRefused, Gone, KubernetesApi, Watch
from launcher.kubernetes.mirror import Kind, Mirror

log = structlog.get_logger()

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 15.0
_SHORT_SECONDS = 1.0
"""A watch that ends sooner ends too soon."""


class Watcher(threading.Thread):
    """Lists a collection once, then follows it; lists again when the server has forgotten where the watch stood.

    `path` and `selector` say what is watched. A watch that is cut is taken up where it was. Between turns that fail, or are over at once,
    are pauses that grow.
    """

    def __init__(self, api: KubernetesApi, mirror: Mirror, kind: Kind, namespace: str, path: str, selector: str) -> None:
        super().__init__(name=f"watch-{kind}s-{namespace}", daemon=True)
        self._api = api
        self._mirror = mirror
        self._kind: Kind = kind
        self._namespace = namespace
        self._path = path
        self._selector = selector
        self._version: str | None = None
        self._stopped = threading.Event()
        self._watch: Watch | None = None
        self._told = threading.Event()
        self._failure: BackendError | None = None

    def run(self) -> None:
        """Watch until `stop`."""
        pause = _FIRST_PAUSE_SECONDS
        while not self._stopped.is_set():
            least = self._turn()
            if least is None:
                pause = _FIRST_PAUSE_SECONDS
                continue
            self._stopped.wait(max(pause, least))
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def check(self) -> ApiRefused | None:
        """Wait for the first list. The refusal of the API server to show this namespace, if it does refuse.

        Raises:
            BackendUnavailable: nothing can be seen at present.
        """
        self._told.wait(LIST_SECONDS)
        if isinstance(self._failure, ApiRefused):
            return self._failure
        if self._failure is not None:
            raise BackendUnavailable(
                f"{self._kind}s of namespace {self._namespace!r} cannot be watched: {self._failure}"
            ) from self._failure
        if not self._told.is_set():
            raise BackendUnavailable(f"{self._kind}s of namespace {self._namespace!r} were not listed within {LIST_SECONDS:.0f} s")
        return None

    def stop(self) -> None:
        """End the thread; whoever stops it waits with `join`."""
        self._stopped.set()
        watch = self._watch
        if watch is not None:
            watch.close()

    def _turn(self) -> float | None:
        """List if need be, and follow until the watch ends. The least pause before the next turn; None: it may begin at once."""
        began = time.monotonic()
        try:
            self._list_once()
            self._follow()
        except Gone:
            self._version = None
        except BackendError as error:
            self._fail(error)
            return error.retry_after_seconds or 0.0 if isinstance(error, NotNow) else 0.0
        except Exception as error:
            # whoever asks for changes must hear of it: a thread that died would look like a quiet cluster
            log.exception("a watch failed", kind=self._kind, namespace=self._namespace)
            self._fail(BackendUnavailable(f"a watch failed: {type(error).__name__}: {error}"))
            self._version = None
            return 0.0
        # a server that ends or forgets every watch at once would be asked without a pause for as long as it does
        return None if time.monotonic() - began >= _SHORT_SECONDS else 0.0

    def _list_once(self) -> None:
        if self._version is None:
            listing = self._api.list(self._path, label=self._selector)
            self._mirror.replace(self._kind, self._namespace, listing.items)
            self._version = listing.version
            self._succeed()

    def _follow(self) -> None:
        assert self._version is not None  # noqa: S101  # it was listed
        with self._api.watch(self._path, self._version, label=self._selector) as watch:
            self._watch = watch
            self._succeed()
            for event, item in watch.events():
                if self._stopped.is_set():
                    return
                if event != "BOOKMARK":
                    self._mirror.apply(self._kind, event, item)
                self._version = item["metadata"]["resourceVersion"]

    def _succeed(self) -> None:
        self._failure = None
        self._told.set()

    def _fail(self, error: BackendError) -> None:
        if not self._stopped.is_set():
            self._failure = error
            self._told.set()
            self._mirror.wake()


def stop_all(watchers: "list[Watcher]") -> None:
    """Stop all at once, and wait for them."""
    for watcher in watchers:
        watcher.stop()
    for watcher in watchers:
        with suppress(RuntimeError):  # it was never started
            watcher.join(timeout=5)
