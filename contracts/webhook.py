"""The caller's webhooks: their URLs, the deliveries as the API shows them, and the secrets that sign them."""

import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import BeforeValidator, Field

from contracts.model import Contract, HttpAddress, Tolerant

_NUMERIC_HOST = re.compile(r"(?i)https?://(?:[^/?#]*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?(?::[0-9]*)?(?:[/?#].*)?")
_PLAIN_IPV4 = re.compile(r"(?i)https?://(?:(?:0|[1-9][0-9]{0,2})\.){3}(?:0|[1-9][0-9]{0,2})(?::[0-9]*)?(?:[/?#].*)?")


def _plainly_written(value: Any) -> Any:
    # reading the URL makes four decimal numbers of 0x7f.1 and 0177.0.0.1: they are looked at before
    if isinstance(value, str) and _NUMERIC_HOST.fullmatch(value) and not _PLAIN_IPV4.fullmatch(value):
        raise ValueError("must name a host, or an IPv4 address as four decimal numbers")
    return value


CallbackUrl = Annotated[HttpAddress, BeforeValidator(_plainly_written)]
"""Where the end of a process is told."""


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


class WebhookDelivery(Tolerant):
    """The news of one process's end, on its way to the caller's URL."""

    id: UUID = Field(description="The header `webhook-id`, the same in every attempt.")
    process_id: UUID
    type: str = Field(examples=["process.succeeded"])
    url: str = Field(description="Without its query, which may hold a secret.", examples=["https://example.com/stratum"])
    state: DeliveryState
    attempts: int = Field(description="Also counts those before a replay.")
    last_status: int | None = Field(description="HTTP status of the last attempt; null if no answer came.")
    last_error: str | None = Field(description="Why the last attempt failed, or why it was given up.")
    last_attempt_at: datetime | None
    next_try_at: datetime | None = Field(description="Null once it is over.")
    created_at: datetime
    ended_at: datetime | None


class WebhookPage(Tolerant):
    """Newest first."""

    items: list[WebhookDelivery]
    next_cursor: str | None


class WebhookSecret(Tolerant):
    """A secret that signs."""

    secret: str = Field(repr=False, examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
    created_at: datetime
    retires_at: datetime | None = Field(description="It was replaced, and signs until then. Null: the newest.")


class WebhookSecrets(Tolerant):
    """Those that sign every delivery, newest first."""

    items: list[WebhookSecret]


class SecretRotation(Contract):
    """How to replace the secret."""

    keep_seconds: Annotated[int, Field(strict=True, ge=0, le=30 * 86_400, description="How long the replaced one still signs, beside.")] = (
        86_400
    )
