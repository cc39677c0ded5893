"""What the sweeper keeps, and for how long. Seconds."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

DAY = 86_400
_Life = Annotated[float, Field(ge=2 * DAY)]


def _none_if_zero(seconds: Any) -> Any:
    return None if str(seconds) in ("0", "0.0") else seconds


class SweepSettings(BaseSettings):
    """Policy of left-overs. `None` keeps a kind for ever."""

    model_config = SettingsConfigDict(env_prefix="STRATUM_", frozen=True)

    sweep_listing_seconds: Annotated[float, Field(gt=0)] = Field(default=DAY, description="How often the whole store is listed.")
    sweep_unknown_grace_seconds: Annotated[float, Field(ge=DAY)] = Field(
        default=7 * DAY, description="Age of folders that no row knows, and of unfinished uploads of parts; longer than the longest run."
    )
    sweep_unknown_folders: bool = Field(default=True, description="Remove folders that no row knows; else they are only reported.")
    stray_job_seconds: Annotated[Annotated[float, Field(ge=600)] | None, BeforeValidator(_none_if_zero)] = Field(
        default=3600, description="How long a Job that no row knows may live, from the first list on that shows it. 0: it is only reported."
    )
    retire_grace_seconds: Annotated[float, Field(ge=3600)] = Field(
        default=7 * DAY, description="How long the files of a retired dataset stay."
    )
    idempotency_key_seconds: Annotated[float, Field(ge=3600)] = Field(default=7 * DAY, description="Life of an `Idempotency-Key`.")
    outbox_seconds: Annotated[float, Field(ge=3600)] = Field(
        default=7 * DAY, description="How long messages of ended processes stay, published or never released."
    )
    webhook_delivery_seconds: Annotated[_Life | None, BeforeValidator(_none_if_zero)] = Field(
        default=30 * DAY, description="How long deliveries that are over stay, and can be sent again. 0: for ever."
    )
    sweep_record_seconds: Annotated[float, Field(ge=DAY)] = Field(
        default=90 * DAY, description="How long the records of sweeps stay, and the marks of removed folders."
    )
    event_seconds: _Life | None = Field(default=None, description="How long the history of an ended process stays.")
    refused_callback_seconds: Annotated[_Life | None, BeforeValidator(_none_if_zero)] = Field(
        default=30 * DAY, description="How long refused callbacks of an ended process stay. 0: for ever."
    )
    log_seconds: Annotated[float, Field(ge=3600)] | None = Field(
        default=None, description="How long driver output of an ended process stays."
    )
