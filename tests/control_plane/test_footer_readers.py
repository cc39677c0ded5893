"""Footers are read in a process of their own: whatever ends or holds it, ours goes on, and none of them stays behind."""

import datetime
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest

from control_plane import footer_reader, footer_readers, footers
from control_plane.errors import ObjectMissing, StorageUnavailable, Unavailable, UploadRefused
from control_plane.footer_readers import FooterReaders
from control_plane.storage import ObjectInfo
from tests.control_plane.caller import TABLE, parquet
from tests.control_plane.hostile import ENDS_ITS_READER
from tests.control_plane.readers import processes as readers_of

GOOD = parquet()
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def objects(*files: bytes) -> list[ObjectInfo]:
    return [ObjectInfo(f"folder/{number}.parquet", len(data), "e", NOW) for number, data in enumerate(files)]


def store(*files: bytes) -> Callable[[str, int], bytes]:
    lies = {f"folder/{number}.parquet": data for number, data in enumerate(files)}
    return lambda key, size: lies[key][-size:]


_others: set[int] = set()
"""Of an API that the session has in this very process."""


def processes() -> list[int]:
    """The readers that the test made."""
    return [pid for pid in readers_of() if pid not in _others]


@pytest.fixture
def readers() -> Iterator[FooterReaders]:
    _others.update(readers_of())
    made = FooterReaders()
    yield made
    made.close()
    assert not processes()


def test_says_what_footers_say_and_keeps_its_process(readers: FooterReaders) -> None:
    files = (GOOD, parquet(TABLE.slice(2)))
    assert not processes(), "started when it is needed, not before"
    found = readers.content(objects(*files), store(*files))
    assert found == footers.content(objects(*files), store(*files))
    (kept,) = processes()
    assert readers.content(objects(*files), store(*files)) == found
    assert processes() == [kept]


def test_a_refusal_is_told_as_it_is_and_keeps_the_process(readers: FooterReaders) -> None:
    with pytest.raises(UploadRefused, match=r"0\.parquet is not a complete Parquet file"):
        readers.content(objects(b"carrier,delay"), store(b"carrier,delay"))
    (kept,) = processes()
    assert readers.content(objects(GOOD), store(GOOD)).rows == 4
    assert processes() == [kept]


def test_a_footer_that_ends_its_reader_is_refused_and_the_next_one_read(readers: FooterReaders) -> None:
    with pytest.raises(UploadRefused, match=r"1\.parquet cannot be read: reading its footer ended the reader"):
        readers.content(objects(GOOD, ENDS_ITS_READER), store(GOOD, ENDS_ITS_READER))
    assert readers.content(objects(GOOD), store(GOOD)).rows == 4


def meddling(number: signal.Signals, times: int = 9) -> tuple[Callable[[str, int], bytes], list[int]]:
    """A store that sends its reader a signal when it is asked, so many times; and whom it sent it to."""
    hit: list[int] = []

    def tail(key: str, size: int) -> bytes:
        (pid,) = processes()
        if len(hit) < times:
            hit.append(pid)
            os.kill(pid, number)
        return GOOD[-size:]

    return tail, hit


def test_a_reader_that_somebody_kills_is_no_fault_of_the_file(readers: FooterReaders) -> None:
    tail, hit = meddling(signal.SIGKILL, times=1)
    assert readers.content(objects(GOOD), tail).rows == 4
    assert set(processes()).isdisjoint(hit)


def test_a_reader_that_is_killed_again_and_again_ends_in_a_refusal(readers: FooterReaders) -> None:
    tail, hit = meddling(signal.SIGKILL)
    with pytest.raises(UploadRefused, match=r"0\.parquet cannot be read: reading its footer ended the reader"):
        readers.content(objects(GOOD), tail)
    assert len(set(hit)) == 2
    assert readers.content(objects(GOOD), store(GOOD)).rows == 4


def test_one_killed_while_idle_is_replaced(readers: FooterReaders) -> None:
    readers.content(objects(GOOD), store(GOOD))
    (kept,) = processes()
    os.kill(kept, signal.SIGKILL)
    assert readers.content(objects(GOOD), store(GOOD)).rows == 4


def test_a_reader_that_hangs_is_killed(readers: FooterReaders, monkeypatch: pytest.MonkeyPatch) -> None:
    readers.content(objects(GOOD), store(GOOD))
    tail, hit = meddling(signal.SIGSTOP)
    monkeypatch.setattr(footer_reader, "ANSWER_SECONDS", 8)
    with pytest.raises(UploadRefused, match=r"0\.parquet cannot be read: .* took longer than 8 s"):
        readers.content(objects(GOOD), tail)
    assert not any(psutil.pid_exists(pid) for pid in hit)


@pytest.mark.parametrize("error", [StorageUnavailable("no answer"), OSError("no room")])
def test_an_error_of_the_store_passes_and_is_no_fault_of_the_file(error: Exception, readers: FooterReaders) -> None:
    def tail(key: str, size: int) -> bytes:
        raise error

    with pytest.raises(type(error), match=str(error)):
        readers.content(objects(GOOD), tail)
    assert readers.content(objects(GOOD), store(GOOD)).rows == 4


def test_an_object_that_vanishes_is_told(readers: FooterReaders) -> None:
    def tail(key: str, size: int) -> bytes:
        raise ObjectMissing(key)

    with pytest.raises(UploadRefused, match=r"0\.parquet vanished while it was read"):
        readers.content(objects(GOOD), tail)


def test_several_at_once_and_few_are_kept(readers: FooterReaders) -> None:
    def one(number: int) -> Any:
        data = ENDS_ITS_READER if number % 4 == 3 else parquet(TABLE.slice(number % 4))
        try:
            return readers.content(objects(data), store(data)).rows
        except UploadRefused as error:
            return "ended the reader" in str(error)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(one, range(12))) == [4, 3, 2, True] * 3
    assert len(processes()) <= footer_readers.MOST_IDLE


def test_it_knows_no_secret(readers: FooterReaders, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STRATUM_S3_SECRET_KEY", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD"):
        monkeypatch.setenv(name, "secret")
    readers.content(objects(GOOD), store(GOOD))
    (pid,) = processes()
    assert "secret" not in psutil.Process(pid).environ().values()


def test_its_memory_has_an_end(readers: FooterReaders) -> None:
    readers.content(objects(GOOD), store(GOOD))
    (pid,) = processes()
    assert 0 < psutil.Process(pid).rlimit(psutil.RLIMIT_DATA)[0] <= 2**30


def test_one_that_does_not_start_is_no_fault_of_the_file(readers: FooterReaders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footer_reader, "_COMMAND", (sys.executable, "-c", "raise SystemExit('no pyarrow here')"))
    with pytest.raises(Unavailable, match="did not start"):
        readers.content(objects(GOOD), store(GOOD))


@pytest.mark.parametrize("times", [0, 1])
def test_closed_in_the_middle_is_no_fault_of_the_file(times: int, readers: FooterReaders) -> None:
    kill, hit = meddling(signal.SIGKILL, times)

    def tail(key: str, size: int) -> bytes:
        if len(hit) == times:
            readers.close()
            return GOOD[-size:]
        return kill(key, size)

    with pytest.raises(Unavailable):
        readers.content(objects(GOOD), tail)


PARENT = """
import time
from tests.control_plane.test_footer_readers import GOOD, objects, processes, store
from control_plane.footer_readers import FooterReaders
readers = FooterReaders()
def tail(key, size):
    if {in_the_middle}:
        print(*processes(), flush=True)
        time.sleep(600)
    return store(GOOD)(key, size)
readers.content(objects(GOOD), tail)
print(*processes(), flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("in_the_middle", [True, False])
def test_none_outlives_a_parent_that_is_killed(in_the_middle: bool) -> None:
    command = [sys.executable, "-c", PARENT.format(in_the_middle=in_the_middle)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        (child,) = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert psutil.wait_procs([child], timeout=20)[1] == []
