"""Candidates for one Lease on a real API server: one leads, and whoever is deposed says nothing more."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from contracts.identifiers import new_id
from tests.cluster.cluster import Cluster
from tests.launcher.samples import eventually
from tests.launcher.wire import Wire

pytestmark = pytest.mark.cluster
DURATION = 5
"""Seconds that the Lease is good for."""


class Election:
    """Candidates are processes; what they say as leaders stands in one file, in order."""

    def __init__(self, cluster: Cluster, namespace: str, folder: Path) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.folder = folder
        self._said = folder / "said"
        self._said.touch()

    @contextmanager
    def candidate(self, name: str, kubeconfig: Path | None = None) -> Iterator["subprocess.Popen[bytes]"]:
        arguments = [self.namespace, name, str(self._said), str(DURATION)]
        environment = os.environ | ({"KUBECONFIG": str(kubeconfig)} if kubeconfig else {})
        with subprocess.Popen([sys.executable, "-m", "tests.launcher.lease_program", *arguments], env=environment) as process:
            try:
                yield process
            finally:
                process.kill()

    def said(self) -> list[str]:
        return self._said.read_text().splitlines()

    def until_said_by(self, name: str, timeout: float = 40) -> None:
        before = len(self.said())
        eventually(lambda: name in self.said()[before:], f"{name} to lead", timeout)

    def terms(self) -> list[str]:
        """Who led, in order: each name once a term."""
        said = self.said()
        return [name for name, before in zip(said, ["", *said], strict=False) if name != before]

    def holder(self) -> str:
        lease = self.cluster.get("lease", "test", self.namespace)
        assert lease is not None
        return str(lease["spec"].get("holderIdentity", ""))


@pytest.fixture
def election(tmp_path: Path) -> Iterator[Election]:
    cluster, namespace = Cluster(), f"wiring-{new_id().hex[-12:]}"
    cluster.kubectl("create", "namespace", namespace)
    yield Election(cluster, namespace, tmp_path)
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[tuple[Wire, Path]]:
    """A wire, and a kubeconfig that goes by it."""
    document = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    cluster = document["clusters"][0]["cluster"]
    address = urlsplit(cluster["server"])
    assert address.hostname
    wire = Wire((address.hostname, address.port or 443))
    cluster |= {"server": f"https://127.0.0.1:{wire.port}", "tls-server-name": address.hostname}
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(document))
    yield wire, file
    wire.close()


def test_killed_leader_is_replaced_after_its_time_and_a_stopped_one_at_once(election: Election) -> None:
    with election.candidate("first") as first:
        election.until_said_by("first")
        with election.candidate("second") as second:
            first.kill()
            first.wait()
            election.until_said_by("second")
            assert election.holder() == "second"
            with election.candidate("third"):
                second.send_signal(signal.SIGTERM)
                assert second.wait(20) == 0
                election.until_said_by("third", timeout=DURATION * 0.8 + 5)
    assert election.terms() == ["first", "second", "third"]


def test_restarted_leader_goes_on(election: Election) -> None:
    for _ in range(2):
        with election.candidate("first"):
            election.until_said_by("first")
    assert election.terms() == ["first"]


def test_frozen_leader_says_nothing_when_it_wakes_up(election: Election) -> None:
    with election.candidate("first") as first:
        election.until_said_by("first")
        with election.candidate("second"):
            first.send_signal(signal.SIGSTOP)
            election.until_said_by("second")
            first.send_signal(signal.SIGCONT)
            for _ in range(3):
                election.until_said_by("second")
            assert first.poll() is None
    assert election.terms() == ["first", "second"]


def test_leader_that_cannot_renew_falls_silent_before_another_speaks(election: Election, wire: tuple[Wire, Path]) -> None:
    cut, kubeconfig = wire
    with election.candidate("first", kubeconfig) as first:
        election.until_said_by("first")
        with election.candidate("second") as second:
            cut.cut()
            election.until_said_by("second")
            cut.mend()
            for _ in range(3):
                election.until_said_by("second")
            # it goes on as a candidate
            second.send_signal(signal.SIGTERM)
            election.until_said_by("first")
            assert first.poll() is None
    assert election.terms() == ["first", "second", "first"]
