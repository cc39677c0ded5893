"""What the sweeper keeps, and for how long. Seconds."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

DAY = 86_400
_Life = Annotated[float, Field(ge=2 * DAY)]


class SweepSettings(BaseSettings):
    """Policy of left-overs. `None` keeps a kind for ever."""

    model_config = SettingsConfigDict(env_prefix="STRATUM_", frozen=True)

    sweep_listing_seconds: Annotated[float, Field(gt=0)] = Field(default=DAY, description="How often the whole store is listed.")
    sweep_unknown_grace_seconds: Annotated[float, Field(ge=DAY)] = Field(
        default=7 * DAY, description="Age of folders that no row knows, and of unfinished uploads of parts; longer than the longest run."
    )
    sweep_unknown_folders: bool = Field(default=True, description="Remove folders that no row knows; else they are only reported.")
    retire_grace_seconds: Annotated[float, Field(ge=3600)] = Field(
        default=7 * DAY, description="How long the files of a retired dataset stay."
    )
    idempotency_key_seconds: Annotated[float, Field(ge=3600)] = Field(default=7 * DAY, description="Life of an `Idempotency-Key`.")
    outbox_seconds: Annotated[float, Field(ge=3600)] = Field(
        default=7 * DAY, description="How long published messages of ended processes stay."
    )
    sweep_record_seconds: Annotated[float, Field(ge=DAY)] = Field(default=90 * DAY, description="How long the records of sweeps stay.")
    event_seconds: _Life | None = Field(default=None, description="How long the history of an ended process stays.")
    refused_callback_seconds: _Life | None = Field(default=None, description="How long refused callbacks of an ended process stay.")
    log_seconds: Annotated[float, Field(ge=3600)] | None = Field(
        default=None, description="How long driver output of an ended process stays."
    )
