"""Where runs live on a cluster: what preflight needs to know of the launcher's `STRATUM_KUBERNETES_CONFIG_FILE`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from contracts.command import MemorySize
from contracts.model import Tolerant
from contracts.strict_yaml import read_yaml
from stratum.preflight.errors import Unreachable


class S3Secret(Tolerant):
    """The Secret with a tenant's storage keys."""

    name: str = "stratum-s3"
    access_key: str = "access-key"
    secret_key: str = "secret-key"  # noqa: S105  # the name of a key


class ConfigMapKey(Tolerant):
    """One key of a ConfigMap."""

    name: str
    key: str


class MemoryOverhead(Tolerant):
    """Memory of a container beyond its heap."""

    factor: float = 0.4
    min: MemorySize = "384m"


class TenantPlace(Tolerant):
    """What one tenant has for itself."""

    namespace: str
    service_account: str | None = None
    s3_secret: S3Secret | None = None
    queue: str | None = None
    priority_class: str | None = None


class PlacesFile(Tolerant):
    """The file; what only the launcher needs is passed over, and what is wrong there stops the launcher."""

    tenants: dict[str, TenantPlace]
    service_account: str = "stratum-driver"
    executor_service_account: str = "stratum-executor"
    sidecar_image: str | None = None
    s3_secret: S3Secret = S3Secret()
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    ca_config_map: ConfigMapKey | None = None
    queue: str | None = None
    priority_class: str | None = None
    cpu_request_ratio: float = 1.0
    memory_overhead: MemoryOverhead = MemoryOverhead()
    node_selector: dict[str, str] = {}
    tolerations: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Place:
    """Where the runs of one tenant live."""

    tenant: str
    namespace: str
    service_account: str
    s3_secret: S3Secret
    queue: str | None = None
    priority_class: str | None = None


def read(file: Path) -> PlacesFile:
    """The file; raises `Unreachable` when it cannot be read or is wrong."""
    try:
        return PlacesFile.model_validate(read_yaml(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Unreachable(f"{file} cannot be read: {error}") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'the file'}: {each['msg']}" for each in error.errors(include_input=False)
        )
        raise Unreachable(f"{file} is wrong: {problems}") from error


def places(file: PlacesFile, tenant: str | None) -> tuple[Place, ...]:
    """The places of all tenants, or of one; empty when that one has none."""
    return tuple(
        Place(
            name,
            its.namespace,
            its.service_account or file.service_account,
            its.s3_secret or file.s3_secret,
            its.queue or file.queue,
            its.priority_class or file.priority_class,
        )
        for name, its in sorted(file.tenants.items())
        if tenant in (None, name)
    )
