"""An action that is in the launcher's catalog no more: it is waited for once, and not again for each command of it."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from contracts.event import CommandRefused, LauncherEvent
from contracts.images import ImageSettings
from contracts.live_catalog import LiveCatalog
from launcher.errors import CatalogBehind
from launcher.keys import JwksKeys
from launcher.process.backend import ProcessBackend
from launcher.submit import CATALOG_PATIENCE_SECONDS, SubmitHandler
from tests.launcher.launcher_program import launch_program
from tests.launcher.stub_api import Api
from tests.launcher.test_messages import CATALOG


class Launcher:
    """The handler of commands, on a clock that the test moves."""

    def __init__(self, submit: SubmitHandler, api: Api, folder: Path) -> None:
        self.now = 1000.0
        self._submit = submit
        self._api = api
        self._folder = folder

    def submit(self, action: str, read_at: float | None = None) -> LauncherEvent:
        command = self._api.command(action=action)
        (event,) = self._submit(command.model_dump_json().encode(), self.now if read_at is None else read_at)
        return event

    def add(self, action: str) -> None:
        """Change the catalog, whose other actions stay."""
        text = f"actions: [{{name: {action}, description: d, image: i, parameters: {{}}}}]\n"
        (self._folder / f"{action}.yaml").write_text(text)


@pytest.fixture
def launcher(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Launcher]:
    catalog = tmp_path / "catalog"
    catalog.mkdir()
    (catalog / "all.yaml").write_text(CATALOG)
    with httpx.Client() as http, ProcessBackend.open(tmp_path / "jobs", 1, launch_program, grace_seconds=1, most_pending=10) as backend:
        live = LiveCatalog([catalog], print, check_seconds=0)
        submit = SubmitHandler(backend, JwksKeys(api.jwks_url, http), live, "here", images=ImageSettings())
        launcher = Launcher(submit, api, catalog)
        monkeypatch.setattr("launcher.submit.time", SimpleNamespace(monotonic=lambda: launcher.now))
        yield launcher


def is_refused(event: LauncherEvent) -> bool:
    return isinstance(event, CommandRefused) and event.error_class == "UNKNOWN_ACTION"


def test_the_next_command_of_it_is_refused_at_once(launcher: Launcher) -> None:
    with pytest.raises(CatalogBehind):
        launcher.submit("removed")
    launcher.now += CATALOG_PATIENCE_SECONDS
    assert [is_refused(launcher.submit("removed")) for _ in range(3)] == [True] * 3


def test_another_state_of_the_catalog_is_waited_for_anew(launcher: Launcher) -> None:
    """It may be the action that comes back."""
    with pytest.raises(CatalogBehind):
        launcher.submit("removed")
    launcher.now += CATALOG_PATIENCE_SECONDS
    assert is_refused(launcher.submit("removed"))
    launcher.add("another")
    with pytest.raises(CatalogBehind):
        launcher.submit("removed")
    launcher.add("removed")
    assert launcher.submit("removed").type == "submitted"


def test_what_is_held_waits_once_whatever_it_names_and_however_often_the_catalog_changes(launcher: Launcher) -> None:
    read_at = launcher.now
    for name in ("one", "two", "three"):
        launcher.add(name)
        with pytest.raises(CatalogBehind):
            launcher.submit("removed", read_at)
        launcher.now += CATALOG_PATIENCE_SECONDS / 3
    assert is_refused(launcher.submit("removed", read_at))
    assert is_refused(launcher.submit("removed_as_well", read_at))
