"""The HTTP API: alive, ready, of this version, and the token is good."""

import hashlib
import time
from datetime import datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version

import httpx

from stratum.preflight import clock, database, web
from stratum.preflight.errors import Unreachable
from stratum.preflight.finding import Finding, failed, passed, skipped, warned
from stratum.preflight.runner import Check
from stratum.preflight.target import Target

GROUP = "api"
_DEPENDENCY_REMEDIES = {
    "postgres": "See the group postgres of this command.",
    "s3": "See the group s3 of this command; requests are accepted meanwhile, their runs wait.",
}


def checks(target: Target) -> list[Check]:
    """The checks of this group."""
    if target.url is None:
        return [Check(GROUP, "address", lambda: skipped("STRATUM_URL is not set", "Set it to the API's address, http(s)://host:port."))]
    api = Api(target, target.url.rstrip("/"))
    return [
        Check(GROUP, "alive", api.alive),
        Check(GROUP, "ready", api.ready, needs=("alive",)),
        Check(GROUP, "version", api.version, needs=("alive",)),
        Check(GROUP, "clock", api.clock, needs=("alive",)),
        Check(GROUP, "credentials", api.credentials, needs=("alive",)),
        Check(GROUP, "tenant", api.tenant, needs=("credentials",)),
    ]


class Api:
    """One API under its address."""

    def __init__(self, target: Target, url: str) -> None:
        self._target = target
        self._url = url

    def _get(self, path: str, **headers: str) -> httpx.Response:
        with web.client(self._target.ca_bundle) as client:
            return client.get(f"{self._url}{path}", headers=headers)

    def alive(self) -> Finding:
        """GET /healthz."""
        try:
            response = self._get("/healthz")
        except httpx.HTTPError as error:
            return failed(
                f"GET {self._url}/healthz: {web.words(error)}",
                "Start the API, or correct STRATUM_URL (and STRATUM_CA_BUNDLE, where its certificate is of a private authority).",
            )
        if response.status_code != httpx.codes.OK:
            return failed(f"GET {self._url}/healthz answered {response.status_code}", "STRATUM_URL names something that is not the API.")
        return passed(self._url)

    def ready(self) -> Finding:
        """GET /readyz, dependency by dependency."""
        response = self._get("/readyz")
        found: dict[str, str] = response.json()["checks"]
        detail = ", ".join(f"{name}: {state}" for name, state in found.items())
        remedy = " ".join(_DEPENDENCY_REMEDIES.get(name, "") for name, state in found.items() if state != "ok").strip()
        if response.status_code != httpx.codes.OK:
            return failed(detail, remedy)
        return warned(detail, remedy) if remedy else passed(detail)

    def version(self) -> Finding:
        """The API's version beside this program's."""
        own = version("stratum")
        found = self._get("/openapi.json").json()["info"]["version"]
        if found != own:
            remedy = f"Use the program of version {found}: of its sources, or of its image `stratum-cli`."
            return warned(f"the API is {found}, this program {own}", remedy)
        return passed(f"{found}, as this program")

    def clock(self) -> Finding:
        """The clock of the API's machine beside the database's, which it tells under /v1/time."""
        begin = time.monotonic()
        response = self._get("/v1/time")
        spent = time.monotonic() - begin
        if response.status_code != httpx.codes.OK or "Date" not in response.headers:
            return skipped(f"GET /v1/time answered {response.status_code}", "Mend the group postgres first.")
        now = datetime.fromisoformat(response.json()["now"]).timestamp()
        # `Date` holds whole seconds
        there = parsedate_to_datetime(response.headers["Date"]).timestamp() + 0.5
        return clock.judge(there - now, "the API", "the database", uncertain=0.5 + spent)

    def credentials(self) -> Finding:
        """A request with the token."""
        if self._target.token is None:
            return skipped("STRATUM_TOKEN is not set", "Set it to an API key, to have it tried.")
        response = self._get("/v1/processes?limit=1", Authorization=f"Bearer {self._target.token.get_secret_value()}")
        if response.status_code == httpx.codes.OK:
            return passed("the token is accepted")
        remedy = "Set STRATUM_TOKEN to a key of this installation; `python -m control_plane provision` makes one."
        return failed(f"GET /v1/processes answered {response.status_code}", remedy)

    def tenant(self) -> Finding:
        """Whose token it is. The API does not tell; the database does."""
        if self._target.database_url is None or self._target.token is None:
            return skipped("only the database says whose token it is", "Set STRATUM_DATABASE_URL too.")
        key_hash = hashlib.sha256(self._target.token.get_secret_value().encode()).digest()
        statement = "SELECT tenant, role, expires_at FROM api_keys WHERE key_hash = $1"
        try:
            rows = database.fetch(self._target.database_url.get_secret_value(), statement, key_hash)
        except Unreachable as error:
            return skipped(f"only the database says whose token it is: {error}", "Mend the group postgres first.")
        if not rows and self._target.token.get_secret_value().count(".") == 2:
            return skipped("it is a token of the identity provider", "Set STRATUM_TOKEN to an API key, to have its tenant told.")
        if not rows:
            return failed(
                "the API accepts the token and the database does not know it: they are of two installations",
                "Let STRATUM_URL and STRATUM_DATABASE_URL name the same installation.",
            )
        return _judge_tenant(rows[0]["tenant"], rows[0]["role"], rows[0]["expires_at"], self._target.tenant)


def _judge_tenant(tenant: str, role: str, expires_at: datetime | None, wanted: str | None) -> Finding:
    detail = f"{tenant}, role {role}, " + (f"until {expires_at:%Y-%m-%d}" if expires_at else "no expiry")
    if wanted is not None and tenant != wanted:
        return failed(f"the token is of {detail}", f"Set STRATUM_TOKEN to a key of tenant {wanted}, or correct --tenant.")
    if role == "viewer":
        return warned(detail, "A viewer can start nothing: use a key with the role operator or admin.")
    return passed(detail)
