"""The edge to Kubernetes: one client, its errors as ours."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import kubernetes
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from urllib3.exceptions import HTTPError

from stratum.preflight.errors import PreflightError, Unreachable

WITHIN = (5, 20)
"""Seconds to connect, and to answer."""


class Refused(PreflightError):
    """The API server said no. `status` is its HTTP status; the message is its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Cluster:
    """The cluster that `KUBECONFIG` names, or the one around this pod. The first call connects."""

    @cached_property
    def _client(self) -> Any:
        configuration = kubernetes.client.Configuration()
        # named here, for the library goes on without a word when the file that KUBECONFIG names is not there
        named = {"config_file": path} if (path := os.environ.get("KUBECONFIG")) else {}
        try:
            kubernetes.config.load_config(**named, client_configuration=configuration)
        except ConfigException as error:
            raise Unreachable(f"no cluster is configured: {error}") from error
        configuration.retries = 0
        return kubernetes.client.ApiClient(configuration)

    @property
    def core(self) -> Any:
        """Pods, namespaces, quotas."""
        return kubernetes.client.CoreV1Api(self._client)

    @property
    def authentication(self) -> Any:
        """Who we are."""
        return kubernetes.client.AuthenticationV1Api(self._client)

    @property
    def authorization(self) -> Any:
        """Who may do what."""
        return kubernetes.client.AuthorizationV1Api(self._client)

    @property
    def apis(self) -> Any:
        """Which groups of APIs are served."""
        return kubernetes.client.ApisApi(self._client)

    @property
    def custom(self) -> Any:
        """Objects of kinds that are installed, such as Kueue's."""
        return kubernetes.client.CustomObjectsApi(self._client)

    @property
    def version(self) -> Any:
        """Of the API server."""
        return kubernetes.client.VersionApi(self._client)


@contextmanager
def told() -> Iterator[None]:
    """Translate the client's errors to `Refused` and `Unreachable`."""
    try:
        yield
    except ApiException as error:
        raise Refused(int(error.status or 0), _words(error)) from error
    except HTTPError as error:
        raise Unreachable(f"the API server does not answer: {error}") from error


def _words(error: ApiException) -> str:
    try:
        return str(json.loads(error.body or "")["message"])
    except (ValueError, KeyError, TypeError):
        return f"{error.status} {error.reason}"
