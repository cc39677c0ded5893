"""The edge to the API server: the few requests that the backend makes, in plain documents, with the launcher's own errors.

It stands on the transport of the official client (addresses, certificates, tokens that are renewed), not on its typed models: those
take milliseconds of processor time an object, and drop what a newer server says.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import urllib3
from kubernetes import config as client_config
from kubernetes.client import ApiClient, ApiException, Configuration
from kubernetes.config import ConfigException

from launcher.errors import BackendBusy, BackendError, BackendUnavailable
from launcher.kubernetes.containers import Document

CONNECT_SECONDS = 3.0
REQUEST_SECONDS = 10.0
LIST_SECONDS = 30.0
PAGE = 500
"""Objects of one answer to a listing."""
WATCH_SECONDS = 60
"""After this the server ends a watch, and it is begun anew where it stopped."""
SILENCE_SECONDS = 15.0
"""A watch that its server should have ended so long ago is dead, whatever TCP believes."""
_CONNECTIONS = 64
_LISTINGS = 3
"""How often a list is begun anew whose next page the server has forgotten."""
_WEBHOOK = re.compile(r'failed calling webhook "|admission webhook "[^"]*" denied the request')
_JUDGEMENTS = (400, 403, 422)
"""What a webhook says that has looked at an object and does not want it. It may say any other status too, those of an overloaded server."""


class ApiRefused(BackendError):
    """The API server understood and said no. `status` is HTTP's, `reason` its own word for the kind of refusal."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        self.status = status
        self.reason = reason
        super().__init__(message)


class NotFound(ApiRefused):
    """There is no such object, or no such namespace."""


class AlreadyExists(ApiRefused):
    """There is an object of that name."""


class Conflict(ApiRefused):
    """The object is not the one, or not in the version, that the request was made for."""


class Gone(ApiRefused):
    """The version to watch from is too old, or the place in a list: list again."""


class WebhookFailed(ApiRefused):
    """An admission webhook fails, or answers what is no judgement. The API server itself is well: other objects it takes."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Every object that was asked for, as of one version of the cluster's state."""

    items: list[Document]
    version: str


class KubernetesApi:
    """Requests to one API server, from any thread.

    Every method raises `BackendBusy` when the server has too much to do, `BackendUnavailable` when it cannot be reached or fails, and
    `ApiRefused` when it says no, or when a webhook keeps it from saying anything else.
    """

    def __init__(self, client: ApiClient, *, watch_seconds: int = WATCH_SECONDS, silence_seconds: float = SILENCE_SECONDS) -> None:
        self._client = client
        self._watch_seconds = watch_seconds
        self._silence_seconds = silence_seconds

    @classmethod
    @contextmanager
    def open(cls) -> "Iterator[KubernetesApi]":
        """The API server of the cluster that this runs in, else the one of the kubeconfig.

        Raises:
            BackendUnavailable: there is neither.
        """
        configuration = Configuration()
        try:
            with suppress(ConfigException):
                client_config.load_incluster_config(client_configuration=configuration)
            if configuration.refresh_api_key_hook is None:
                client_config.load_kube_config(client_configuration=configuration)
        except (ConfigException, OSError) as error:
            raise BackendUnavailable(f"there is neither a service account nor a kubeconfig: {error}") from error
        configuration.retries = False  # whoever asks decides what is tried again, and when
        configuration.connection_pool_maxsize = _CONNECTIONS
        client = ApiClient(configuration)
        client.user_agent = "stratum-launcher"
        with client:
            yield cls(client)

    def create(self, path: str, document: Document) -> Document:
        """Make an object; `path` is that of its collection. What Kubernetes would not understand is refused."""
        return self._ask("POST", path, document, query={"fieldValidation": "Strict"})

    def get(self, path: str) -> Document:
        """Read an object."""
        return self._ask("GET", path)

    def replace(self, path: str, document: Document) -> Document:
        """Put `document` in the place of the version of the object that it names (`metadata.resourceVersion`)."""
        return self._ask("PUT", path, document)

    def merge(self, path: str, document: Document) -> Document:
        """Change the parts of an object that `document` names (JSON merge patch)."""
        return self._ask("PATCH", path, document, content_type="application/merge-patch+json")

    def delete(self, path: str) -> None:
        """Delete an object, and in the background all that it owns."""
        self._ask("DELETE", path, {"propagationPolicy": "Background"})

    def list(self, path: str, **selectors: str) -> Listing:
        """Every object of a collection, page after page, as it is now: all of them, or an error."""
        for _ in range(_LISTINGS - 1):
            with suppress(Gone):
                return self._pages(path, selectors)
        return self._pages(path, selectors)

    def _pages(self, path: str, selectors: Mapping[str, str]) -> Listing:
        items: list[Document] = []
        query = {"limit": str(PAGE), **{f"{kind}Selector": value for kind, value in selectors.items()}}
        while True:
            page = self._ask("GET", path, query=query, seconds=LIST_SECONDS)
            items += page["items"]
            token = page["metadata"].get("continue")
            if not token:
                return Listing(items, page["metadata"]["resourceVersion"])
            query["continue"] = token

    @contextmanager
    def watch(self, path: str, version: str, **selectors: str) -> "Iterator[Watch]":
        """What happens to a collection from `version` on.

        Raises:
            Gone: that is too long ago.
        """
        query = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version, "timeoutSeconds": str(self._watch_seconds)}
        query |= {f"{kind}Selector": value for kind, value in selectors.items()}
        response = self._send("GET", path, None, query, None, self._watch_seconds + self._silence_seconds)
        try:
            yield Watch(response)
        finally:
            response.close()

    def _ask(
        self,
        method: str,
        path: str,
        body: Document | None = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str | None = None,
        seconds: float = REQUEST_SECONDS,
    ) -> Document:
        response = self._send(method, path, body, query, content_type, seconds)
        with _translated():
            document: Document = json.loads(response.data)
        return document

    def _send(
        self, method: str, path: str, body: Document | None, query: Mapping[str, str] | None, content_type: str | None, seconds: float
    ) -> urllib3.HTTPResponse:
        headers = {"Accept": "application/json", "Content-Type": content_type or "application/json"}
        with _translated():
            request = self._client.param_serialize(
                method, path, query_params=list((query or {}).items()), header_params=headers, body=body, auth_settings=["BearerToken"]
            )
            answer = self._client.call_api(*request, _request_timeout=(CONNECT_SECONDS, seconds))
            if answer.status >= 300:
                raise _refusal(answer.status, answer.headers, answer.read())
        response: urllib3.HTTPResponse = answer.response
        return response


class Watch:
    """An open watch; to be read by one thread, and closed by any."""

    def __init__(self, response: urllib3.HTTPResponse) -> None:
        self._response = response

    def close(self) -> None:
        """End the watch: whoever reads it comes to its end."""
        with suppress(OSError, ValueError, RuntimeError):  # it may have ended by itself
            self._response.shutdown()

    def events(self) -> Iterator[tuple[str, Document]]:
        """Kinds of events (`ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK`) and their objects, until the server ends the watch.

        Raises:
            Gone: the server no longer knows what came next.
        """
        rest = b""
        with _translated():
            for part in self._response.stream(None):
                *lines, rest = (rest + part).split(b"\n")
                for line in lines:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise _refusal(event["object"].get("code", 500), {}, json.dumps(event["object"]).encode())
                    yield event["type"], event["object"]


def _refusal(status: int, headers: Mapping[str, str], body: bytes) -> BackendError:
    said = _status_of(body)
    message = said.get("message") or body.decode(errors="replace")[:500] or f"HTTP {status}"
    reason = said.get("reason", "")
    if status not in _JUDGEMENTS and _WEBHOOK.search(message):
        return WebhookFailed(status, reason, message)
    if status == 429:
        return BackendBusy(f"the API server has too much to do: {message}", retry_after_seconds=_seconds(headers.get("Retry-After")))
    if status >= 500 or status in (401, 408):
        return BackendUnavailable(
            f"the API server fails (HTTP {status}): {message}", retry_after_seconds=_seconds(headers.get("Retry-After"))
        )
    kinds = {404: NotFound, 410: Gone, 409: AlreadyExists if reason == "AlreadyExists" else Conflict}
    return kinds.get(status, ApiRefused)(status, reason, message)


def _status_of(body: bytes) -> dict[str, Any]:
    with suppress(ValueError):
        document = json.loads(body)
        if isinstance(document, dict):
            return document
    return {}


def _seconds(header: str | None) -> float | None:
    try:
        return float(header) if header is not None else None
    except ValueError:
        return None


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (urllib3.exceptions.HTTPError, ApiException, OSError) as error:
        raise BackendUnavailable(f"the API server cannot be reached: {error}") from error
    except ValueError as error:
        raise BackendUnavailable(f"the API server's answer makes no sense: {error}") from error
