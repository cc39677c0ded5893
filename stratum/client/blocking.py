"""`Client`: the methods of `AsyncClient`, each run to its end on an event loop in a thread of its own."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial, wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from stratum.client.asynchronous import AsyncClient
from stratum.client.dataset import SealedDataset
from stratum.client.objects import S3Access

P = ParamSpec("P")
T = TypeVar("T")


class _OnPortal:
    """What stands behind every blocking method."""

    _portal: BlockingPortal
    _asynchronous: AsyncClient

    def _wait_for(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        task: Future[T] = self._portal.start_task_soon(call)
        try:
            return task.result()
        except BaseException:
            task.cancel()  # Ctrl-C reaches the caller's thread alone
            raise


def _blocking(method: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]) -> Callable[Concatenate[_OnPortal, P], T]:
    @wraps(method)
    def call(self: _OnPortal, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._wait_for(partial(method, self._asynchronous, *args, **kwargs))

    return call


def _blocking_iterator(method: Callable[Concatenate[AsyncClient, P], AsyncIterator[T]]) -> Callable[Concatenate[_OnPortal, P], Iterator[T]]:
    @wraps(method)
    def call(self: _OnPortal, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        iterator = method(self._asynchronous, *args, **kwargs)

        async def following() -> tuple[T, ...]:
            async for item in iterator:
                return (item,)
            return ()

        while item := self._wait_for(following):
            yield item[0]

    return call


class Client(_OnPortal):
    """A platform. Use it as `with Client() as client`; every method is that of `AsyncClient`.

    Args:
        url: where the platform is; else `STRATUM_URL`, else the local platform.
        token: the API token; else `STRATUM_TOKEN`, else that of the local platform.
        retry_seconds: how long one call is tried again while the platform does not answer, where that is safe.
    """

    def __init__(self, url: str | None = None, token: str | None = None, *, retry_seconds: float = 45.0) -> None:
        self._asynchronous = AsyncClient(url, token, retry_seconds=retry_seconds)
        self.settings = self._asynchronous.settings
        with ExitStack() as stack:
            self._portal = stack.enter_context(start_blocking_portal())
            stack.callback(self._portal.call, self._asynchronous.aclose)
            self._closing = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and end the thread."""
        self._closing.close()

    run = _blocking(AsyncClient.run)
    wait = _blocking(AsyncClient.wait)
    get = _blocking(AsyncClient.get)
    page = _blocking(AsyncClient.page)
    processes = _blocking_iterator(AsyncClient.processes)
    events = _blocking(AsyncClient.events)
    logs = _blocking_iterator(AsyncClient.logs)
    cancel = _blocking(AsyncClient.cancel)
    retry = _blocking(AsyncClient.retry)
    webhooks = _blocking(AsyncClient.webhooks)
    webhook = _blocking(AsyncClient.webhook)
    replay_webhook = _blocking(AsyncClient.replay_webhook)
    webhook_secrets = _blocking(AsyncClient.webhook_secrets)
    rotate_webhook_secret = _blocking(AsyncClient.rotate_webhook_secret)
    actions = _blocking(AsyncClient.actions)
    entities = _blocking(AsyncClient.entities)
    versions = _blocking(AsyncClient.versions)
    ingest = _blocking(AsyncClient.ingest)
    reproduce = _blocking(AsyncClient.reproduce)
    api_keys = _blocking(AsyncClient.api_keys)
    create_key = _blocking(AsyncClient.create_key)
    rotate_key = _blocking(AsyncClient.rotate_key)
    revoke_key = _blocking(AsyncClient.revoke_key)
    retire = _blocking(AsyncClient.retire)

    def dataset(self, entity_id: str, data_version: str, dataset: str, *, s3: S3Access | None = None) -> SealedDataset:
        """A sealed dataset, to be read. With `s3` from the store itself, else by links that are good for a short time."""
        return self._wait_for(partial(self._asynchronous.dataset, entity_id, data_version, dataset, s3=s3)).blocking
