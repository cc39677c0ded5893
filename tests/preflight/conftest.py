"""An installation of its own in the session's servers, and `stratum preflight` of it."""

import asyncio
import json
import os
import secrets
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from control_plane.storage import Storage
from control_plane.tenants import provision
from stratum.cli.main import app
from tests.control_plane.installation import Installation, create_database, prepare_topics, write_signing_key
from tests.preflight.serving import api_of
from tests.services import Services

STRATUM = [sys.executable, "-c", "from stratum.cli.main import app; app()"]
FREE_OF_OURS = {name: value for name, value in os.environ.items() if not name.startswith("STRATUM_")}


@dataclass(frozen=True)
class Answer:
    """What `stratum preflight --json` said."""

    code: int
    document: dict[str, Any]
    output: str

    def __getitem__(self, name: str) -> dict[str, Any]:
        """The check `group: name`."""
        (found,) = (check for check in self.document["checks"] if f"{check['group']}: {check['name']}" == name)
        return found

    def statuses(self) -> dict[str, str]:
        return {f"{check['group']}: {check['name']}": check["status"] for check in self.document["checks"]}


@dataclass(frozen=True)
class Deployment:
    """The variables of an installation; `but` changes some, None removes one."""

    environment: dict[str, str] = field(default_factory=dict)

    def but(self, **variables: str | None) -> "Deployment":
        changed = {**self.environment, **{f"STRATUM_{name.upper()}": value for name, value in variables.items()}}
        return Deployment({name: value for name, value in changed.items() if value is not None})

    def preflight(self, *arguments: str) -> Answer:
        """Run it to its end, in this process: importing what it needs takes longer than most checks."""
        others = {name: None for name in os.environ if name.startswith("STRATUM_")}
        done = CliRunner().invoke(app, ["preflight", "--json", *arguments], env={**others, **self.environment})
        assert done.stdout, (done.stderr, done.exception)
        return Answer(done.exit_code, json.loads(done.stdout), done.output)


@pytest.fixture(scope="session")
def installation(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Database, topics and keys of these tests."""
    key = write_signing_key(tmp_path_factory.mktemp("keys") / "key.pem")
    Path(key).chmod(0o600)
    url = asyncio.run(create_database(services.database_url))
    prefix = f"preflight-{secrets.token_hex(4)}"
    made = Installation(url, services.kafka_bootstrap, services.s3_endpoint, services.s3_access_key, services.s3_secret_key, prefix, key)
    prepare_topics(made)
    return made


@pytest.fixture(scope="session")
def token() -> str:
    return secrets.token_urlsafe(32)


@pytest.fixture(scope="session")
def bucket(installation: Installation, token: str) -> str:
    """The bucket of the one tenant, `acme`."""
    name = f"preflight-{secrets.token_hex(4)}"
    Storage(installation.api_settings).ensure_bucket(name)
    asyncio.run(provision(installation.api_settings, "acme", name, "acme/", 10, token, "admin"))
    return name


@pytest.fixture(scope="session")
def sound(installation: Installation, bucket: str, token: str) -> Iterator[Deployment]:
    """The installation with a running API, as an operator's environment names it."""
    with api_of(installation) as url:
        named = ("STRATUM_DATABASE_URL", "STRATUM_KAFKA_BOOTSTRAP", "STRATUM_S3_")
        own = {name: value for name, value in installation.environment.items() if name.startswith(named)}
        yield Deployment(own).but(
            url=url,
            token=token,
            topic_prefix=installation.topic_prefix,
            signing_key_file=installation.signing_key_file,
            callback_base_url=url,
            jwks_url=f"{url}/.well-known/jwks.json",
        )
