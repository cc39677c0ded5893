"""A disposable cluster under test: `kubectl`, `helm`, and ports of services on this machine."""

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.platform import wait_for

ROOT = Path(__file__).parents[2]


class Cluster:
    """The cluster that KUBECONFIG names. Everything in it may be broken and deleted, so its owner must have said that it is disposable."""

    def __init__(self) -> None:
        if os.environ.get("STRATUM_TEST_CLUSTER") != "disposable" or not os.environ.get("KUBECONFIG"):
            raise AssertionError(
                "these tests break a cluster: run `make test-cluster`, or set KUBECONFIG and STRATUM_TEST_CLUSTER=disposable"
            )

    def kubectl(self, *arguments: str, given: str | None = None, check: bool = True) -> str:
        """What `kubectl` prints; asserts that it succeeds."""
        done = subprocess.run(["kubectl", *arguments], input=given, capture_output=True, text=True, timeout=300, check=False)
        assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def helm(self, *arguments: str, check: bool = True, seconds: float = 900) -> subprocess.CompletedProcess[str]:
        """Run `helm`; asserts that it succeeds."""
        done = subprocess.run(["helm", *arguments], capture_output=True, text=True, timeout=seconds, check=False)
        assert not check or done.returncode == 0, f"helm {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
        return done

    def items(self, kind: str, namespace: str, selector: str = "", *more: str) -> list[dict[str, Any]]:
        """All objects of a kind."""
        listed = json.loads(self.kubectl("get", kind, "-n", namespace, "-l", selector, *more, "-o", "json"))
        found: list[dict[str, Any]] = listed["items"]
        return found

    def get(self, kind: str, name: str, namespace: str) -> dict[str, Any] | None:
        """One object, None when it is not there."""
        text = self.kubectl("get", kind, name, "-n", namespace, "--ignore-not-found", "-o", "json")
        return json.loads(text) if text.strip() else None

    def apply(self, document: dict[str, Any]) -> None:
        """Create or change an object."""
        self.kubectl("apply", "-f", "-", given=json.dumps(document))

    def refusal(self, document: dict[str, Any], namespace: str) -> str:
        """What the API server says against making an object; nothing when it would make it. It is not made."""
        command = ["kubectl", "create", "--dry-run=server", "-n", namespace, "-f", "-"]
        done = subprocess.run(command, input=json.dumps(document), capture_output=True, text=True, timeout=300, check=False)
        return done.stderr if done.returncode else ""

    def create_raw(self, path: str, document: dict[str, Any]) -> None:
        """POST to a path of the API, such as a subresource."""
        self.kubectl("create", "--raw", path, "-f", "-", given=json.dumps(document))

    @contextmanager
    def without_api_server(self) -> Iterator[None]:
        """No API server inside the block: it is killed, and started again afterwards. Only the one-node cluster lets this be done."""
        pid_file = self._api_server_pid
        if not self.is_here():
            pytest.skip("the API server of this cluster cannot be restarted from here")
        process = psutil.Process(int(pid_file.read_text()))
        command = process.cmdline()
        process.kill()
        process.wait(30)
        try:
            yield
        finally:
            with (pid_file.parent / "logs" / "apiserver.log").open("ab") as log:
                again = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
            pid_file.write_text(str(again.pid))
            again.returncode = 0  # it outlives these tests; nobody waits for it
            wait_for(lambda: "ok" in self.kubectl("get", "--raw", "/readyz", check=False), 90, lambda: "the API server")

    def is_here(self) -> bool:
        """Whether this machine is the one node, with an API server that is a process of it."""
        return self._api_server_pid.is_file()

    @property
    def _api_server_pid(self) -> Path:
        return Path(os.environ["KUBECONFIG"]).parent / "apiserver.pid"

    def run_out(self, namespace: str, selector: str, *more: str, seconds: float = 180) -> None:
        """Wait until no pod is left of those selected."""
        wait_for(lambda: not self.items("pods", namespace, selector, *more), seconds, lambda: f"no pod of {selector} to be left")


class PortForward:
    """A service's port on this machine; made anew when the connection breaks."""

    def __init__(self, namespace: str, service: str, port: int, local: int | None = None) -> None:
        self._command = ["kubectl", "-n", namespace, "port-forward", f"service/{service}"]
        self.local = local or free_port()
        self._command.append(f"{self.local}:{port}")
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> "PortForward":
        self._thread.start()
        wait_for(self._answers, 60, lambda: " ".join(self._command))
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
        self._thread.join()

    def again(self) -> None:
        """Connect anew: the pod behind it may be another by now, which `kubectl` does not notice."""
        if self._process is not None:
            self._process.kill()

    def _keep(self) -> None:
        while not self._stopping.is_set():
            self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self._process.wait()
            self._stopping.wait(0.5)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.local)) == 0


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
