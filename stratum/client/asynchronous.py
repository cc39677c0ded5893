"""`AsyncClient`: every call that the platform knows. The plain `Client` is made of it."""

# ruff: noqa: ASYNC109 (`timeout` is answered with a `TimedOut` that says how far the process is; a cancel scope could not)

import time
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Any, Self
from uuid import UUID, uuid4

import anyio
from pydantic import ValidationError

from contracts.command import ResourceProfile
from contracts.http import ActionDescription, ActionList, EventPage, LogChunk, Process, ProcessEvent, ProcessPage, ProcessRequest
from contracts.states import ProcessState
from stratum.client import reproduce
from stratum.client.data import DataCalls
from stratum.client.keys import KeyCalls
from stratum.client.paths import api_path
from stratum.client.settings import resolve
from stratum.client.transport import Transport
from stratum.client.webhooks import WebhookCalls
from stratum.errors import Invalid, ProcessFailed, TimedOut, Unavailable

FIRST_POLL_SECONDS = 0.1
LONGEST_POLL_SECONDS = 2.0
POLL_GROWTH = 1.3


class AsyncClient(DataCalls, WebhookCalls, KeyCalls):
    """A platform, for asyncio and trio. Use it as `async with AsyncClient() as client`.

    Args:
        url: where the platform is; else `STRATUM_URL`, else the local platform.
        token: the API token; else `STRATUM_TOKEN`, else that of the local platform.
        retry_seconds: how long one call is tried again while the platform does not answer, where that is safe.

    Raises (every method):
        Unavailable: the platform does not answer, even after trying again.
        Unauthenticated, Forbidden: the token is unknown, or may not do this.
        Invalid: what is asked for is not valid; the message says what is.
        NotFound: the process, entity, version, dataset or action does not exist; the message names the nearest.
    """

    def __init__(self, url: str | None = None, token: str | None = None, *, retry_seconds: float = 45.0) -> None:
        self.settings = resolve(url, token)
        self._transport = Transport(self.settings, retry_seconds)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.__aexit__(None, None, None)

    async def run(
        self,
        entity_id: str,
        data_version: str,
        action: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        input_dataset: str | None = None,
        output_dataset: str | None = None,
        output_data_version: str | None = None,
        resource_profile: ResourceProfile | Mapping[str, Any] | None = None,
        priority: int | None = None,
        callback_url: str | None = None,
        labels: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        wait: bool = False,
        timeout: float | None = None,
        check: bool = True,
        on_change: Callable[[Process], None] = lambda process: None,
    ) -> Process:
        """Run `action` on a data version. The same work again gives the process that did it, or is doing it.

        Args:
            idempotency_key: made anew for every call if left out.
            wait: return when the process has ended, at most after `timeout` seconds.
            check: raise if it ended otherwise than `succeeded`; only with `wait`.
            on_change: called with the process whenever it differs from before; only with `wait`.

        Raises:
            Conflict: the output's name is taken by other work; `owner_process_id` names it.
            ProcessFailed: it failed or was cancelled (`wait` and `check`).
            TimedOut: it had not ended after `timeout` seconds; it goes on.
        """
        given = {
            "entity_id": entity_id,
            "data_version": data_version,
            "action": action,
            "parameters": dict(parameters or {}),
            "input_dataset": input_dataset,
            "output_dataset": output_dataset,
            "output_data_version": output_data_version,
            "resource_profile": resource_profile,
            "priority": priority,
            "callback_url": callback_url,
            "labels": labels,
        }
        request = _request({name: value for name, value in given.items() if value is not None})
        key = idempotency_key or str(uuid4())
        process = await self._transport.post(Process, "/v1/processes", request, repeatable=True, key=key)
        return await self.wait(process.id, timeout, check=check, on_change=on_change) if wait else process

    async def wait(
        self,
        process_id: UUID | str,
        timeout: float | None = None,
        *,
        check: bool = True,
        patience: float = 120.0,
        on_change: Callable[[Process], None] = lambda process: None,
    ) -> Process:
        """Return the process when it has ended. Asks often at first, then every two seconds.

        Args:
            patience: seconds for which the platform may be away while its work goes on.

        Raises:
            ProcessFailed: it failed or was cancelled (`check`).
            TimedOut: it had not ended after `timeout` seconds; it goes on.
        """
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        last_answer = time.monotonic()
        pause, before = FIRST_POLL_SECONDS, None
        while True:
            try:
                process = await self.get(process_id)
            except Unavailable:
                if time.monotonic() - last_answer > patience or time.monotonic() > deadline:
                    raise
                await anyio.sleep(LONGEST_POLL_SECONDS)
                continue
            last_answer = time.monotonic()
            if process != before:
                on_change(process)
                before = process
            if process.state.is_final:
                break
            if last_answer >= deadline:
                raise TimedOut(
                    f"Process {process_id} is {process.state} after {timeout:g} s: {process.reason}",
                    f"It goes on; see `stratum get {process_id}`.",
                )
            await anyio.sleep(max(0.0, min(pause, deadline - last_answer)))
            pause = min(pause * POLL_GROWTH, LONGEST_POLL_SECONDS)
        if check and process.state is not ProcessState.SUCCEEDED:
            raise ProcessFailed(str(process.id), process.state, process.reason)
        return process

    async def get(self, process_id: UUID | str) -> Process:
        """One process, as it is now."""
        return await self._transport.get(Process, api_path("processes", process_id))

    async def page(
        self,
        *,
        state: str | None = None,
        entity_id: str | None = None,
        action: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> ProcessPage:
        """One page of processes, newest first. `cursor` is the `next_cursor` of the page before."""
        params = {"state": state, "entity_id": entity_id, "action": action, "limit": limit, "cursor": cursor}
        return await self._transport.get(ProcessPage, "/v1/processes", params)

    async def processes(
        self, *, state: str | None = None, entity_id: str | None = None, action: str | None = None
    ) -> AsyncIterator[Process]:
        """All processes, newest first, fetched page by page."""
        cursor = None
        while True:
            page = await self.page(state=state, entity_id=entity_id, action=action, cursor=cursor)
            for process in page.items:
                yield process
            if (cursor := page.next_cursor) is None:
                return

    async def events(self, process_id: UUID | str) -> list[ProcessEvent]:
        """The whole history of a process, oldest first."""
        items: list[ProcessEvent] = []
        cursor: str | None = None
        while True:
            query = {"cursor": cursor} if cursor else {}
            page = await self._transport.get(EventPage, api_path("processes", process_id, "events"), query)
            items += page.items
            if (cursor := page.next_cursor) is None:
                return items

    async def logs(self, process_id: UUID | str, *, follow: bool = False) -> AsyncIterator[str]:
        """What the driver wrote, in pieces. With `follow` until all is there that will be, else what there is now."""
        offset, pause = 0, FIRST_POLL_SECONDS
        while True:
            chunk = await self._transport.get(LogChunk, api_path("processes", process_id, "logs"), {"offset": offset})
            moved, offset = chunk.next_offset > offset, chunk.next_offset
            if chunk.text:
                yield chunk.text
            if chunk.complete or not (moved or follow):
                return
            if not moved:
                await anyio.sleep(pause)
            pause = FIRST_POLL_SECONDS if moved else min(pause * POLL_GROWTH, LONGEST_POLL_SECONDS)

    async def cancel(self, process_id: UUID | str) -> Process:
        """End a process. It is `cancelling` until its job is seen to be gone.

        Raises:
            Conflict: it has ended, or is being sealed.
        """
        return await self._transport.post(Process, api_path("processes", process_id, "cancel"), repeatable=True)

    async def retry(self, process_id: UUID | str) -> Process:
        """Run failed or cancelled work again, as a new process.

        Raises:
            Conflict: it has not ended, or succeeded.
        """
        return await self._transport.post(Process, api_path("processes", process_id, "retry"), repeatable=False)

    async def actions(self) -> list[ActionDescription]:
        """What can be run, with the schemas of the parameters."""
        return (await self._transport.get(ActionList, "/v1/actions")).items

    async def reproduce(
        self,
        entity_id: str,
        data_version: str,
        dataset: str,
        *,
        timeout: float | None = None,
        on_change: Callable[[Process], None] = lambda process: None,
    ) -> reproduce.Reproduction:
        """Run what made a dataset once more, into a data version of its own and partitioned otherwise, and compare.

        Raises:
            Invalid: the dataset was uploaded.
            ProcessFailed, TimedOut: of the second run.
        """
        return await reproduce.reproduce(self, entity_id, data_version, dataset, timeout=timeout, on_change=on_change)


def _request(given: dict[str, Any]) -> ProcessRequest:
    try:
        return ProcessRequest.model_validate(given)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise Invalid(f"The request is not valid: {problems}.") from error
