"""One installation of Stratum inside the session's servers: a database, a topic prefix, and tenants with a bucket each."""

import asyncio
import secrets
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic_settings import BaseSettings

from contracts.pulse import Pulse
from contracts.tokens import KeyRing
from control_plane import migration, reconcile, relay
from control_plane.api.app import create_app
from control_plane.broker import create_topics
from control_plane.database import Database
from control_plane.reconciler import Reconciler
from control_plane.settings import ApiSettings, ReconcileSettings, RelaySettings, TopicSettings, WebhookSettings
from control_plane.storage import Storage
from control_plane.tenants import provision
from control_plane.webhooks import role as webhooks
from control_plane.webhooks.connecting import Resolve
from tests.control_plane.caller import BUCKET, Caller
from tests.control_plane.servers import s3_client

LEASE_SECONDS = 600.0
"""So long that no test waits for its end: a test that wants it over puts it into the past."""


@dataclass(frozen=True)
class Installation:
    """Settings of the roles, and ways to run them inside the test."""

    database_url: str
    kafka_bootstrap: str
    s3_endpoint: str
    s3_access_key: str
    s3_secret_key: str
    topic_prefix: str
    signing_key_file: str
    overrides: dict[str, Any] = field(default_factory=dict)

    def but(self, **overrides: Any) -> "Installation":
        """The same installation with other settings."""
        return replace(self, overrides={**self.overrides, **overrides})

    @property
    def _common(self) -> dict[str, Any]:
        return {
            "database_url": self.database_url,
            "lease_seconds": LEASE_SECONDS,
            "heartbeat_seconds": 5.0,
            "poll_seconds": 0.1,
            "retry_delay_seconds": 0.05,
            "sweep_seconds": 0.25,
        }

    @property
    def _kafka(self) -> dict[str, Any]:
        return {"kafka_bootstrap": self.kafka_bootstrap, "topic_prefix": self.topic_prefix}

    @property
    def _storage(self) -> dict[str, Any]:
        return {"s3_endpoint": self.s3_endpoint, "s3_access_key": self.s3_access_key, "s3_secret_key": self.s3_secret_key}

    @property
    def _tokens(self) -> dict[str, Any]:
        return {"signing_key_file": self.signing_key_file, "callback_base_url": "http://stratum.test"}

    @property
    def kafka(self) -> TopicSettings:
        return TopicSettings(**self._kafka, topic_partitions=2)

    @property
    def api_settings(self) -> ApiSettings:
        return ApiSettings(**self._for(ApiSettings, self._common, self._storage, self._tokens))

    @property
    def relay_settings(self) -> RelaySettings:
        return RelaySettings(**self._for(RelaySettings, self._common, self._kafka, self._tokens))

    @property
    def reconcile_settings(self) -> ReconcileSettings:
        return ReconcileSettings(**self._for(ReconcileSettings, self._common, self._kafka, self._storage))

    @property
    def webhook_settings(self) -> WebhookSettings:
        return WebhookSettings(**self._for(WebhookSettings, {"database_url": self.database_url, "webhook_poll_seconds": 0.05}))

    def _for(self, kind: type[BaseSettings], *parts: dict[str, Any]) -> dict[str, Any]:
        """The parts, and the overrides that this kind of settings knows."""
        known = {name: value for name, value in self.overrides.items() if name in kind.model_fields}
        return {name: value for part in (*parts, known) for name, value in part.items()}

    @property
    def environment(self) -> dict[str, str]:
        """The settings as a service finds them in its environment."""
        values = {**self._common, **self._kafka, **self._storage, **self._tokens, **self.overrides}
        return {f"STRATUM_{name.upper()}": str(value) for name, value in values.items()}

    @property
    def keys(self) -> KeyRing:
        """The control plane's own keys; for tokens that only it could have made."""
        return KeyRing.load(self.signing_key_file)

    @cached_property
    def s3(self) -> Any:
        """The test's own client of the store."""
        return s3_client(self.s3_endpoint, self.s3_access_key, self.s3_secret_key)

    @cached_property
    def storage(self) -> Storage:
        return Storage(self.reconcile_settings)

    @asynccontextmanager
    async def api(self) -> AsyncIterator[httpx.AsyncClient]:
        """The API, called without a network."""
        app = create_app(self.api_settings)
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://stratum.test", timeout=30) as client,
        ):
            yield client

    @asynccontextmanager
    async def reconciler(self) -> AsyncIterator[Reconciler]:
        """The parts of the `reconcile` role, for tests that take its steps one by one."""
        settings = self.reconcile_settings
        database = Database(settings)
        try:
            yield Reconciler(settings, database, Storage(settings))
        finally:
            await database.close()

    def relay(self) -> "Role":
        return Role(lambda stop: relay.run(self.relay_settings, stop, Pulse()))

    def reconcile(self) -> "Role":
        return Role(lambda stop: reconcile.run(self.reconcile_settings, stop, Pulse()))

    def webhooks(self, resolve: Resolve | None = None) -> "Role":
        return Role(lambda stop: webhooks.run(self.webhook_settings, stop, Pulse(), resolve))

    @asynccontextmanager
    async def sql(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection of the test's own, to look and to meddle."""
        connection = await asyncpg.connect(self.database_url)
        try:
            yield connection
        finally:
            await connection.close()

    async def tenant(self, client: httpx.AsyncClient, name: str | None = None, role: str = "admin", max_in_flight: int = 1000) -> Caller:
        """A caller with a new key; the tenant is made unless it exists. Tenants share a bucket: to SeaweedFS each one costs volumes."""
        name = name or f"t-{secrets.token_hex(4)}"
        key = secrets.token_urlsafe(24)
        await asyncio.to_thread(self.storage.ensure_bucket, BUCKET)
        prefix = f"{self.topic_prefix}/{name}/"
        await provision(self.api_settings, name, BUCKET, prefix, max_in_flight, key, role)
        return Caller(client, name, key, f"s3://{BUCKET}/{prefix}", self)


class Role:
    """A role in a thread of its own, with its own event loop. Its failure fails the test."""

    def __init__(self, work: Callable[[asyncio.Event], Awaitable[None]]) -> None:
        self._work = work
        self._failure: BaseException | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event

    def _run(self) -> None:
        async def main() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            self._ready.set()
            await self._work(self._stop)

        try:
            asyncio.run(main())
        except BaseException as error:
            self._failure = error

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()

    def check(self) -> None:
        """Raise what ended the role before it was told to stop."""
        if self._failure is not None:
            raise AssertionError("a role ended by itself") from self._failure

    def stop(self) -> None:
        """Tell it to stop, and wait until it has."""
        if self._failure is None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self.check()

    @property
    def failure(self) -> BaseException | None:
        """What ended it, if anything did."""
        return self._failure


@contextmanager
def running(*roles: Role) -> Iterator[None]:
    """Roles that run while the block does."""
    for role in roles:
        role.start()
    try:
        yield
    finally:
        failures = []
        for role in roles:
            try:
                role.stop()
            except AssertionError as error:
                failures.append(error)
        if failures:
            raise failures[0]


def write_signing_key(path: Path) -> str:
    """A new Ed25519 key in a PEM file."""
    path.write_bytes(Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return str(path)


async def create_database(server_url: str, template: str | None = None) -> str:
    """A new database, migrated; or the copy of one that is. Returns its URL."""
    name = f"stratum_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(server_url)
    try:
        await connection.execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else ""))
    finally:
        await connection.close()
    url = f"{server_url.rsplit('/', 1)[0]}/{name}"
    if template is None:
        await migration.migrate(url)
    return url


def prepare_topics(installation: Installation) -> None:
    """The installation's topics."""
    create_topics(installation.kafka, installation.kafka.topics)
