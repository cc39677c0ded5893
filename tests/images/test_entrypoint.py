"""The Spark image's entrypoint, with a stand-in for Java: its arguments, the log, exit codes, and requests to end."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from ssl import PEM_cert_to_DER_cert
from typing import Any

import pytest
import trustme

from stratum.local.java import ensure_java

ENTRYPOINT = Path(__file__).parents[2] / "deploy" / "images" / "spark" / "entrypoint"
DRIVER = ["driver", "--master", "k8s://here", "--conf", "a=b c", "--", "spark_jobs", "run", "--command", "file"]
EXECUTOR = {
    "SPARK_DRIVER_URL": "spark://driver",
    "SPARK_EXECUTOR_ID": "7",
    "SPARK_EXECUTOR_CORES": "2",
    "SPARK_EXECUTOR_MEMORY": "512m",
    "SPARK_APPLICATION_ID": "spark-1",
    "SPARK_RESOURCE_PROFILE_ID": "0",
    "SPARK_EXECUTOR_POD_IP": "10.0.0.7",
    "SPARK_EXECUTOR_POD_NAME": "exec-7",
}
PATIENT = """
import signal, sys, time
def end(*_):
    print("reported its end", flush=True)
    sys.exit(143)
signal.signal(signal.SIGTERM, end)
sys.stdin.read()
print("at work", flush=True)
time.sleep(60)
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").symlink_to(Path(__file__).with_name("java"))
    own = {"JAVA_HOME": str(tmp_path), "TMPDIR": str(tmp_path), "STRATUM_LOG_FILE": str(tmp_path / "log")}
    return {"PATH": os.environ["PATH"], "STRATUM_DRIVER_HEAP": "1g", **own}


def run(environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    done = subprocess.run([ENTRYPOINT, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout


def options(output: str) -> list[Any]:
    return list(json.loads(output.splitlines()[0]))


def test_driver_is_spark_submit_s_class_in_one_jvm(environment: dict[str, str]) -> None:
    code, output = run(environment, *DRIVER)
    assert code == 0
    given = options(output)
    assert given[0] == "-Xmx1g"
    submit = given.index("org.apache.spark.deploy.SparkSubmit")
    assert given[submit + 1 :] == [*DRIVER[1:5], "/opt/stratum/bin/run-module.py", *DRIVER[6:]]


@pytest.mark.parametrize("code", [1, 3, 137])
def test_code_of_the_driver_and_its_log(environment: dict[str, str], code: int) -> None:
    ended, output = run({**environment, "CODE": str(code)}, *DRIVER)
    assert ended == code
    assert Path(environment["STRATUM_LOG_FILE"]).read_text() == output


def test_request_to_end_goes_to_the_program(environment: dict[str, str]) -> None:
    """And what it says afterwards is still copied."""
    with subprocess.Popen([ENTRYPOINT, *DRIVER], env={**environment, "PROGRAM": PATIENT}, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "at work\n":
                break
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        assert process.wait(30) == 143
    assert rest == "reported its end\n"
    assert Path(environment["STRATUM_LOG_FILE"]).read_text().endswith("at work\nreported its end\n")


def test_short_runs_start_without_the_optimizing_compiler(environment: dict[str, str]) -> None:
    assert "-XX:TieredStopAtLevel=1" not in options(run(environment, *DRIVER)[1])
    assert "-XX:TieredStopAtLevel=1" in options(run({**environment, "STRATUM_SHORT_RUN": "1"}, *DRIVER)[1])


def test_executor_as_spark_asks_for_it(environment: dict[str, str]) -> None:
    java = {f"SPARK_JAVA_OPT_{number}": f"-Dn={number}" for number in (10, 2, 0)} | {
        "SPARK_JAVA_OPT_1": "--add-modules=jdk.incubator.vector",
        "SPARK_JAVA_OPT_3": "-Dwords=two words",
    }
    code, output = run({**environment, **EXECUTOR, **java}, "executor")
    given = options(output)
    assert code == 0
    assert given[:2] == ["-Xms512m", "-Xmx512m"]
    backend = given.index("org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend")
    assert given[backend - 4 : backend] == ["-Dn=0", "-Dn=2", "-Dwords=two words", "-Dn=10"]
    flags = dict(zip(given[backend + 1 :: 2], given[backend + 2 :: 2], strict=True))
    assert flags["--hostname"] == "10.0.0.7"
    assert flags["--podName"] == "exec-7"
    assert flags["--executor-id"] == "7"


@pytest.fixture
def private(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """With a private authority; what the stand-in for Java trusts by itself is what Java does."""
    (tmp_path / "lib").symlink_to(ensure_java(print).home / "lib")
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    python = {"PYSPARK_PYTHON": sys.executable, "PYTHONPATH": str(ENTRYPOINT.parents[3])}
    return {**environment, **EXECUTOR, **python, "STRATUM_CA_BUNDLE": str(tmp_path / "ca.pem")}


@pytest.mark.parametrize("arguments", [DRIVER, ["executor"]], ids=["driver", "executor"])
def test_a_private_authority_is_trusted_by_the_jvm(private: dict[str, str], arguments: list[str]) -> None:
    code, output = run(private, *arguments)
    assert code == 0
    trust = dict(each.split("=", 1) for each in options(output) if each.startswith("-Djavax.net.ssl."))
    assert trust.keys() == {f"-Djavax.net.ssl.trustStore{part}" for part in ("", "Type", "Password")}
    store = Path(trust["-Djavax.net.ssl.trustStore"])
    assert store.is_relative_to(private["TMPDIR"])
    assert PEM_cert_to_DER_cert(Path(private["STRATUM_CA_BUNDLE"]).read_text()) in store.read_bytes()


def test_nothing_is_started_where_there_is_no_private_authority(environment: dict[str, str]) -> None:
    code, output = run({**environment, "PYSPARK_PYTHON": "/none"}, *DRIVER)
    assert code == 0
    assert not any("trustStore" in each for each in options(output))


def test_a_bundle_that_cannot_be_used_is_told_in_the_log(private: dict[str, str]) -> None:
    Path(private["STRATUM_CA_BUNDLE"]).write_text("no certificate")
    code, output = run(private, *DRIVER)
    assert code == 1
    assert f"STRATUM_CA_BUNDLE={private['STRATUM_CA_BUNDLE']}" in output
    assert Path(private["STRATUM_LOG_FILE"]).read_text() == output


@pytest.mark.parametrize("arguments", [[], ["shell"], ["driver", "--master", "here"], ["driver", "--"]])
def test_wrong_arguments(environment: dict[str, str], arguments: list[str]) -> None:
    assert run(environment, *arguments)[0] == 2


@pytest.mark.parametrize("missing", sorted(EXECUTOR))
def test_executor_without_its_settings(environment: dict[str, str], missing: str) -> None:
    rest = {name: value for name, value in EXECUTOR.items() if name != missing}
    assert run({**environment, **rest}, "executor")[0] != 0
