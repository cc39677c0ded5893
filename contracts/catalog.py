"""The catalog: YAML files that say which actions exist, what they take and what they may use."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from jsonschema import Draft202012Validator
from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import NoDecode

from contracts.callback import ERROR_CLASS_PATTERN
from contracts.command import MemorySize, ResourceProfile, mebibytes
from contracts.error_classes import REMEDIES
from contracts.errors import CatalogError
from contracts.identifiers import Identifier
from contracts.json_schema import check_schema, validator_of
from contracts.model import Contract, Ordinal, sha256_of
from contracts.strict_yaml import read_yaml

DEFAULT_FOLDER = Path(__file__).parent / "catalog_files"
BUILT_IN = "builtin"
"""Stands for the built-in folder where folders are named."""
DEFAULT_IMAGE = "stratum-spark-jobs:0.1.0"
"""Image of the actions that name none, unless an installation chooses another."""


def _folders(value: object) -> object:
    if not isinstance(value, str | Path):
        return value
    names = str(value).split(":")
    if not all(names):
        raise ValueError("an empty name between the colons")
    return tuple(DEFAULT_FOLDER if name == BUILT_IN else Path(name) for name in names)


CatalogFolders = Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_folders)]
"""Folders of catalog files, as text joined by ':'; `builtin` stands for the built-in one. A later folder comes before an earlier one.

A variable of the environment is taken as it is: `NoDecode` keeps settings from reading JSON."""


class Bounds(Contract):
    """Smallest and largest number that sizing may choose."""

    min: Ordinal
    max: Ordinal

    @model_validator(mode="after")
    def _in_order(self) -> "Bounds":
        if self.min > self.max:
            raise ValueError(f"min {self.min} is larger than max {self.max}")
        return self


class Ceilings(Contract):
    """The most that a request may ask for itself."""

    driver_cores: Annotated[int, Field(strict=True, ge=1)] = 16
    driver_memory: MemorySize = "64g"
    executor_cores: Annotated[int, Field(strict=True, ge=1)] = 16
    executor_memory: MemorySize = "64g"
    shuffle_partitions: Annotated[int, Field(strict=True, ge=1)] = 20_000


class Profile(Contract):
    """What runs of a kind may use; sizing picks the number of executors within it."""

    description: str = ""
    driver_cores: Ordinal
    driver_memory: MemorySize
    executor_cores: Ordinal
    executor_memory: MemorySize
    executor_instances: Bounds
    bytes_per_executor: Annotated[
        int, Field(strict=True, ge=1, description="Weighted input bytes (bytes x complexity) that one executor takes.")
    ]
    bytes_per_partition: Annotated[int, Field(strict=True, ge=1, description="Weighted input bytes of one shuffle partition.")]
    ceilings: Ceilings = Ceilings()

    def beyond(self, asked: ResourceProfile) -> list[str]:
        """What of `asked` this profile does not allow, in plain words; empty when all is well."""
        problems = []
        bounds = self.executor_instances
        if asked.executor_instances is not None and not bounds.min <= asked.executor_instances <= bounds.max:
            problems.append(f"executor_instances must be from {bounds.min} to {bounds.max}, not {asked.executor_instances}")
        for name in ("driver_cores", "executor_cores", "shuffle_partitions"):
            wanted, most = getattr(asked, name), getattr(self.ceilings, name)
            if wanted is not None and wanted > most:
                problems.append(f"{name} must be at most {most}, not {wanted}")
        for name in ("driver_memory", "executor_memory"):
            memory, ceiling = getattr(asked, name), getattr(self.ceilings, name)
            if memory is not None and mebibytes(memory) > mebibytes(ceiling):
                problems.append(f"{name} must be at most {ceiling}, not {memory}")
        return problems


class Retry(Contract):
    """How long to wait before each further attempt: a delay that grows, spread so that many do not come back at once."""

    delay_seconds: Annotated[float, Field(strict=True, ge=0, le=86_400)] | None = Field(
        default=None, description="Before the second attempt. Left out, it is the installation's (`STRATUM_RETRY_DELAY_SECONDS`)."
    )
    factor: Annotated[float, Field(strict=True, ge=1, le=10)] = Field(default=2.0, description="Each delay is so many times the last.")
    max_delay_seconds: Annotated[float, Field(strict=True, ge=0, le=86_400)] = Field(default=300.0, description="No delay is longer.")
    jitter: Literal["none", "equal", "full"] = Field(
        default="equal",
        description="`none`: the delay itself. `equal`: between half of it and all of it. `full`: between nothing and all of it.",
    )
    also: tuple[Annotated[str, Field(pattern=ERROR_CLASS_PATTERN, max_length=200)], ...] = Field(
        default=(), description="Error classes of the action's own code that may pass and are tried again if the run says so too."
    )

    @model_validator(mode="after")
    def _leaves_the_table_alone(self) -> "Retry":
        for name in self.also:
            if name in REMEDIES:
                raise ValueError(f"`also` names {name}, for which docs/reference/states.md says already what becomes of it")
        return self


class Limits(Contract):
    """How long a run may wait and take, and how often it is tried."""

    start_before_seconds: Ordinal = Field(default=86_400, description="From release until the run must have started.")
    pending_limit_seconds: Ordinal = Field(
        default=3_600, description="How long a job that its cluster has let go may wait for its driver to start."
    )
    time_limit_seconds: Ordinal = Field(default=3_600, description="From start to end of one run.")
    max_attempts: Annotated[int, Field(strict=True, ge=1, le=20)] = 3
    retry: Retry = Retry()


class Action(Contract):
    """A named computation."""

    name: Identifier
    description: str
    image: str = Field(
        default=DEFAULT_IMAGE,
        description="Container image of the job; with its digest where the cluster allows only pinned images. "
        "Left out, it is the installation's (`STRATUM_JOBS_IMAGE`).",
    )
    entry_point: str = "spark_jobs"
    parameters: dict[str, Any] = Field(
        description="JSON Schema (2020-12) of the parameters.", json_schema_extra={"$ref": Draft202012Validator.META_SCHEMA["$id"]}
    )
    inputs_parameter: str | None = Field(
        default=None,
        description="Name of the parameter {view: dataset} that declares several inputs; without it `input_dataset` is the only one.",
    )
    condition_parameter: str | None = Field(
        default=None, description="Name of the parameter that holds a WHERE condition; it is checked before it is accepted."
    )
    query_parameter: str | None = Field(
        default=None, description="Name of the parameter that holds SQL; it is checked before it is accepted."
    )
    deterministic: bool = Field(strict=True, default=True, description="Whether the same inputs and parameters always give the same rows.")
    profile: Identifier = "standard"
    complexity: Annotated[float, Field(strict=True, gt=0, description="Work per input byte, a plain scan being 1.")] = 1.0
    limits: Limits = Limits()
    examples: tuple[dict[str, Any], ...] = ()

    @cached_property
    def revision(self) -> str:
        """Hash of all that can change a result. Sizes, limits and texts are left out: changing them does not make other work of it."""
        kept = {"name", "image", "entry_point", "inputs_parameter", "query_parameter", "condition_parameter", "deterministic"}
        return sha256_of({**self.model_dump(mode="json", include=kept), "parameters": _without_texts(self.parameters)})

    @cached_property
    def validator(self) -> Draft202012Validator:
        """Validator of the parameters."""
        return validator_of(self.parameters)

    @model_validator(mode="after")
    def _schema_is_sound(self) -> "Action":
        try:
            check_schema(self.parameters)
        except ValueError as error:
            raise ValueError(f"`parameters` is not a JSON Schema: {error}") from error
        for number, example in enumerate(self.examples):
            for problem in self.validator.iter_errors(example):
                raise ValueError(f"examples[{number}] breaks the action's own schema at {problem.json_path}: {problem.message}")
        return self


def _without_texts(schema: Any) -> Any:
    """A JSON Schema without what it only tells people. A parameter named like one of these keywords has a schema there, and stays."""
    if isinstance(schema, list):
        return [_without_texts(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    texts = {name for name in ("title", "description", "$comment") if isinstance(schema.get(name), str)}
    texts |= {"examples"} if isinstance(schema.get("examples"), list) else set()
    return {name: _without_texts(value) for name, value in schema.items() if name not in texts}


class CatalogFile(Contract):
    """One YAML file: any number of actions and profiles."""

    actions: tuple[Action, ...] = ()
    profiles: dict[Identifier, Profile] = {}


class Catalog(Contract):
    """All actions and profiles by name."""

    actions: dict[str, Action]
    profiles: dict[str, Profile]

    @classmethod
    def load(cls, *folders: Path, default_image: str = DEFAULT_IMAGE) -> "Catalog":
        """Read every `*.yaml` of the folders. What a later folder defines replaces what an earlier one does under the same name.

        Raises:
            CatalogError: a folder is missing, the first one holds no file, a file is unreadable or wrong, a name is twice in one
                folder, or an action names an unknown profile.
        """
        actions: dict[str, Action] = {}
        profiles: dict[str, Profile] = {}
        for number, folder in enumerate(folders):
            paths = sorted(folder.glob("*.yaml"))
            if not folder.is_dir() or (number == 0 and not paths):
                raise CatalogError(f"the catalog folder {folder} " + ("has no *.yaml file" if folder.is_dir() else "does not exist"))
            found = cls._merge((path, _read(path)) for path in paths)
            actions |= found.actions
            profiles |= found.profiles
        for action in actions.values():
            if action.profile not in profiles:
                raise CatalogError(
                    f"action {action.name!r} names the unknown profile {action.profile!r}; known: {', '.join(sorted(profiles))}"
                )
        return cls(actions={name: _with_image(action, default_image) for name, action in actions.items()}, profiles=profiles)

    @classmethod
    def _merge(cls, files: Iterable[tuple[Path, CatalogFile]]) -> "Catalog":
        actions: dict[str, Action] = {}
        profiles: dict[str, Profile] = {}
        for path, file in files:
            for action in file.actions:
                if action.name in actions:
                    raise CatalogError(f"{path.name}: action {action.name!r} is defined twice")
                actions[action.name] = action
            for name, profile in file.profiles.items():
                if name in profiles:
                    raise CatalogError(f"{path.name}: profile {name!r} is defined twice")
                profiles[name] = profile
        return cls(actions=actions, profiles=profiles)


def _with_image(action: Action, default: str) -> Action:
    return action if "image" in action.model_fields_set else action.model_copy(update={"image": default})


def _read(path: Path) -> CatalogFile:
    try:
        document = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CatalogError(f"{path}: {error}") from error
    try:
        return CatalogFile.model_validate(document)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise CatalogError(f"{path}: {problems}") from error
