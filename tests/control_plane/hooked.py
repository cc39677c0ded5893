"""A tenant whose processes end at once and tell a URL so: cancelled while they are held."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from standardwebhooks.webhooks import Webhook

from tests.control_plane.caller import Caller
from tests.control_plane.installation import Installation
from tests.control_plane.receiver import Received
from tests.control_plane.waiting import eventually

LOCAL = {"webhook_allow": "127.0.0.0/8", "webhook_ports": "1-65535", "webhook_first_delay_seconds": 0.05}
"""Settings that let deliveries reach this machine, and be tried again soon."""


@dataclass
class Hooked:
    """One tenant of an installation in which nothing runs but the API."""

    installation: Installation
    caller: Caller

    async def ended(self, url: str, number: int = 0) -> str:
        """Id of a process that has just ended, its delivery still to be sent."""
        process = await self.caller.accepted(number, callback_url=url)
        await self.caller.ok("POST", f"/v1/processes/{process['id']}/cancel")
        return str(process["id"])

    async def delivery(self, process_id: str) -> dict[str, Any]:
        (found,) = (await self.caller.ok("GET", f"/v1/webhooks?process_id={process_id}"))["items"]
        return dict(found)

    async def until(self, process_id: str, state: str, seconds: float = 20) -> dict[str, Any]:
        """The delivery, once it is in `state`."""

        async def look() -> dict[str, Any] | None:
            found = await self.delivery(process_id)
            return found if found["state"] == state else None

        return await eventually(look, seconds, f"delivery {state}")  # type: ignore[return-value]

    async def until_failed(self, process_id: str, seconds: float = 20) -> dict[str, Any]:
        """The delivery, once an attempt has failed."""

        async def look() -> dict[str, Any] | None:
            found = await self.delivery(process_id)
            return found if found["last_error"] else None

        return await eventually(look, seconds, "a failed attempt")  # type: ignore[return-value]

    async def secrets(self) -> list[str]:
        return [each["secret"] for each in (await self.caller.ok("GET", "/v1/webhooks/secret"))["items"]]

    async def verified(self, received: Received) -> Any:
        """The document, its signature checked as a receiver does."""
        return Webhook((await self.secrets())[0]).verify(received.body, received.headers)


@asynccontextmanager
async def hooked(still: Installation, **settings: Any) -> AsyncIterator[Hooked]:
    """A tenant with a sealed source."""
    installation = still.but(**{**LOCAL, **settings})
    async with installation.api() as client:
        caller = await installation.tenant(client)
        await caller.ingest()
        yield Hooked(installation, caller)
