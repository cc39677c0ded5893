"""Forty processes posted at once, ten of them identical."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import httpx
import psutil
import pytest

from tests.e2e.platform import FINAL, Platform, wait_for
from tests.figures import report


@pytest.mark.timeout(900)  # thirty-one runs, two at a time
@pytest.mark.parametrize("runs", [2, pytest.param(31, marks=pytest.mark.slow)])
def test_forty_at_once(platform: Platform, tmp_path: Path, runs: int) -> None:
    """All of them end: so many by running, the rest by being cancelled while they wait."""
    entity = f"many_{runs}"
    file = tmp_path / "numbers.csv"
    file.write_text("k,v\n" + "".join(f"k{i % 7},{i}\n" for i in range(1_000)))
    platform.cli("ingest", entity, "v1", str(file))
    requests = [_request(entity, "out_same", 99) for _ in range(10)] + [_request(entity, f"out_{n}", n) for n in range(30)]

    with _peak_memory(platform) as peak:
        answers = asyncio.run(_post_all(platform, requests))
        ids = list(dict.fromkeys(answer["id"] for answer in answers))
        places_checked = asyncio.run(_places_agree(platform))
        by_place = sorted(ids)  # ids are of their moment, and so is the order among equals
        with platform.http as http:
            for process_id in reversed(by_place[runs:]):
                assert http.post(f"/v1/processes/{process_id}/cancel").status_code in (200, 202)
        done = [platform.wait(process_id, *FINAL, seconds=900) for process_id in by_place]

    assert len({answer["id"] for answer in answers[:10]}) == 1, "identical requests are one process"
    assert len(ids) == 31
    assert [process["state"] for process in done] == ["succeeded"] * runs + ["cancelled"] * (31 - runs)
    assert places_checked >= 5
    for process in done[:runs]:
        assert platform.history(process["id"]) == ["accepted", "queued", "running", "sealing", "succeeded"]
        platform.assert_sealed_exactly(process)
    for process in done[runs:]:
        assert "running" not in (history := platform.history(process["id"]))
        assert (history[0], history[-1]) == ("accepted", "cancelled")
        assert process["artifacts"] == []
    report(
        f"forty processes at once, {runs} of them run",
        f"peak memory of the whole platform {peak[0] / 2**20:,.0f} MiB; {places_checked} queue places checked",
    )


def _request(entity: str, output: str, n: int) -> dict[str, object]:
    return {
        "entity_id": entity,
        "data_version": "v1",
        "action": "filter",
        "parameters": {"condition": f"v >= {n}"},
        "output_dataset": output,
    }


async def _post_all(platform: Platform, requests: list[dict[str, object]]) -> list[dict[str, str]]:
    headers = {"Authorization": f"Bearer {platform.document['token']}"}
    async with httpx.AsyncClient(base_url=platform.document["url"], headers=headers, timeout=60) as http:
        answers = await asyncio.gather(*(http.post("/v1/processes", json=request) for request in requests))
    assert {answer.status_code for answer in answers} <= {200, 202}, [answer.text for answer in answers if answer.status_code > 299]
    assert sum(answer.status_code == 202 for answer in answers) == 31
    return [answer.json() for answer in answers]


async def _places_agree(platform: Platform) -> int:
    """`queue.place` of every waiting process against a count of its own; looked at again when the queue moved in between."""
    connection = await asyncpg.connect(platform.document["database_url"])
    headers = {"Authorization": f"Bearer {platform.document['token']}"}
    count = """SELECT id::text, (SELECT count(*) FROM processes b WHERE b.state = 'accepted' AND b.id <= a.id) AS place
               FROM processes a WHERE a.state = 'accepted'"""
    try:
        async with httpx.AsyncClient(base_url=platform.document["url"], headers=headers) as http:
            for _ in range(50):
                before = dict(await connection.fetch(count))
                page = (await http.get("/v1/processes", params={"state": "accepted", "limit": 200})).json()["items"]
                if before != dict(await connection.fetch(count)):
                    continue
                assert {item["id"]: item["queue"]["place"] for item in page} == before
                return len(before)
    finally:
        await connection.close()
    pytest.fail("the queue never stood still between two looks")


@contextmanager
def _peak_memory(platform: Platform) -> Iterator[list[int]]:
    """Highest sum of the memory (proportional set size) of the platform's processes and all their children, in bytes."""
    peak = [0]
    stop = threading.Event()
    roots = list(platform.document["pids"].values())

    def watch() -> None:
        while not stop.wait(0.5):
            processes = {p for pid in roots if psutil.pid_exists(pid) for p in _family(pid)}
            peak[0] = max(peak[0], sum(_memory(process) for process in processes))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()
    wait_for(lambda: peak[0] > 0, 5, lambda: "a memory reading")


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0
