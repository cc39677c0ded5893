"""The order in which tests come to a cluster that they share."""

import fcntl
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import turns
from tests.launcher.samples import eventually
from tests.turns import turn_of


@pytest.fixture(autouse=True)
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("DOOR", "ROOM"):
        (tmp_path / name).touch()
        monkeypatch.setattr(turns, name, tmp_path / name)
    return tmp_path / "DOOR"


def test_who_must_be_alone_is_and_is_not_passed_by(door: Path) -> None:
    seen: list[str] = []
    go_on = threading.Event()

    def alone() -> None:
        with turn_of(_item("cluster", "alone")):
            seen.append("alone begins")
            go_on.wait(20)
            seen.append("alone ends")

    def late() -> None:
        with turn_of(_item("cluster")):
            seen.append("another begins")

    threads = [threading.Thread(target=alone), threading.Thread(target=late)]
    with turn_of(_item("cluster")), turn_of(_item("cluster")):
        threads[0].start()
        eventually(lambda: _is_held(door), "the one that must be alone to wait in the door")
        threads[1].start()
        seen.append("two end")
    eventually(lambda: "alone begins" in seen, "its turn")
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert seen == ["two end", "alone begins", "alone ends", "another begins"]


def test_tests_without_a_cluster_wait_for_nobody() -> None:
    with turn_of(_item("cluster", "alone")), turn_of(_item()):
        pass


def _item(*marks: str) -> Any:
    return SimpleNamespace(get_closest_marker=lambda name: name if name in marks else None)


def _is_held(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
