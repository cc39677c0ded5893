"""Settings, all from the environment. A missing or wrong one stops the start and is named; nothing falls back in silence.

Each role has its own kind, so that none is asked for, or given, what it does not need: secrets above all.
"""

from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, AnyHttpUrl, Field, SecretStr, StringConstraints, TypeAdapter, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from contracts.catalog import DEFAULT_FOLDER, CatalogFolders
from contracts.images import ImageSettings
from contracts.kafka_security import KafkaSecurity
from contracts.trust import CaBundle
from launcher.errors import LauncherError

PREFIX = "STRATUM_"
CONFIG = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True)


def _http_url(value: str) -> str:
    TypeAdapter(AnyHttpUrl).validate_python(value)
    return value.rstrip("/")


Url = Annotated[str, AfterValidator(_http_url)]
Seconds = Annotated[float, Field(gt=0)]
S = TypeVar("S", bound=BaseSettings)


class SettingsError(LauncherError):
    """Settings are missing or wrong; the message names each variable."""


class ServiceSettings(KafkaSecurity):
    """What every role that runs on is told."""

    model_config = CONFIG

    kafka_bootstrap: str
    topic_prefix: str = "stratum"
    cluster: str = Field(min_length=1, description="Name of this cluster or machine in events.")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    metrics_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    stuck_seconds: Annotated[float, Field(ge=60)] = Field(default=300, description="How long a turn of a loop may take: see `Pulse`.")

    @property
    def kafka_client(self) -> dict[str, str]:
        """The settings that every Kafka client has in common."""
        return {"bootstrap.servers": self.kafka_bootstrap, **self.kafka_client_config}


class SubmitSettings(ServiceSettings, ImageSettings):
    """What turns commands into jobs."""

    model_config = CONFIG

    jwks_url: Url
    catalog_dir: CatalogFolders = (DEFAULT_FOLDER,)


class ObserveSettings(ServiceSettings):
    """What tells of jobs."""

    model_config = CONFIG

    callback_base_url: Url
    relist_seconds: Seconds = 10
    retention_seconds: Seconds = Field(default=600, description="How long an ended job is kept after its end was stored.")


class StoreSettings(BaseSettings):
    """Where the object store is; drivers are told."""

    model_config = CONFIG

    s3_endpoint: Url
    s3_region: str = "us-east-1"


class StoreAccess(StoreSettings):
    """The object store, with keys to it."""

    model_config = CONFIG

    s3_access_key: str
    s3_secret_key: SecretStr
    ca_bundle: CaBundle | None = None


class JobsSettings(BaseSettings):
    """Where local jobs are kept."""

    model_config = CONFIG

    jobs_dir: Path
    kill_grace_seconds: Seconds = Field(default=20, description="From asking a job to end until it is forced.")


class LocalSettings(SubmitSettings, ObserveSettings, StoreAccess, JobsSettings):
    """Everything of the role `local`: jobs are children of this machine."""

    model_config = CONFIG

    launcher_backend: Literal["process"]
    max_local_jobs: Annotated[int, Field(ge=1)]
    spark_jars_dir: Path
    java_home: Path = Field(validation_alias="JAVA_HOME")


class KubernetesSettings(ServiceSettings, StoreSettings):
    """Where jobs are Jobs of a cluster. It has no keys to the object store: those are the tenants'."""

    model_config = CONFIG

    launcher_backend: Literal["kubernetes"]
    kubernetes_config_file: Path
    kill_grace_seconds: Seconds = Field(default=20, description="From asking a job to end until it is forced.")


class KubernetesSubmitSettings(SubmitSettings, KubernetesSettings):
    """Everything of the role `submit`."""

    model_config = CONFIG


class KubernetesObserveSettings(ObserveSettings, KubernetesSettings):
    """Everything of the role `observe`."""

    model_config = CONFIG

    namespace: str = Field(min_length=1, description="Our own, for the Lease.")
    lease_name: str = Field(default="stratum-observe", min_length=1)
    pod_name: str = Field(min_length=1, description="Who holds the Lease.")


class ShipLogSettings(StoreAccess):
    """Everything of the role `ship-log`."""

    model_config = CONFIG

    log_file: Path
    log_prefix: Annotated[str, StringConstraints(pattern=r"^s3://[^/]+/(.+/)?$")] = Field(description="`s3://bucket/<prefix>/`.")
    log_level: Literal["debug", "info", "warning", "error"] = "info"


def load(kind: type[S]) -> S:
    """Settings of that kind from the environment.

    Raises:
        SettingsError: one or more are missing or wrong.
    """
    try:
        return kind()
    except ValidationError as error:
        problems = "; ".join(": ".join([*map(_variable, each["loc"][:1]), each["msg"]]) for each in error.errors(include_input=False))
        raise SettingsError(f"the settings are not complete: {problems}") from error


def _variable(field: int | str) -> str:
    return str(field) if str(field).isupper() else f"{PREFIX}{str(field).upper()}"
