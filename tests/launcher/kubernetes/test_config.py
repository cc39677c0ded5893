"""The configuration of the cluster is read strictly."""

from pathlib import Path

import pytest

from launcher.kubernetes.assembly import cluster_observe_roles
from launcher.kubernetes.config import load_config
from launcher.kubernetes.containers import storage_resources
from launcher.settings import KubernetesObserveSettings, SettingsError, load

LEAST = "tenants: {acme: {namespace: stratum-acme}}\nsidecar_image: stratum-launcher:0.1.0\n"


def written(folder: Path, text: str) -> Path:
    file = folder / "kubernetes.yaml"
    file.write_text(text)
    return file


def test_least(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, LEAST))
    assert config.namespaces == ("stratum-acme",)
    assert config.place("acme").service_account == "stratum-driver"


def test_tenants_may_differ(tmp_path: Path) -> None:
    text = """
        queue: spark
        sidecar_image: x
        tenants:
          acme: {namespace: one, queue: own, s3_secret: {name: keys}}
          globex: {namespace: two}
          initech: {namespace: two}
    """
    config = load_config(written(tmp_path, text))
    assert config.namespaces == ("one", "two")
    assert (config.place("acme").queue, config.place("globex").queue) == ("own", "spark")
    assert (config.place("acme").s3_secret.name, config.place("acme").s3_secret.access_key) == ("keys", "access-key")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the file"),
        ("tenants: {}\nsidecar_image: x", "tenants"),
        (LEAST + "que: spark", "que: Extra inputs are not permitted"),
        (LEAST + "executors: {alocation: fixed}", "executors.alocation"),
        (LEAST + "executors: {allocation: auto}", "executors.allocation"),
        (LEAST + "cpu_request_ratio: 0", "cpu_request_ratio"),
        (LEAST + "ephemeral_storage: {limit: 5 gigabytes}", "ephemeral_storage.limit"),
        (LEAST + "ephemeral_storage: {limit: 5ki}", "ephemeral_storage.limit"),
        (LEAST + "ephemeral_storage: {limit: '-1'}", "ephemeral_storage.limit"),
        (LEAST + "queue: team..spark", "queue"),
        (LEAST + f"queue: {'q' * 64}", "queue"),
        (LEAST + "tolerations: [{effect: Never}]", "tolerations.0.effect"),
        (LEAST + "queue: a\nqueue: b", "'queue' is there twice"),
        ("tenants: {Acme: {namespace: x}}\nsidecar_image: x", "tenants.Acme"),
        ("tenants: {acme: {namespace: Not_A_Label}}\nsidecar_image: x", "tenants.acme.namespace"),
        ("tenants: [", "cannot be read"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, says: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(SettingsError) as error:
        load_config(file)
    assert says in str(error.value)
    assert str(file) in str(error.value)


@pytest.mark.parametrize("ttl", [1, 600])
def test_the_cluster_does_not_remove_jobs_before_the_observer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ttl: int) -> None:
    environment = {
        "STRATUM_KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "STRATUM_CLUSTER": "here",
        "STRATUM_CALLBACK_BASE_URL": "http://127.0.0.1:1",
        "STRATUM_LAUNCHER_BACKEND": "kubernetes",
        "STRATUM_KUBERNETES_CONFIG_FILE": str(written(tmp_path, f"{LEAST}job_ttl_seconds: {ttl}")),
        "STRATUM_S3_ENDPOINT": "http://127.0.0.1:1",
        "STRATUM_RETENTION_SECONDS": "600",
        "STRATUM_NAMESPACE": "stratum",
        "STRATUM_POD_NAME": "observe-1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(SettingsError, match=rf"job_ttl_seconds \({ttl}\) must be more than STRATUM_RETENTION_SECONDS \(600\)"),
        cluster_observe_roles(load(KubernetesObserveSettings)),
    ):
        pass


@pytest.mark.parametrize("quantity", ["1Ei", "1e9", "10Ki", "1E", "2.5Gi", ".5Gi", "1.", "500M", "100m", "12e-1"])
def test_disk_is_written_as_kubernetes_writes_it(tmp_path: Path, quantity: str) -> None:
    config = load_config(written(tmp_path, LEAST + f"ephemeral_storage: {{request: '{quantity}'}}"))
    assert storage_resources(config.ephemeral_storage) == ({"ephemeral-storage": quantity}, {})


def test_a_queue_is_called_as_objects_are(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, LEAST + "queue: team.spark")).place("acme").queue == "team.spark"


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.yaml"):
        load_config(tmp_path / "nowhere.yaml")
