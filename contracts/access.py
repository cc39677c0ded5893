"""What each part may do in Kubernetes: the one table that the chart grants, the launcher is written for, `stratum preflight` asks for."""

from dataclasses import dataclass
from typing import Literal

Role = Literal["submit", "observe", "driver", "preflight"]
Where = Literal["tenant", "own"]


@dataclass(frozen=True, slots=True)
class Access:
    """Verbs on one resource.

    Attributes:
        role: the part that needs them; each has a service account of its own.
        api_group: empty for the core group.
        resource: plural name, with its subresource behind a slash.
        where: in every tenant's namespace, or in the namespace where Stratum itself runs.
    """

    role: Role
    api_group: str
    resource: str
    verbs: tuple[str, ...]
    where: Where = "tenant"


TABLE: tuple[Access, ...] = (
    Access("submit", "batch", "jobs", ("create", "get", "patch")),
    Access("submit", "", "secrets", ("create",)),
    Access("observe", "batch", "jobs", ("get", "list", "watch", "patch", "delete")),
    Access("observe", "", "pods", ("list", "watch")),
    Access("observe", "", "events", ("list",)),
    Access("observe", "coordination.k8s.io", "leases", ("get", "create", "update"), where="own"),
    # Spark's own driver makes its executors, and takes them along when it ends
    Access("driver", "", "pods", ("create", "get", "list", "watch", "delete", "deletecollection")),
    # `stratum preflight` asks about the accounts above, looks at quotas, and starts one pod as a run would
    Access("preflight", "authorization.k8s.io", "localsubjectaccessreviews", ("create",)),
    Access("preflight", "authorization.k8s.io", "localsubjectaccessreviews", ("create",), where="own"),
    Access("preflight", "", "serviceaccounts", ("get",)),
    Access("preflight", "", "resourcequotas", ("list",)),
    Access("preflight", "", "pods", ("create", "get", "delete")),
)


def access_of(role: Role, where: Where) -> tuple[Access, ...]:
    """The rows of one role in one kind of namespace."""
    return tuple(access for access in TABLE if (access.role, access.where) == (role, where))
