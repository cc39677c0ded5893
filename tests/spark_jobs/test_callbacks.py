"""The line to the control plane: tokens, retries, refusals."""

from collections.abc import Iterator

import pytest

from contracts.callback import Progress, RunError
from contracts.command import InputDataset
from contracts.layout import StorageRoot
from spark_jobs.driver import ExitCode, run
from spark_jobs.edge.callbacks import ControlPlane
from spark_jobs.errors import ControlPlaneUnreachable, GrantLost
from spark_jobs.settings import Settings
from tests.spark_jobs.control_plane import CallbackServer, serving
from tests.spark_jobs.sealed import NO_REVISION, VERSION, command

ROOT = StorageRoot("bucket")
INPUT = InputDataset(view="source", data_version=VERSION, dataset="source", manifest_sha256=NO_REVISION, bytes=1, rows=1)


@pytest.fixture
def server() -> Iterator[CallbackServer]:
    with serving(CallbackServer()) as running:
        yield running


@pytest.fixture
def line(server: CallbackServer) -> Iterator[ControlPlane]:
    line = ControlPlane(command(server.url, ROOT, "profile", {}, INPUT), "run-1")
    yield line
    line.close()


def test_each_answer_renews_the_token(line: ControlPlane, server: CallbackServer) -> None:
    assert line.started().storage_root == "s3://probe"
    line.heartbeat(Progress(stage="reading", fraction=0.5, tasks_done=1, tasks_total=2))
    line.failed(RunError.model_validate({"class": "EMPTY_INPUT", "message": "nothing there"}))
    assert server.tokens == ["the-flow-token", "run-token-1", "run-token-2"]
    assert server.reports == [
        {"type": "started", "sequence": 1, "run_id": "run-1"},
        {
            "type": "heartbeat",
            "sequence": 2,
            "run_id": "run-1",
            "progress": {"stage": "reading", "fraction": 0.5, "tasks_done": 1, "tasks_total": 2},
        },
        {
            "type": "failed",
            "sequence": 3,
            "run_id": "run-1",
            "error": {"class": "EMPTY_INPUT", "message": "nothing there", "retryable": False},
        },
    ]


def test_a_report_is_sent_again_with_the_same_number(line: ControlPlane, server: CallbackServer) -> None:
    server.answer = lambda _: (503, {"title": "starting"}) if len(server.reports) < 3 else None
    line.started()
    assert [report["sequence"] for report in server.reports] == [1, 1, 1]


def test_heartbeats_are_tried_once(line: ControlPlane, server: CallbackServer) -> None:
    server.answer = lambda _: (503, {})
    with pytest.raises(ControlPlaneUnreachable, match="503"):
        line.heartbeat(Progress())
    assert len(server.reports) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 409, 410, 422])
def test_a_refusal_is_final(line: ControlPlane, server: CallbackServer, status: int) -> None:
    server.answer = lambda _: (status, {"title": "no", "detail": "another run was granted this attempt"})
    with pytest.raises(GrantLost, match=f"{status} another run was granted this attempt"):
        line.started()
    assert len(server.reports) == 1


def test_a_run_without_grant_touches_nothing(server: CallbackServer) -> None:
    server.answer = lambda _: (409, {"detail": "another run was granted this attempt"})
    nowhere = Settings(s3_endpoint="http://127.0.0.1:9", s3_access_key="a", s3_secret_key="b")
    assert run(command(server.url, ROOT, "profile", {}, INPUT), nowhere) is ExitCode.NOT_GRANTED
    assert [report["type"] for report in server.reports] == ["started"]


@pytest.mark.parametrize(
    ("action", "parameters", "rows", "error_class"),
    [
        ("nope", {}, 1, "INVALID_COMMAND"),
        ("filter", {"conditions": "x"}, 1, "INVALID_PARAMETER"),
        ("filter", {"condition": "x"}, 0, "EMPTY_INPUT"),
    ],
)
def test_what_needs_no_spark_to_be_seen_is_reported_without(
    server: CallbackServer, action: str, parameters: dict[str, str], rows: int, error_class: str
) -> None:
    server.heartbeat_seconds = 0.001  # so that one that is sent after the end is seen
    nowhere = Settings(s3_endpoint="http://127.0.0.1:9", s3_access_key="a", s3_secret_key="b")
    work = command(server.url, ROOT, action, parameters, INPUT.model_copy(update={"rows": rows}))
    assert run(work, nowhere) is ExitCode.FAILED
    assert server.reports[-1]["error"]["class"] == error_class
    assert server.reports[-1]["error"]["retryable"] is False
