"""What a job is told by its environment; everything else stands in the command."""

from pathlib import Path
from uuid import uuid4

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from contracts.trust import CaBundle
from spark_jobs.errors import InvalidCommand


class Settings(BaseSettings):
    """Read from the variables `STRATUM_…`."""

    model_config = SettingsConfigDict(env_prefix="STRATUM_", frozen=True)

    s3_endpoint: str = Field(pattern=r"^https?://[^/]+/?$")
    s3_region: str = "us-east-1"
    s3_access_key: SecretStr
    s3_secret_key: SecretStr
    run_id: str = Field(
        default_factory=lambda: str(uuid4()),
        description="Uid of the pod. A driver started by hand gets an id of its own, so it is another run and refused.",
    )
    executor_deadline_seconds: float = Field(
        default=600, gt=0, description="On Kubernetes: a run that wants executors and has none for so long fails, and says why."
    )
    executor_refusals: Path | None = Field(default=None, description="File in which Spark notes executors that it may not make.")
    ca_bundle: CaBundle | None = Field(default=None, description="Trusted beside the public authorities; Spark's JVM is told at its start.")


def read_settings() -> Settings:
    """From the environment.

    Raises:
        InvalidCommand: a variable is missing or wrong.
    """
    try:
        return Settings()
    except ValidationError as error:
        problems = "; ".join(f"STRATUM_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        raise InvalidCommand(f"the environment cannot be used: {problems}") from error
