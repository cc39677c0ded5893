"""The pods of a run's executors, as the Kubernetes API shows them to the driver's own service account."""

import os
import ssl
from pathlib import Path
from typing import Any

import httpx

from spark_jobs.errors import ClusterUnreachable

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where every pod with a service account finds its token, namespace and the API's authority."""
_TIMEOUT = httpx.Timeout(5.0)
_MOST = 500

Pod = dict[str, Any]
"""A pod as the API gives it."""


class ExecutorPods:
    """Where to ask for the executors of one Spark application. `url`: of the API; None: as the pod's environment says."""

    def __init__(self, application_id: str, account: Path = ACCOUNT, url: str | None = None) -> None:
        self._selector = f"spark-role=executor,spark-app-selector={application_id}"
        self._account = account
        self._url = url

    def list(self) -> list[Pod]:
        """Those that are there, whatever their state.

        Raises:
            ClusterUnreachable: the API cannot be asked, or does not let us.
        """
        try:
            url = self._url or "https://{KUBERNETES_SERVICE_HOST}:{KUBERNETES_SERVICE_PORT}".format_map(os.environ)
            namespace = (self._account / "namespace").read_text(encoding="utf-8")
            token = (self._account / "token").read_text(encoding="utf-8")  # read each time: it is renewed while we run
            with httpx.Client(verify=ssl.create_default_context(cafile=self._account / "ca.crt"), timeout=_TIMEOUT) as client:
                response = client.get(
                    f"{url}/api/v1/namespaces/{namespace}/pods",
                    params={"labelSelector": self._selector, "limit": _MOST},
                    headers={"authorization": f"Bearer {token}"},
                )
            response.raise_for_status()
            return list(response.json()["items"])
        except (OSError, httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise ClusterUnreachable(f"the Kubernetes API cannot be asked for the executors: {error}") from error
