"""`up`, `down`, `up`: everything is still there. Two platforms side by side know nothing of each other."""

from pathlib import Path

import httpx
import psutil
import pytest

from tests.e2e.platform import Platform, running_platform


def test_down_and_up_again(doomed: Platform, tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text("a,b\n1,x\n2,y\n")
    first = doomed.up()
    assert set(first["pids"]) == {"api", "relay", "reconcile", "webhooks", "launcher", "postgres", "kafka", "s3"}
    assert doomed.up() == first, "already up: the same document"
    doomed.cli("ingest", "kept", "v1", str(file))
    process = doomed.json("run", "kept", "v1", "filter", "-p", "condition=a > 1", "--wait")
    pids = list(first["pids"].values())

    doomed.down()
    assert not any(psutil.pid_exists(pid) for pid in pids)
    with pytest.raises(httpx.ConnectError):
        httpx.get(first["url"] + "/healthz")

    second = doomed.up()
    assert {**second, "pids": None} == {**first, "pids": None}
    assert doomed.get(process["id"])["state"] == "succeeded"
    assert doomed.json("head", "kept", "v1", "filter") == [{"a": 2, "b": "y"}]
    again = doomed.json("run", "kept", "v1", "filter", "-p", "condition=a > 1", "--wait")
    assert again["id"] == process["id"]


@pytest.mark.slow  # tests/local does so with the services alone
def test_two_homes_side_by_side(platform: Platform, tmp_path: Path) -> None:
    with running_platform(tmp_path / "other") as other:
        assert other.document["url"] != platform.document["url"]
        assert other.document["token"] != platform.document["token"]
        with httpx.Client(base_url=platform.document["url"], headers={"Authorization": f"Bearer {other.document['token']}"}) as http:
            assert http.get("/v1/entities").status_code == 401
