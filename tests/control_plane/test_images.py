"""An action whose image its tenant may not run is refused before anything is stored."""

from contracts.catalog import DEFAULT_IMAGE
from tests.control_plane.caller import ENTITY, VERSION
from tests.control_plane.installation import Installation

BODY = {"entity_id": ENTITY, "data_version": VERSION, "action": "profile"}


async def test_images_are_a_matter_of_the_tenant(still: Installation) -> None:
    installation = still.but(allowed_images={"named": (DEFAULT_IMAGE,), "*": ("registry.example.com/*",)})
    async with installation.api() as client:
        named, other = await installation.tenant(client, "named"), await installation.tenant(client)
        for caller in (named, other):
            await caller.ingest()
        assert (await named.post("/v1/processes", BODY)).status_code == 202
        refused = await other.post("/v1/processes", BODY)
        problem = refused.json()
        assert (refused.status_code, problem["type"]) == (403, "urn:stratum:problem:image-not-allowed")
        assert DEFAULT_IMAGE in problem["detail"]
        assert other.tenant in problem["detail"]
        assert problem["errors"][0]["pointer"] == "/action"
        assert (await other.ok("GET", "/v1/processes"))["items"] == []


async def test_a_retry_is_asked_as_well(still: Installation) -> None:
    async with still.api() as client:
        acme = await still.tenant(client)
        await acme.ingest()
        process = (await acme.post("/v1/processes", BODY)).json()["id"]
        assert (await acme.post(f"/v1/processes/{process}/cancel")).status_code in (200, 202)
    async with still.but(require_image_digest=True).api() as client:
        acme.client = client
        retried = await acme.post(f"/v1/processes/{process}/retry")
        assert (retried.status_code, retried.json()["type"]) == (403, "urn:stratum:problem:image-not-allowed")
        assert "not pinned" in retried.json()["detail"]
