"""What is asked of the Kubernetes API, and what its silence becomes."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import certifi
import pytest

from spark_jobs.edge.pods import ExecutorPods
from spark_jobs.errors import ClusterUnreachable


@pytest.fixture
def account(tmp_path: Path) -> Path:
    (tmp_path / "namespace").write_text("tenant")
    (tmp_path / "token").write_text("first")
    (tmp_path / "ca.crt").write_bytes(Path(certifi.where()).read_bytes())
    return tmp_path


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            http.asked.append((self.path, self.headers["authorization"]))  # type: ignore[attr-defined]
            status, body = http.answer  # type: ignore[attr-defined]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.asked = []  # type: ignore[attr-defined]
        http.answer = (200, {"items": [{"status": {}}]})  # type: ignore[attr-defined]
        thread = Thread(target=http.serve_forever)
        thread.start()
        try:
            yield http
        finally:
            http.shutdown()
            thread.join()


def pods(account: Path, server: Any) -> ExecutorPods:
    return ExecutorPods("spark-1", account, f"http://127.0.0.1:{server.server_address[1]}")


def test_own_executors_are_asked_for_with_the_token_of_the_moment(account: Path, server: Any) -> None:
    mine = pods(account, server)
    assert mine.list() == [{"status": {}}]
    (account / "token").write_text("renewed")
    mine.list()
    (path, first), (_, second) = server.asked
    assert (first, second) == ("Bearer first", "Bearer renewed")
    assert urlsplit(path).path == "/api/v1/namespaces/tenant/pods"
    assert parse_qs(urlsplit(path).query)["labelSelector"] == ["spark-role=executor,spark-app-selector=spark-1"]


@pytest.mark.parametrize("answer", [(403, {"message": "no"}), (500, {}), (200, {"kind": "Status"}), (200, "text")])
def test_unusable_answer(account: Path, server: Any, answer: tuple[int, Any]) -> None:
    server.answer = answer
    with pytest.raises(ClusterUnreachable):
        pods(account, server).list()


def test_nobody_there(account: Path) -> None:
    with pytest.raises(ClusterUnreachable):
        ExecutorPods("spark-1", account, "http://127.0.0.1:9").list()


def test_no_address(account: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver outside of the cluster, to which nobody said where the API is."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ClusterUnreachable):
        ExecutorPods("spark-1", account).list()


def test_no_service_account(tmp_path: Path, server: Any) -> None:
    with pytest.raises(ClusterUnreachable):
        pods(tmp_path, server).list()
