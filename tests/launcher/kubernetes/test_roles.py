"""`python -m launcher submit` and `observe` as the chart starts them, with a small program where Spark stands."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
import yaml

from benchmarks.submissions import Cost, bare, specs
from contracts.command import Command
from contracts.event import JobEnded, JobSubmitted, LauncherEvent, Relist
from launcher.kubernetes import names
from stratum.local.ports import choose_port
from tests.cluster.cluster import Cluster
from tests.figures import report
from tests.launcher.kafka_probe import KafkaProbe
from tests.launcher.kubernetes.world import IMAGE, ClusterWorld, TenantNamespace
from tests.launcher.samples import eventually
from tests.launcher.stub_api import Api

pytestmark = pytest.mark.cluster
PATIENCE = 90.0
MANY = 200
UNPLACEABLE = "64g"  # the most that the profile takes; the node has less, so the pods stay pending


class Roles:
    """The launcher's processes, and what they are told. No key to the object store is among it."""

    def __init__(self, folder: Path, namespace: TenantNamespace, kafka: KafkaProbe, api: Api) -> None:
        self.namespace = namespace
        self.kafka = kafka
        self.api = api
        self.port = choose_port(set())
        config = folder / "kubernetes.yaml"
        tenants = {"acme": {"namespace": namespace.name}}
        config.write_text(yaml.safe_dump({"tenants": tenants, "sidecar_image": IMAGE, "cpu_request_ratio": 0.02}))
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "KUBECONFIG": os.environ["KUBECONFIG"],
            "STRATUM_LAUNCHER_BACKEND": "kubernetes",
            "STRATUM_KUBERNETES_CONFIG_FILE": str(config),
            "STRATUM_KAFKA_BOOTSTRAP": kafka.bootstrap,
            "STRATUM_TOPIC_PREFIX": kafka.topics.prefix,
            "STRATUM_CLUSTER": kafka.topics.prefix,
            "STRATUM_JWKS_URL": api.jwks_url,
            "STRATUM_CALLBACK_BASE_URL": api.base_url,
            "STRATUM_S3_ENDPOINT": "http://127.0.0.1:1",
            "STRATUM_RELIST_SECONDS": "1",
            "STRATUM_RETENTION_SECONDS": "1",
            "STRATUM_NAMESPACE": namespace.name,
        }

    @contextmanager
    def running(self, role: str, **settings: str) -> Iterator["subprocess.Popen[bytes]"]:
        with subprocess.Popen([sys.executable, "-m", "launcher", role], env=self.environment | settings) as process:
            try:
                yield process
            finally:
                process.kill()

    def send(self, parameters: dict[str, object] | None = None, memory: str = "512m") -> Command:
        command = self.api.command(parameters, image=IMAGE, resource_profile={"driver_memory": memory})
        self.kafka.send(self.kafka.topics.commands, command.model_dump_json().encode())
        return command

    def history(self, command: Command, until: str) -> list[LauncherEvent]:
        """Events of the command's process, once one of that type is among them."""

        def own(events: list[LauncherEvent]) -> list[LauncherEvent]:
            return [event for event in events if not isinstance(event, Relist) and event.process_id == command.process_id]

        return own(self.kafka.until_events(lambda events: any(event.type == until for event in own(events)), PATIENCE))

    def until_jobs(self, number: int) -> None:
        """Wait for so many Jobs, each of another attempt: the name says which."""

        def there() -> bool:
            return len(self.namespace.cluster.items("jobs", self.namespace.name)) >= number

        eventually(there, f"{number} Jobs", PATIENCE)
        assert len(self.namespace.cluster.items("jobs", self.namespace.name)) == number

    def until_listed(self, command: Command) -> None:
        def listed(events: list[LauncherEvent]) -> bool:
            relists = [event for event in events if isinstance(event, Relist)]
            return any(ref.process_id == command.process_id for relist in relists for ref in relist.live)

        self.kafka.until_events(listed, PATIENCE)


@pytest.fixture
def roles(tmp_path: Path, namespace: TenantNamespace, kafka: KafkaProbe, api: Api) -> Roles:
    return Roles(tmp_path, namespace, kafka, api)


def test_a_command_becomes_a_job_and_its_end_is_told(roles: Roles) -> None:
    with (
        roles.running("submit") as submit,
        roles.running("observe", STRATUM_POD_NAME="observe-1", STRATUM_METRICS_PORT=str(roles.port)) as observe,
    ):
        command = roles.send()
        ended = roles.history(command, "ended")[-1]
        assert isinstance(ended, JobEnded)
        assert (ended.outcome, ended.exit_code) == ("completed", 0)
        selector = f"stratum.dev/process-id={command.process_id}"
        eventually(lambda: not roles.namespace.cluster.items("jobs", roles.namespace.name, selector), "the Job to be removed", PATIENCE)
        assert httpx.get(f"http://127.0.0.1:{roles.port}/healthz").json() == {"status": "ok", "checks": {}}
        assert "stratum_launcher_relist_timestamp_seconds" in httpx.get(f"http://127.0.0.1:{roles.port}/metrics").text
        for process in (submit, observe):
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
    lease = roles.namespace.cluster.get("lease", "stratum-observe", roles.namespace.name)
    assert lease is not None
    assert not lease["spec"].get("holderIdentity")


def test_another_observer_goes_on_when_one_is_killed(roles: Roles) -> None:
    with roles.running("submit"), roles.running("observe", STRATUM_POD_NAME="observe-1") as first:
        command = roles.send({"seconds": 20})
        roles.until_listed(command)
        with roles.running("observe", STRATUM_POD_NAME="observe-2"):
            first.kill()
            ended = roles.history(command, "ended")
    assert [event.outcome for event in ended if isinstance(event, JobEnded)] == ["completed"]


def test_two_hundred_at_once(cluster: Cluster, tmp_path: Path, kafka: KafkaProbe, api: Api) -> None:
    """Every Job exists once, with its Secret; and what each costs, beside the bare client that makes the same Jobs."""
    with TenantNamespace.made(cluster, most_pods=5 * MANY) as namespace:
        roles = Roles(tmp_path, namespace, kafka, api)
        with roles.running("submit") as submit:
            roles.send(memory=UNPLACEABLE)  # what is paid once is paid
            roles.until_jobs(1)
            launcher = psutil.Process(submit.pid)
            began, busy = time.monotonic(), _busy(launcher)
            commands = [roles.send(memory=UNPLACEABLE) for _ in range(MANY)]
            roles.until_jobs(1 + MANY)
            seconds, processor = time.monotonic() - began, _busy(launcher) - busy
            wanted = {command.process_id for command in commands}
            kafka.until_events(lambda events: wanted <= {event.process_id for event in events if isinstance(event, JobSubmitted)}, PATIENCE)
        secrets = cluster.items("secrets", namespace.name, f"{names.CLUSTER}={roles.environment['STRATUM_CLUSTER']}")
        assert len(secrets) == 1 + MANY
        ours = f"{MANY / seconds:.0f} Jobs/s, {processor / MANY * 1000:.1f} ms CPU each"
    with TenantNamespace.made(cluster, most_pods=5 * MANY) as namespace, ClusterWorld.open(namespace) as world:
        beside = Cost.of("bare client", bare(world), specs(MANY))
    report(f"{MANY} submissions at once", f"{ours} with its Secret and its event; {' '.join(str(beside).split())}")


def _busy(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@pytest.mark.parametrize(
    ("role", "changed", "says"),
    [
        ("submit", {"STRATUM_JWKS_URL": ""}, "STRATUM_JWKS_URL"),
        ("submit", {"STRATUM_LAUNCHER_BACKEND": "process"}, "STRATUM_LAUNCHER_BACKEND"),
        ("submit", {"STRATUM_KUBERNETES_CONFIG_FILE": "/nowhere"}, "/nowhere"),
        ("submit", {"STRATUM_KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "STRATUM_KAFKA_SASL_MECHANISM"),
        ("observe", {"STRATUM_POD_NAME": "me", "STRATUM_KAFKA_SASL_USERNAME": "me"}, "STRATUM_KAFKA_SASL_USERNAME"),
        ("observe", {"STRATUM_CA_BUNDLE": "/etc/hostname"}, "STRATUM_CA_BUNDLE"),
        ("observe", {}, "STRATUM_POD_NAME"),
    ],
)
def test_cannot_start(roles: Roles, role: str, changed: dict[str, str], says: str) -> None:
    environment = roles.environment | changed
    found = subprocess.run([sys.executable, "-m", "launcher", role], env=environment, capture_output=True, text=True, timeout=60)
    assert found.returncode == 2
    assert says in found.stderr
    assert "Traceback" not in found.stderr
