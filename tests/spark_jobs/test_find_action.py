"""Actions by name: ours, and those of packages that are installed beside us."""

import sys
from pathlib import Path

import pytest

from spark_jobs.actions import ACTIONS, find_action
from spark_jobs.errors import InvalidCommand

EXAMPLE = Path(__file__).parents[2] / "deploy" / "examples" / "own-action" / "src"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package as `pip install --target` leaves it: the example's, with entry points that are right and wrong."""
    points = {
        "top_values": "shop_actions.top_values:TOP_VALUES",
        "filter": "shop_actions.top_values:TOP_VALUES",
        "gone": "shop_actions.gone:GONE",
        "wrong": "shop_actions.top_values:TopValues",
    }
    folder = tmp_path / "shop_actions-1.0.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: shop-actions\nVersion: 1.0.0\n")
    (folder / "entry_points.txt").write_text("[stratum.actions]\n" + "".join(f"{name} = {value}\n" for name, value in points.items()))
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(EXAMPLE), *sys.path])


@pytest.mark.parametrize("name", ACTIONS)
def test_ours(name: str) -> None:
    assert find_action(name) is ACTIONS[name]


@pytest.mark.usefixtures("installed")
def test_of_another_package() -> None:
    assert find_action("top_values").parameters.__name__ == "TopValues"
    assert find_action("aggregate") is ACTIONS["aggregate"]


@pytest.mark.usefixtures("installed")
def test_another_package_s_goes_before_ours() -> None:
    assert find_action("filter") is find_action("top_values")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nope", "this image has no action 'nope'; it has aggregate, .*top_values"),
        ("gone", "cannot be loaded: shop_actions.gone:GONE: No module named"),
        ("wrong", "is no Action: shop_actions.top_values:TopValues"),
    ],
)
def test_what_cannot_be_used(name: str, words: str) -> None:
    with pytest.raises(InvalidCommand, match=words):
        find_action(name)
