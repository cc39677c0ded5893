"""`reproduce`: what is run again, and what it is compared with."""

import json
from typing import Any

import pytest

from stratum.client import Client, ServerFault
from tests.client.conftest import Reply, ScriptedServer
from tests.client.test_dataset import MANIFEST, SHA

INPUT = {"view": "source", "dataset": "source", "data_version": "v", "manifest_sha256": SHA, "bytes": 1, "rows": 1}
FIRST, SECOND = "0199d1c0-0000-7000-8000-000000000001", "0199d1c0-0000-7000-8000-000000000002"


def manifest(dataset: str, fingerprint: str) -> dict[str, Any]:
    made = {"process_id": FIRST, "step": 0, "attempt": 1, "action": "aggregate_revenue", "action_revision": SHA, "inputs": [INPUT]}
    content = {"files": [], "rows": 0, "bytes": 0, "columns": [{"name": "a", "type": "int"}], "content_fingerprint": fingerprint}
    return {**MANIFEST, **made, **content, "dataset": dataset, "parameters": {"on_invalid": "reject"}}


def artifact(dataset: str, fingerprint: str) -> dict[str, Any]:
    place = {"data_version": "w", "location": f"s3://b/e/w/{dataset}/r/", "manifest": f"s3://b/e/w/{dataset}/_manifest.json"}
    return {"dataset": dataset, "rows": 1, "bytes": 1, "content_fingerprint": fingerprint, **place}


def made(process: dict[str, Any], id_: str, output: str, *artifacts: dict[str, Any]) -> Reply:
    return Reply(200, {**process, "id": id_, "output_dataset": output, "artifacts": list(artifacts)})


@pytest.mark.parametrize(
    ("dataset", "output", "expected"),
    [("sums", "sums", "main"), ("sums_rejected", "sums", "refused"), ("x_rejected", "x_rejected", "main")],
)
def test_the_main_output_is_run_and_the_dataset_itself_compared(
    server: ScriptedServer, process: dict[str, Any], dataset: str, output: str, expected: str
) -> None:
    results = [artifact(output, "main"), artifact(f"{output}_rejected", "refused")]
    server.answers(
        Reply(200, manifest(dataset, expected)),
        Reply(200, {"items": []}),
        made(process, FIRST, output, *results),
        made(process, SECOND, output, *results),
    )
    with Client(server.url, "secret") as client:
        found = client.reproduce("e", "v", dataset)
    assert (found.same, found.expected, str(found.process.id)) == (True, expected, SECOND)
    assert f"/{dataset}/" in found.location
    (posted,) = [json.loads(request.body) for request in server.requests if request.method == "POST"]
    assert posted["output_dataset"] == output
    assert posted["labels"] == {"reproduces": f"v/{dataset}"}


def test_a_second_run_that_refuses_no_rows_is_told(server: ScriptedServer, process: dict[str, Any]) -> None:
    server.answers(
        Reply(200, manifest("sums_rejected", "refused")),
        Reply(200, {"items": []}),
        made(process, FIRST, "sums", artifact("sums", "main"), artifact("sums_rejected", "refused")),
        made(process, SECOND, "sums", artifact("sums", "main")),
    )
    with Client(server.url, "secret") as client, pytest.raises(ServerFault, match=r"without .*sums_rejected"):
        client.reproduce("e", "v", "sums_rejected")
