"""The page about the chart's values is made from them."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    """helm/values_reference.py: a program, not part of a package."""
    spec = importlib.util.spec_from_file_location("values_reference", ROOT / "helm" / "values_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(maker: ModuleType) -> None:
    assert maker.main(["check"]) == 0, "run `make contracts`"


def test_every_value_stands_there_with_its_default_and_words(maker: ModuleType) -> None:
    text = "# about the file\n\na:\n  # -- First,\n  # and more | pipes.\n  b: {c: 1}\n  d: []\n# plain\ne: text\n"
    values = [(value.path, value.default, value.text) for value in maker.values_of(text)]
    assert values == [("a.b", '{"c": 1}', "First, and more | pipes."), ("a.d", "[]", ""), ("e", '"text"', "")]
