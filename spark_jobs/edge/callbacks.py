"""The run's reports to the control plane."""

import ssl
from pathlib import Path
from threading import Lock

import httpx
import stamina
from pydantic import ValidationError

from contracts.callback import Callback, Grant, Progress, ProposalRef, RunError
from contracts.command import Command
from spark_jobs.errors import ControlPlaneUnreachable, GrantLost

_TIMEOUT = httpx.Timeout(10.0)
_AGAIN = frozenset({408, 425, 429})
_PATIENCE = {"started": 300.0, "finished": 600.0, "failed": 120.0}
"""Seconds for which a report is tried: the control plane may be restarting."""


class _NoAnswer(Exception):
    """Worth another try, after `retry_after` seconds if the server said so."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class ControlPlane:
    """One run's line to the control plane. Any thread may report; reports go out one at a time, numbered."""

    def __init__(self, command: Command, run_id: str, ca_bundle: Path | None = None) -> None:
        context = ssl.create_default_context()
        if ca_bundle is not None:
            context.load_verify_locations(ca_bundle)
        headers = {"traceparent": command.traceparent} if command.traceparent else {}
        self._client = httpx.Client(timeout=_TIMEOUT, verify=context, headers=headers)
        self._url = str(command.callback_url)
        self._run_id = run_id
        self._token = command.flow_token
        self._sequence = 0
        self._lock = Lock()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def started(self) -> Grant:
        """Ask for the right to write.

        Raises:
            GrantLost: another run has it, the work was cancelled, or came too late.
            ControlPlaneUnreachable: no answer for minutes.
        """
        return self._deliver(Callback(**self._next("started")))

    def heartbeat(self, progress: Progress) -> Grant:
        """Say that the run lives: one try only, since another heartbeat follows. Raises as `started`."""
        callback = Callback(**self._next("heartbeat"), progress=progress)
        try:
            return self._post(callback)
        except _NoAnswer as error:
            raise ControlPlaneUnreachable(str(error)) from error

    def finished(self, proposal: ProposalRef) -> Grant:
        """Hand in the proposal. Raises as `started`."""
        return self._deliver(Callback(**self._next("finished"), proposal=proposal))

    def failed(self, error: RunError) -> Grant:
        """Say why there is no result. Raises as `started`."""
        return self._deliver(Callback(**self._next("failed"), error=error))

    def _next(self, kind: str) -> dict[str, object]:
        with self._lock:
            self._sequence += 1
            return {"type": kind, "sequence": self._sequence, "run_id": self._run_id}

    def _deliver(self, callback: Callback) -> Grant:
        try:
            for attempt in stamina.retry_context(
                on=_worth_another_try, attempts=None, timeout=_PATIENCE[callback.type], wait_initial=0.2, wait_max=10.0
            ):
                with attempt:
                    return self._post(callback)
        except _NoAnswer as error:
            raise ControlPlaneUnreachable(f"`{callback.type}` could not be delivered: {error}") from error
        raise AssertionError("the loop above ends by returning or raising")

    def _post(self, callback: Callback) -> Grant:
        body = callback.model_dump_json(by_alias=True, exclude_none=True)
        with self._lock:
            try:
                response = self._client.post(
                    self._url,
                    content=body,
                    headers={"authorization": f"Bearer {self._token}", "content-type": "application/json"},
                )
            except httpx.TransportError as error:
                raise _NoAnswer(f"{self._url}: {error or type(error).__name__}") from error
            grant = _read(response)
            self._token = grant.run_token
            return grant


def _read(response: httpx.Response) -> Grant:
    if response.is_success:
        try:
            return Grant.model_validate_json(response.content)
        except ValidationError as error:
            raise _NoAnswer(f"the answer is not a grant: {error}") from error
    summary = f"{response.status_code} {_detail(response)}"
    if response.status_code in _AGAIN or response.is_server_error:
        seconds = response.headers.get("retry-after", "")
        raise _NoAnswer(summary, float(seconds) if seconds.isdecimal() else None)
    raise GrantLost(summary)


def _detail(response: httpx.Response) -> str:
    try:
        problem = response.json()
    except ValueError:
        return response.reason_phrase
    return str(problem.get("detail") or problem.get("title")) if isinstance(problem, dict) else response.reason_phrase


def _worth_another_try(error: Exception) -> bool | float:
    return isinstance(error, _NoAnswer) and (error.retry_after or True)
