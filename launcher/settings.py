"""Settings, all from the environment. A missing or wrong one stops the start and is named; nothing falls back in silence."""

from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, AnyHttpUrl, Field, SecretStr, TypeAdapter, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from contracts.catalog import DEFAULT_FOLDER, CatalogFolders
from launcher.errors import LauncherError

PREFIX = "STRATUM_"


def _http_url(value: str) -> str:
    TypeAdapter(AnyHttpUrl).validate_python(value)
    return value.rstrip("/")


Url = Annotated[str, AfterValidator(_http_url)]
Seconds = Annotated[float, Field(gt=0)]
S = TypeVar("S", bound=BaseSettings)


class SettingsError(LauncherError):
    """Settings are missing or wrong; the message names each variable."""


class JobsSettings(BaseSettings):
    """Where local jobs are kept."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True)

    jobs_dir: Path
    kill_grace_seconds: Seconds = Field(default=20, description="From asking a job to end until it is forced.")


class Settings(JobsSettings):
    """Everything the launcher is told."""

    kafka_bootstrap: str
    topic_prefix: str = "stratum"
    cluster: str = Field(min_length=1, description="Name of this cluster or machine in events.")
    jwks_url: Url
    callback_base_url: Url
    launcher_backend: Literal["process"]
    catalog_dir: Annotated[CatalogFolders, NoDecode] = (DEFAULT_FOLDER,)
    max_local_jobs: Annotated[int, Field(ge=1)]
    spark_jars_dir: Path
    java_home: Path = Field(validation_alias="JAVA_HOME")
    s3_endpoint: Url
    s3_region: str = "us-east-1"
    s3_access_key: str
    s3_secret_key: SecretStr
    ca_bundle: Path | None = None
    relist_seconds: Seconds = 10
    retention_seconds: Seconds = Field(default=600, description="How long an ended job is kept after its end was stored.")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    metrics_port: Annotated[int, Field(ge=0, le=65535)] | None = None


def load(kind: type[S]) -> S:
    """Settings of that kind from the environment.

    Raises:
        SettingsError: one or more are missing or wrong.
    """
    try:
        return kind()
    except ValidationError as error:
        problems = "; ".join(f"{_variable(str(each['loc'][0]))}: {each['msg']}" for each in error.errors(include_input=False))
        raise SettingsError(f"the settings are not complete: {problems}") from error


def _variable(field: str) -> str:
    return field if field.isupper() else f"{PREFIX}{field.upper()}"
