"""The calls about what callback URLs are told."""

from uuid import UUID

from contracts.webhook import SecretRotation, WebhookDelivery, WebhookPage, WebhookSecret, WebhookSecrets
from stratum.client.paths import api_path
from stratum.client.transport import Transport


class WebhookCalls:
    """What `AsyncClient` can do with deliveries and the secrets that sign them."""

    _transport: Transport

    async def webhooks(
        self, *, state: str | None = None, process_id: UUID | str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> WebhookPage:
        """One page of deliveries to callback URLs, newest first. `cursor` is the `next_cursor` of the page before."""
        params = {"state": state, "process_id": process_id and str(process_id), "limit": limit, "cursor": cursor}
        return await self._transport.get(WebhookPage, "/v1/webhooks", params)

    async def webhook(self, delivery_id: UUID | str) -> WebhookDelivery:
        """One delivery, as it is now."""
        return await self._transport.get(WebhookDelivery, api_path("webhooks", delivery_id))

    async def replay_webhook(self, delivery_id: UUID | str) -> WebhookDelivery:
        """Send a delivery again, now, under the same `webhook-id`."""
        return await self._transport.post(WebhookDelivery, api_path("webhooks", delivery_id, "replay"), repeatable=False)

    async def webhook_secrets(self) -> list[WebhookSecret]:
        """The secrets that sign deliveries, newest first. For admins."""
        return (await self._transport.get(WebhookSecrets, "/v1/webhooks/secret")).items

    async def rotate_webhook_secret(self, keep_seconds: int = 86_400) -> list[WebhookSecret]:
        """Replace the secret; the replaced one signs beside the new one for `keep_seconds`. For admins.

        Raises:
            Conflict: somebody else replaced it at the same moment.
        """
        body = SecretRotation(keep_seconds=keep_seconds)
        return (await self._transport.post(WebhookSecrets, "/v1/webhooks/secret/rotate", body, repeatable=False)).items
