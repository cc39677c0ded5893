"""What is looked at: the variables that the services read, or the platform on this machine."""

import json
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from contracts.catalog import DEFAULT_FOLDER, DEFAULT_IMAGE, Catalog, CatalogFolders
from contracts.kafka_security import KafkaSecurity
from contracts.layout import StorageRoot
from contracts.topics import Topics
from contracts.trust import CaBundle
from stratum.client.settings import home
from stratum.errors import Invalid

_ADDRESSES = ("url", "database_url", "kafka_bootstrap", "s3_endpoint", "namespace", "callback_base_url")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Variables(BaseModel):
    """What the services read, each field as `STRATUM_<NAME>`. All are optional here: what is not named is not looked at, and said."""

    url: str | None = None
    token: SecretStr | None = None
    database_url: SecretStr | None = None
    database_pool_size: Annotated[int, Field(ge=1)] = 10
    database_connections: Annotated[int, Field(ge=1)] | None = Field(default=None, description="What all pods of the services open.")
    kafka_bootstrap: str | None = None
    topic_prefix: str = "stratum"
    s3_endpoint: str | None = None
    s3_public_endpoint: str | None = None
    s3_region: str = "us-east-1"
    s3_access_key: str | None = None
    s3_secret_key: SecretStr | None = None
    signing_key_file: str | None = None
    callback_base_url: str | None = None
    jwks_url: str | None = None
    ca_bundle: CaBundle | None = None
    catalog_dir: CatalogFolders = (DEFAULT_FOLDER,)
    jobs_image: str = DEFAULT_IMAGE
    namespace: str | None = Field(default=None, description="Where Stratum itself runs.")
    kubernetes_config_file: Path | None = None
    submit_service_account: str | None = None
    observe_service_account: str | None = None


class _Environment(Variables, BaseSettings):
    model_config = SettingsConfigDict(env_prefix="STRATUM_", env_ignore_empty=True)


class Target(Variables):
    """The variables, and what the command line and the platform on this machine add to them.

    Attributes:
        kafka_security: the variables `STRATUM_KAFKA_*` beyond the address.
        tenant: the only one to look at; None: all.
        roots: storage roots, `s3://bucket/prefix`, instead of those in the database.
        pods: whether pods may be started.
        local_home: folder of the platform on this machine, when that is the target.
    """

    model_config = ConfigDict(frozen=True)

    kafka_security: KafkaSecurity = Field(default_factory=KafkaSecurity)
    tenant: str | None = None
    roots: tuple[str, ...] = ()
    pods: bool = True
    local_home: Path | None = None

    @property
    def topics(self) -> Topics:
        """Names of the topics."""
        return Topics(self.topic_prefix)

    @property
    def connections_needed(self) -> int:
        """What the services open at most; unless it is told, one `api`, `relay`, `reconcile` and `webhooks`, and the relay's lock."""
        return self.database_connections or 4 * self.database_pool_size + 1

    @cached_property
    def catalog(self) -> Catalog:
        """The catalog; raises `CatalogError`."""
        return Catalog.load(*self.catalog_dir, default_image=self.jobs_image)

    @property
    def storage_roots(self) -> tuple[StorageRoot, ...]:
        """The roots that were named; raises `ContractError` for one that is none."""
        return tuple(StorageRoot.parse(root) for root in self.roots)

    @property
    def kind(self) -> Literal["local", "cluster", "endpoints"]:
        """What sort of installation it is."""
        if self.local_home is not None:
            return "local"
        return "cluster" if self.namespace else "endpoints"

    @property
    def secrets(self) -> list[str]:
        """Texts that must never be printed."""
        given = [self.token, self.database_url, self.kafka_security.kafka_sasl_password, self.s3_secret_key]
        texts = [secret.get_secret_value() for secret in given if secret is not None]
        password = urlsplit(self.database_url.get_secret_value()).password if self.database_url else None
        return [*texts, *([password, unquote(password)] if password else [])]

    def document(self) -> dict[str, Any]:
        """The addresses, without secrets."""
        return {
            "kind": self.kind,
            "api": self.url,
            "kafka": self.kafka_bootstrap,
            "postgres": without_password(self.database_url.get_secret_value()) if self.database_url else None,
            "s3": self.s3_endpoint,
            "namespace": self.namespace,
            "home": str(self.local_home) if self.local_home else None,
        }


def find(**said: Any) -> Target:
    """The target that the environment names, else the platform on this machine.

    Args:
        said: fields of the target from the command line; they come first, unless they are None.

    Raises:
        Invalid: a variable is wrong, or nothing names a target.
    """
    try:
        given = {name: value for name, value in said.items() if value is not None}
        target = Target.model_validate(dict(_Environment()) | given)
    except ValidationError as error:
        problems = "; ".join(_problem(each["loc"], each["msg"]) for each in error.errors(include_input=False))
        raise Invalid(f"The settings are wrong: {problems}.", "Correct them; docs/reference/settings.md lists all.") from error
    if any(getattr(target, name) for name in _ADDRESSES):
        return target
    local = _local_platform(home())
    if local is None:
        names = ", ".join(f"STRATUM_{name.upper()}" for name in _ADDRESSES)
        raise Invalid(
            f"There is nothing to look at: none of {names} is set, and no platform was ever up here.", "Set them, or `stratum up`."
        )
    return Target.model_validate(dict(target) | local | given)


def _problem(where: tuple[int | str, ...], message: str) -> str:
    return f"STRATUM_{str(where[0]).upper()}: {message}" if where else message


def _local_platform(folder: Path) -> dict[str, Any] | None:
    path = folder / "platform.json"
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        return {
            "url": known["url"],
            "token": SecretStr(known["token"]),
            "database_url": SecretStr(known["database_url"]),
            "kafka_bootstrap": known["kafka"]["bootstrap"],
            "s3_endpoint": known["s3"]["endpoint"],
            "s3_access_key": known["s3"]["access_key"],
            "s3_secret_key": SecretStr(known["s3"]["secret_key"]),
            "signing_key_file": str(folder / "signing-key.pem"),
            "callback_base_url": known["url"],
            "jwks_url": f"{known['url']}/.well-known/jwks.json",
            "roots": (f"s3://{known['s3']['bucket']}",),
            "local_home": folder,
        }
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Invalid(f"{path} cannot be read: {error!r}", "Run `stratum up` again, or set the STRATUM_* variables.") from error


def is_loopback(host: str | None) -> bool:
    """Whether the host is this machine: nobody listens between."""
    return host in _LOOPBACK


def without_password(url: str) -> str:
    """`host:port/database` of a database URL."""
    parts = urlsplit(url)
    return f"{parts.netloc.rpartition('@')[2]}{parts.path}"
