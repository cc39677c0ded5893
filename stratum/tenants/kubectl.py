"""The edge to Kubernetes. `kubectl` and not a library: it finds cluster and credentials just as helm does."""

import base64
import json
import re
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

from stratum.errors import StratumError, Unavailable
from stratum.tenants.program import QUICK_SECONDS, run

_FORWARD_SECONDS = 30.0
_FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ->")


class Kubectl:
    """kubectl, for one cluster."""

    def __init__(self, context: str | None) -> None:
        self._command = ["kubectl", *(["--context", context] if context else [])]

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        """One object; None when it is not there."""
        place = ["--namespace", namespace] if namespace else []
        text = self._run("get", kind, name, *place, "--ignore-not-found", "--output", "json")
        return json.loads(text) if text.strip() else None

    def texts(self, name: str, namespace: str) -> dict[str, str] | None:
        """The texts of a Secret; None when it is not there."""
        found = self.get("secret", name, namespace)
        if found is None:
            return None
        return {key: base64.b64decode(value).decode("utf-8", "replace") for key, value in (found.get("data") or {}).items()}

    def apply(self, manifest: Mapping[str, Any]) -> None:
        """Make an object, or bring it to this. Server-side: client-side would copy a Secret's texts into an annotation."""
        self._run(
            "apply", "--server-side", "--force-conflicts", "--field-manager=stratum-tenants", "--filename=-", given=json.dumps(manifest)
        )

    def annotate(self, kind: str, name: str, namespace: str, annotations: Mapping[str, str | None]) -> None:
        """Set annotations of an object; None takes one away."""
        patch = json.dumps({"metadata": {"annotations": dict(annotations)}})
        self._run("patch", kind, name, "--namespace", namespace, "--type=merge", "--patch", patch)

    def delete(self, kind: str, name: str, namespace: str | None = None) -> None:
        """Delete an object, if it is there."""
        place = ["--namespace", namespace] if namespace else []
        self._run("delete", kind, name, *place, "--ignore-not-found", "--wait=false")

    def exec(self, namespace: str, of: str, container: str, command: Sequence[str]) -> str:
        """What a command prints in a pod of a workload, such as `deployment/stratum-api`.

        Raises:
            ProgramFailed: it did not end well; `code` is its own.
        """
        return self._run("exec", of, "--namespace", namespace, "--container", container, "--", *command, seconds=2 * QUICK_SECONDS)

    @contextmanager
    def forwarded(self, namespace: str, service: str, port: int) -> Iterator[int]:
        """The port on this machine by which a service is reached inside the block.

        Raises:
            Unavailable: it cannot be reached.
        """
        command = [*self._command, "port-forward", "--namespace", namespace, "--address=127.0.0.1", f"service/{service}", f":{port}"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        timer = threading.Timer(_FORWARD_SECONDS, process.kill)
        timer.start()
        assert process.stdout is not None  # noqa: S101  # it was asked for
        try:
            local = _local_port(process.stdout, service, namespace)
            timer.cancel()
            # it writes a line for each connection, and would stop when nobody reads them
            threading.Thread(target=process.stdout.read, daemon=True).start()
            yield local
        finally:
            timer.cancel()
            process.kill()
            process.wait()

    def _run(self, *arguments: str, given: str | None = None, seconds: float = QUICK_SECONDS) -> str:
        shown = f"kubectl {' '.join(arguments[:3])}"
        return run([*self._command, *arguments], shown, given=given, seconds=seconds)


def _local_port(lines: IO[str], service: str, namespace: str) -> int:
    said = []
    for line in lines:
        if found := _FORWARDING.search(line):
            return int(found[1])
        said.append(line.strip())
    raise Unavailable(f"The service {service} in {namespace} is not reached: {' '.join(said)}", "Is it running? `kubectl get pods` tells.")


def require_secret(texts: Mapping[str, str] | None, name: str, namespace: str, *keys: str) -> Mapping[str, str]:
    """The texts, if the Secret is there and has these keys.

    Raises:
        StratumError: it is not, or lacks one.
    """
    missing = [key for key in keys if not (texts or {}).get(key)]
    if texts is None or missing:
        what = f"has no {' and no '.join(missing)}" if texts is not None else "does not exist"
        wanted = " ".join(f"--from-file={key}=FILE" for key in keys)
        raise StratumError(
            f"The Secret {name} in the namespace {namespace} {what}.",
            f"Make it: `kubectl --namespace {namespace} create secret generic {name} {wanted}`.",
        )
    return texts
