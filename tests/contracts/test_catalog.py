"""The catalog: what is read, what is refused and why, and what makes another revision."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic_settings import BaseSettings

from contracts.catalog import DEFAULT_FOLDER, DEFAULT_IMAGE, Action, Catalog, CatalogFolders
from contracts.command import ResourceProfile
from contracts.errors import CatalogError
from contracts.live_catalog import LiveCatalog

PROFILES = """
profiles:
  standard: &standard
    driver_cores: 1
    driver_memory: 1g
    executor_cores: 2
    executor_memory: 2g
    executor_instances: {min: 1, max: 32}
    bytes_per_executor: 536870912
    bytes_per_partition: 67108864
  wide:
    <<: *standard
    executor_memory: 8g
"""
ACTIONS = """
actions:
  - name: aggregate_revenue
    description: Revenue by month.
    image: stratum/spark-jobs:0.1.0
    parameters: {type: object, additionalProperties: false, properties: {currency: {type: string, pattern: "^[A-Z]{3}$"}}}
    examples: [{currency: EUR}]
"""


def _load(folder: Path, **files: str | bytes) -> Catalog:
    for stem, content in files.items():
        (folder / f"{stem}.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    return Catalog.load(folder)


def test_files_are_put_together(tmp_path: Path) -> None:
    catalog = _load(tmp_path, profiles=PROFILES, actions=ACTIONS)
    assert set(catalog.actions) == {"aggregate_revenue"}
    assert catalog.profiles["wide"].executor_memory == "8g"
    assert catalog.profiles["wide"].driver_memory == catalog.profiles["standard"].driver_memory


def test_our_own_catalog() -> None:
    catalog = Catalog.load(DEFAULT_FOLDER)
    assert set(catalog.actions) == {"filter", "aggregate", "normalize", "sql", "deduplicate", "profile", "aggregate_revenue"}
    assert all(action.description for action in catalog.actions.values())
    assert catalog.actions["aggregate_revenue"].validator.is_valid({"currency": "EUR"})


@pytest.mark.parametrize("name", sorted(Catalog.load(DEFAULT_FOLDER).actions))
def test_our_own_actions_refuse_unknown_parameters(name: str) -> None:
    action = Catalog.load(DEFAULT_FOLDER).actions[name]
    parameters = action.examples[0] if action.examples else {}
    assert action.validator.is_valid(parameters)
    assert not action.validator.is_valid({**parameters, "unheard_of": 1})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("actions: [", "line 1"),
        ("actions:\n\t- name: x", "line 2"),
        (b"\xff\xfe", "codec"),
        ("", "valid dictionary"),
        ("- a", "valid dictionary"),
        ("action: []", "action: Extra inputs"),
        ("? [a]\n: b", "unhashable"),
        (ACTIONS.replace("image:", "imgae:"), r"actions\.0\.imgae: Extra inputs"),
        (ACTIONS.replace("name: aggregate_revenue", "name: ../aggregate"), r"actions\.0\.name"),
        (ACTIONS.replace("{type: object", "{type: objekt"), "not a JSON Schema.*objekt"),
        (ACTIONS.replace("{type: object,", "{type: object, $ref: '#/$defs/a',"), "leads nowhere"),
        (ACTIONS.replace("currency: EUR", "currency: euro"), r"examples\[0\] breaks .*currency.*euro"),
        (ACTIONS.replace("image:", "image: other\n    image:"), "'image' is there twice"),
        ("!!python/object/apply:os.getcwd []", "could not determine a constructor"),
    ],
)
def test_a_broken_file_is_named_with_the_place(tmp_path: Path, content: str | bytes, says: str) -> None:
    with pytest.raises(CatalogError, match=rf"(?s)broken\.yaml.*{says}"):
        _load(tmp_path, broken=content, profiles=PROFILES)


def test_names_that_are_there_twice(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"b\.yaml: action 'aggregate_revenue' is defined twice"):
        _load(tmp_path, a=ACTIONS, b=ACTIONS, profiles=PROFILES)
    (tmp_path / "b.yaml").unlink()
    with pytest.raises(CatalogError, match=r"q\.yaml: profile 'standard' is defined twice"):
        _load(tmp_path, q=PROFILES)


def test_a_profile_twice_in_one_file(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="'standard' is there twice"):
        _load(tmp_path, p=PROFILES + PROFILES.replace("profiles:", "").replace("&standard", "").split("wide:")[0].strip("\n"))


def test_an_unknown_profile(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="'huge'; known: standard, wide"):
        _load(tmp_path, a=ACTIONS.replace("examples:", "profile: huge\n    examples:"), profiles=PROFILES)


def test_no_catalog(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"no \*\.yaml"):
        Catalog.load(tmp_path)
    with pytest.raises(CatalogError, match="missing does not exist"):
        Catalog.load(tmp_path / "missing")
    with pytest.raises(CatalogError, match="missing does not exist"):
        Catalog.load(DEFAULT_FOLDER, tmp_path / "missing")
    with pytest.raises(CatalogError, match=r"no \*\.yaml"):
        Catalog.load(tmp_path, DEFAULT_FOLDER)


def _overlay(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "own.yaml").write_text(text)
    return folder


def test_a_later_folder_replaces_what_it_names_and_adds_the_rest(tmp_path: Path) -> None:
    built_in = Catalog.load(DEFAULT_FOLDER)
    (tmp_path / "empty").mkdir()
    wide = built_in.profiles["wide"].model_copy(update={"driver_memory": "3g"})
    profile = yaml.safe_dump({"profiles": {"wide": wide.model_dump(mode="json")}})
    own = _overlay(tmp_path / "own", ACTIONS.replace("examples:", "profile: wide\n    examples:") + profile)
    both = Catalog.load(DEFAULT_FOLDER, tmp_path / "empty", own)
    assert both.actions.keys() == built_in.actions.keys()
    assert both.actions["aggregate_revenue"].image == "stratum/spark-jobs:0.1.0"
    assert both.profiles["wide"] == wide
    assert {name for name in both.actions if both.actions[name] != built_in.actions[name]} == {"aggregate_revenue"}
    (own / "twice.yaml").write_text(ACTIONS)
    with pytest.raises(CatalogError, match="'aggregate_revenue' is defined twice"):
        Catalog.load(DEFAULT_FOLDER, own)


def test_actions_without_an_image_have_the_installations(tmp_path: Path) -> None:
    own = _overlay(tmp_path / "own", ACTIONS)
    local = Catalog.load(DEFAULT_FOLDER, own)
    cluster = Catalog.load(DEFAULT_FOLDER, own, default_image="registry.example/jobs:7")
    assert {local.actions["filter"].image, cluster.actions["filter"].image} == {DEFAULT_IMAGE, "registry.example/jobs:7"}
    assert local.actions["aggregate_revenue"].image == cluster.actions["aggregate_revenue"].image == "stratum/spark-jobs:0.1.0"
    assert cluster.actions["filter"].revision != local.actions["filter"].revision, "another image may give other results"


@pytest.mark.parametrize(
    ("text", "folders"),
    [
        ("builtin", (DEFAULT_FOLDER,)),
        ("builtin:/etc/stratum/catalog", (DEFAULT_FOLDER, Path("/etc/stratum/catalog"))),
        (Path("/a"), (Path("/a"),)),
    ],
)
def test_folders_are_named_in_one_text(text: str | Path, folders: tuple[Path, ...]) -> None:
    assert TypeAdapter(CatalogFolders).validate_python(text) == folders


def test_folders_in_the_environment_are_no_json(monkeypatch: pytest.MonkeyPatch) -> None:
    class Settings(BaseSettings):
        some_folders: CatalogFolders

    monkeypatch.setenv("SOME_FOLDERS", "builtin:/a")
    assert Settings().some_folders == (DEFAULT_FOLDER, Path("/a"))  # type: ignore[call-arg]


@pytest.mark.parametrize("text", ["", "builtin:", ":/a", "a::b"])
def test_an_empty_folder_name_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="an empty name"):
        TypeAdapter(CatalogFolders).validate_python(text)


def test_a_config_map_that_is_swapped_is_read_again(tmp_path: Path) -> None:
    """The kubelet writes a new folder, moves one symbolic link, and then adds or removes the names in the mounted folder."""
    complaints: list[CatalogError] = []

    def swap(version: str, text: str | None) -> None:
        folder = tmp_path / version
        folder.mkdir()
        if text is not None:
            (folder / "own.yaml").write_text(text)
        (tmp_path / "..data_tmp").symlink_to(version)
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")
        (tmp_path / "own.yaml").unlink(missing_ok=True)
        if text is not None:
            (tmp_path / "own.yaml").symlink_to("..data/own.yaml")

    swap("..1", None)
    catalog = LiveCatalog([DEFAULT_FOLDER, tmp_path], complaints.append, check_seconds=0)
    built_in = catalog.current.actions["aggregate_revenue"]
    swap("..2", ACTIONS)
    assert catalog.current.actions["aggregate_revenue"] != built_in
    swap("..3", "actions: [")
    assert catalog.current.actions["aggregate_revenue"] != built_in, "the last good one stays"
    assert len(complaints) == 1
    swap("..4", None)
    assert catalog.current.actions["aggregate_revenue"] == built_in


_PARAMETERS: dict[str, Any] = yaml.safe_load(ACTIONS)["actions"][0]["parameters"]


def _action(**changes: Any) -> Action:
    (document,) = yaml.safe_load(ACTIONS)["actions"]
    return Action.model_validate({**document, **changes})


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"image": "stratum/spark-jobs:0.2.0"},
        {"entry_point": "other_jobs"},
        {"parameters": {"type": "object"}},
        {"parameters": {**_PARAMETERS, "properties": {**_PARAMETERS["properties"], "description": {"type": "string"}}}},
        {"inputs_parameter": "inputs"},
        {"deterministic": False},
    ],
)
def test_what_can_change_a_result_makes_another_revision(change: dict[str, Any]) -> None:
    assert _action(**change).revision != _action().revision


@pytest.mark.parametrize(
    "change",
    [
        {"description": "Other words."},
        {"profile": "wide"},
        {"complexity": 3.5},
        {"limits": {"time_limit_seconds": 60, "max_attempts": 1}},
        {"examples": []},
        {"parameters": {**_PARAMETERS, "title": "Parameters", "description": "All of them.", "examples": [{}]}},
        {"parameters": {**_PARAMETERS, "properties": {"currency": {**_PARAMETERS["properties"]["currency"], "description": "ISO 4217."}}}},
    ],
)
def test_what_cannot_does_not(change: dict[str, Any]) -> None:
    assert _action(**change).revision == _action().revision


def test_a_profile_says_what_lies_beyond_it(tmp_path: Path) -> None:
    profile = _load(tmp_path, profiles=PROFILES).profiles["standard"]
    assert profile.beyond(ResourceProfile()) == []
    assert profile.beyond(ResourceProfile(executor_instances=32, executor_memory="64g", driver_memory="65536m")) == []
    assert profile.beyond(ResourceProfile(executor_instances=33, driver_cores=17, executor_memory="65537m")) == [
        "executor_instances must be from 1 to 32, not 33",
        "driver_cores must be at most 16, not 17",
        "executor_memory must be at most 64g, not 65537m",
    ]
