"""What is judged without asking anybody: clocks, races, quotas, expiry of uploads, replication, pods that do not start."""

import threading
import time
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from contracts.access import TABLE
from contracts.catalog import DEFAULT_FOLDER, Catalog
from contracts.database import SCHEMA_REVISION
from control_plane.migration import head
from stratum.preflight import clock, kafka, postgres, quota, s3, tokens
from stratum.preflight.access import Account, questions, words
from stratum.preflight.finding import Finding, failed, passed, skipped, warned, worst
from stratum.preflight.places import PlacesFile
from stratum.preflight.pod_checks import judge_keys
from stratum.preflight.probe_pod import ended, why_waiting
from stratum.preflight.runner import Check, run
from stratum.preflight.upload_expiry import expiry_days, judge_expiry

FILE = PlacesFile.model_validate({"tenants": {"local": {"namespace": "runs"}}})
STANDARD = Catalog.load(DEFAULT_FOLDER).profiles["standard"]


def test_the_expected_schema_is_that_of_the_migrations() -> None:
    assert head() == SCHEMA_REVISION


@pytest.mark.parametrize(
    ("ahead", "uncertain", "status"),
    [
        (0.0, 0, "pass"),
        (1.9, 0, "pass"),
        (2.1, 0, "warn"),
        (-2.1, 0, "warn"),
        (2.1, 0.5, "pass"),
        (29.9, 0, "warn"),
        (30.1, 0, "fail"),
        (-31, 0.5, "fail"),
    ],
)
def test_clocks(ahead: float, uncertain: float, status: str) -> None:
    found = clock.judge(ahead, "the database", "this machine", uncertain)
    assert found.status == status
    assert ("behind" in found.detail) == (ahead < 0)


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ({"created": 1, "412": 15}, "pass"),
        ({"created": 1, "412": 10, "409": 5}, "pass"),
        ({"created": 16}, "fail"),
        ({"created": 2, "412": 14}, "fail"),
        ({"403": 16}, "fail"),
        ({"created": 1, "412": 14, "503": 1}, "warn"),
    ],
)
def test_races(answers: dict[str, int], status: str) -> None:
    assert s3.judge_race(Counter(answers)).status == status


@pytest.mark.parametrize(
    ("days", "hours", "status"), [(7, 1, "pass"), (1, 23.9, "pass"), (1, 24, "fail"), (1, 48, "fail"), (None, 1, "warn")]
)
def test_expiry_of_uploads(days: float | None, hours: float, status: str) -> None:
    assert judge_expiry(days, int(hours * 3600), is_local=False).status == status


def test_expiry_is_that_of_the_rules_that_meet_the_root() -> None:
    def rule(days: int, status: str = "Enabled", **more: Any) -> dict[str, Any]:
        return {"Status": status, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days}, **more}

    assert expiry_days([], "acme/", is_minio=False) is None
    assert expiry_days([], "acme/", is_minio=True) == 1
    assert expiry_days([rule(7, Filter={"Prefix": ""}), rule(3, Filter={"Prefix": "acme/"})], "acme/", is_minio=False) == 3
    assert expiry_days([rule(7), rule(3, Filter={"Prefix": "other/"}), rule(1, "Disabled")], "acme/", is_minio=False) == 7
    assert expiry_days([{"Status": "Enabled", "Expiration": {"Days": 2}}], "", is_minio=False) is None


@pytest.mark.parametrize(
    ("brokers", "replicas", "in_sync", "needed", "status"),
    [(1, 1, 1, 1, "pass"), (3, 3, 3, 2, "pass"), (3, 3, 2, 2, "warn"), (3, 1, 1, 1, "warn"), (3, 3, 3, 1, "warn"), (3, 2, 2, 3, "fail")],
)
def test_replication(brokers: int, replicas: int, in_sync: int, needed: int, status: str) -> None:
    topic = kafka.Topic("t", 6, 0, replicas, in_sync, {"min.insync.replicas": str(needed)})
    assert kafka.judge_replication(kafka.Seen(brokers, {"t": topic})).status == status


def test_security_of_messages() -> None:
    assert kafka.judge_security("SASL_SSL", False).status == "pass"
    assert kafka.judge_security("PLAINTEXT", True).status == "pass"
    assert kafka.judge_security("SASL_PLAINTEXT", False).status == "warn"


@pytest.mark.parametrize(("free", "status"), [(200, "pass"), (30, "pass"), (29, "warn")])
def test_room_for_connections(free: int, status: str) -> None:
    assert postgres.judge_room(postgres.Room(200, 200 - free, "the server's limit"), 10).status == status


@pytest.mark.parametrize(
    ("url", "on_cluster", "status"),
    [
        ("https://stratum.example.org", True, "pass"),
        ("http://stratum-api.stratum.svc:8080", True, "pass"),
        ("http://stratum-api:8080", True, "pass"),
        ("http://127.0.0.1:8080", False, "pass"),
        ("http://127.0.0.1:8080", True, "fail"),
        ("http://stratum.example.org", True, "warn"),
        ("stratum", True, "fail"),
        (None, False, "skip"),
    ],
)
def test_callback_addresses(url: str | None, on_cluster: bool, status: str) -> None:
    assert tokens.judge_callback(url, on_cluster=on_cluster).status == status


def test_key_sets() -> None:
    assert tokens.judge_keys([], "u").status == "fail"
    assert tokens.judge_keys([{"kty": "RSA", "kid": "r"}], "u").detail == "not Ed25519: r"
    assert tokens.judge_keys([{"kty": "OKP", "crv": "Ed25519"}], "u").status == "pass"


# a run of the profile `standard` takes 1g + 410m for the driver, 2g + 820m for an executor, 128m for the sidecar; 3 cores, 2 pods
@pytest.mark.parametrize(
    ("hard", "used", "status"),
    [
        ({}, {}, "pass"),
        ({"pods": "10", "limits.memory": "16Gi"}, {"pods": "2", "limits.memory": "4Gi"}, "pass"),
        ({"limits.memory": "4430Mi"}, {}, "pass"),
        ({"limits.memory": "4429Mi"}, {}, "fail"),
        ({"requests.cpu": "2999m"}, {}, "fail"),
        ({"requests.cpu": "4"}, {"requests.cpu": "1500m"}, "warn"),
        ({"pods": "10"}, {"pods": "9"}, "warn"),
        ({"limits.cpu": "100"}, {}, "fail"),
    ],
)
def test_quotas(hard: dict[str, str], used: dict[str, str], status: str) -> None:
    assert quota.judge([{"name": "q", "hard": hard, "used": used}], quota.need(STANDARD, FILE), "runs").status == status


def test_every_row_of_the_table_is_asked_for() -> None:
    asked = questions(Account("observe", "own", "o"), "own", ["a", "b"])
    rows = [row for row in TABLE if row.role == "observe"]
    assert len(asked) == sum(len(row.verbs) * (2 if row.where == "tenant" else 1) for row in rows)
    assert {question.namespace for question in asked if question.row.resource == "leases"} == {"own"}
    assert (
        words([question for question in asked if question.row.resource == "leases"])
        == "get, create, update leases.coordination.k8s.io in own"
    )


def test_storage_keys_of_runs() -> None:
    assert judge_keys({"file": "written", "manifest": "403 AccessDenied"}).status == "pass"
    assert judge_keys({"file": "written", "manifest": "written"}).status == "warn"
    assert judge_keys({"file": "403 AccessDenied", "manifest": "403 AccessDenied"}).status == "fail"
    assert judge_keys(None).status == "skip"


def test_why_a_pod_waits() -> None:
    waiting = SimpleNamespace(state=SimpleNamespace(waiting=SimpleNamespace(reason="ImagePullBackOff", message="no such image")))
    unscheduled = SimpleNamespace(type="PodScheduled", status="False", reason="Unschedulable", message="0/1 nodes")
    assert why_waiting(SimpleNamespace(container_statuses=[waiting], conditions=[])) == ("ImagePullBackOff", "no such image")
    assert why_waiting(SimpleNamespace(container_statuses=None, conditions=[unscheduled])) == ("Unschedulable", "0/1 nodes")
    assert why_waiting(SimpleNamespace(container_statuses=None, conditions=None)) == ("", "")


def test_a_pod_that_ended_without_a_report() -> None:
    terminated = SimpleNamespace(reason="StartError", message='exec: "python": executable file not found in $PATH')
    status = SimpleNamespace(container_statuses=[SimpleNamespace(state=SimpleNamespace(terminated=terminated))], message=None, reason=None)
    found = ended(SimpleNamespace(status=status, spec=SimpleNamespace(node_name="n")))
    assert found.report is None
    assert "StartError" in found.problem


def test_the_worst_answer_counts() -> None:
    assert worst([passed("a"), passed("b"), passed("a")]).detail == "a; b"
    assert worst([passed("a"), skipped("b"), warned("c", "do"), failed("d", "mend")]) == Finding("fail", "d", "mend")


# --- the runner


def test_a_check_that_blows_up_is_a_failure_and_hides_no_other() -> None:
    def blow_up() -> Finding:
        raise RuntimeError("the password is hunter2")

    results = run([Check("g", "a", blow_up), Check("g", "b", lambda: passed("fine"))], 5, secrets=["hunter2"])
    assert [result.status for result in results] == ["fail", "pass"]
    assert results[0].detail == "RuntimeError: the password is ***"


def test_a_check_that_hangs_ends_at_its_time() -> None:
    let_go = threading.Event()

    def hang() -> Finding:
        let_go.wait()
        return passed("too late")

    begin = time.monotonic()
    (hung, after) = run([Check("g", "a", hang, seconds=0.1), Check("g", "b", lambda: passed("fine"), needs=("a",))], 60)
    assert time.monotonic() - begin < 30
    let_go.set()
    assert (hung.status, after.status, after.detail) == ("fail", "skip", "needs: a")


def test_independent_checks_run_at_once() -> None:
    meeting = threading.Barrier(3, timeout=20)

    def meet() -> Finding:
        meeting.wait()
        return passed("met")

    assert {result.status for result in run([Check("g", str(number), meet) for number in range(3)], 30)} == {"pass"}


def test_what_is_needed_is_awaited() -> None:
    order: list[str] = []

    others_went_on = threading.Event()

    def other() -> Finding:
        others_went_on.set()
        return passed("p")

    def slow() -> Finding:
        assert others_went_on.wait(20)
        order.append("first")
        return warned("w", "r")

    def then() -> Finding:
        order.append("second")
        return passed("p")

    results = run([Check("g", "a", slow), Check("g", "b", then, needs=("a",)), Check("g", "c", other)], 30)
    assert order == ["first", "second"]
    assert [result.status for result in results] == ["warn", "pass", "pass"]
