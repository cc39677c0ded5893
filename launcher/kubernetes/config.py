"""The file that says how runs live on a cluster: where each tenant's are, and what every pod of them gets."""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, StringConstraints, ValidationError

from contracts.command import MemorySize
from contracts.identifiers import Tenant
from contracts.model import Contract
from contracts.strict_yaml import read_yaml
from launcher.errors import CommandUnfit
from launcher.settings import SettingsError

Label = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=63)]
_SUBDOMAIN = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$"
Name = Annotated[str, StringConstraints(pattern=_SUBDOMAIN, max_length=253)]
# Kueue reads it from a label, whose values are shorter than names
Queue = Annotated[str, StringConstraints(pattern=_SUBDOMAIN, max_length=63)]
Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+$", max_length=253)]
# handed on as it is: all that Kubernetes reads, but signs
Quantity = Annotated[
    str,
    StringConstraints(pattern=r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$"),
    Field(examples=["500M", "20Gi"]),
]
Seconds = Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]


class S3Secret(Contract):
    """The Secret with a tenant's storage keys, and which of its keys holds what."""

    name: Name = "stratum-s3"
    access_key: Key = "access-key"
    secret_key: Key = "secret-key"  # noqa: S105  # the name of a key, not what it holds


class ConfigMapKey(Contract):
    """One key of a ConfigMap."""

    name: Name
    key: Key


class Executors(Contract):
    """How a run comes to its executors: all at once, or as many as it has work for, up to the same number."""

    allocation: Literal["fixed", "dynamic"] = "fixed"


class MemoryOverhead(Contract):
    """Memory of a container beyond the heap of its JVM: Python workers, buffers, metaspace."""

    factor: Annotated[float, Field(ge=0)] = 0.4
    min: MemorySize = "384m"


class EphemeralStorage(Contract):
    """Disk of a node: what a pod asks for and may take, and how large each of its folders may grow."""

    request: Quantity | None = None
    limit: Quantity | None = None
    work_size_limit: Quantity | None = None
    tmp_size_limit: Quantity | None = None
    log_size_limit: Quantity | None = None


class Toleration(Contract):
    """A taint that pods put up with, as Kubernetes writes it."""

    key: str | None = None
    operator: Literal["Exists", "Equal"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    tolerationSeconds: int | None = None


class TenantPlace(Contract):
    """Where a tenant's runs live; what is left out is as for all tenants."""

    namespace: Label
    service_account: Name | None = None
    s3_secret: S3Secret | None = None
    queue: Queue | None = None
    priority_class: Name | None = None


class Place(Contract):
    """Where one run lives, with nothing left open."""

    namespace: Label
    service_account: Name
    s3_secret: S3Secret
    queue: Queue | None
    priority_class: Name | None


class KubernetesConfig(Contract):
    """All that the `kubernetes` backend is told of its cluster."""

    tenants: Annotated[dict[Tenant, TenantPlace], Field(min_length=1)]
    service_account: Name = "stratum-driver"
    executor_service_account: Name = "stratum-executor"
    s3_secret: S3Secret = S3Secret()
    sidecar_image: Annotated[str, Field(min_length=1)]
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    image_pull_secrets: tuple[Name, ...] = ()
    ca_config_map: ConfigMapKey | None = None
    queue: Queue | None = None
    priority_class: Name | None = None
    executors: Executors = Executors()
    cpu_request_ratio: Annotated[float, Field(gt=0, le=1)] = 1.0
    memory_overhead: MemoryOverhead = MemoryOverhead()
    ephemeral_storage: EphemeralStorage = EphemeralStorage()
    executor_deadline_seconds: Seconds = 600
    image_patience_seconds: Seconds = 300
    job_ttl_seconds: Seconds = 86400
    node_selector: dict[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()
    pod_labels: dict[str, str] = {}
    pod_annotations: dict[str, str] = {}

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Every namespace that holds runs."""
        return tuple(sorted({place.namespace for place in self.tenants.values()}))

    def tenants_of(self, namespace: str) -> tuple[str, ...]:
        """The tenants whose runs are in a namespace."""
        return tuple(sorted(tenant for tenant, place in self.tenants.items() if place.namespace == namespace))

    def place(self, tenant: str) -> Place:
        """Where a tenant's runs live.

        Raises:
            CommandUnfit: nobody said where.
        """
        own = self.tenants.get(tenant)
        if own is None:
            raise CommandUnfit("NO_NAMESPACE", f"the launcher has no namespace for the tenant {tenant!r}: its operator adds one")
        return Place(
            namespace=own.namespace,
            service_account=own.service_account or self.service_account,
            s3_secret=own.s3_secret or self.s3_secret,
            queue=own.queue or self.queue,
            priority_class=own.priority_class or self.priority_class,
        )


def load_config(file: Path) -> KubernetesConfig:
    """The configuration that `file` holds.

    Raises:
        SettingsError: it cannot be read, or is wrong; the message names the file and each key.
    """
    try:
        return KubernetesConfig.model_validate(read_yaml(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{file} cannot be read: {error}") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'the file'}: {each['msg']}" for each in error.errors(include_input=False)
        )
        raise SettingsError(f"{file} is wrong: {problems}") from error
