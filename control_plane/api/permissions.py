"""Who may call what: the one table. An operation that is not in it is served to nobody."""

from collections.abc import Iterable, Mapping
from typing import Literal, get_args

from contracts.api_keys import Role
from control_plane.errors import ControlPlaneError

Access = Literal["anyone", "run", "viewer", "operator", "admin"]
"""The least role; or `anyone`, without a credential; or `run`: a flow or run token, and nothing else."""

_RANKS: Mapping[str, int] = {role: rank for rank, role in enumerate(get_args(Role))}

TABLE: Mapping[str, Access] = {
    # service
    "liveness": "anyone",
    "readiness": "anyone",
    "metrics": "anyone",
    "public_keys": "anyone",
    "database_time": "anyone",
    # runs
    "callback": "run",
    # processes
    "list_processes": "viewer",
    "get_process": "viewer",
    "list_events": "viewer",
    "read_logs": "viewer",
    "create_process": "operator",
    "cancel_process": "operator",
    "retry_process": "operator",
    # data
    "list_actions": "viewer",
    "list_entities": "viewer",
    "list_versions": "viewer",
    "get_dataset": "viewer",
    "create_upload": "operator",
    "seal_upload": "operator",
    "abandon_upload": "operator",
    "retire_dataset": "admin",
    # the tenant
    "get_quota": "viewer",
    # webhooks
    "list_webhooks": "viewer",
    "get_webhook": "viewer",
    "replay_webhook": "operator",
    "read_webhook_secrets": "admin",
    "rotate_webhook_secret": "admin",
    # keys
    "list_keys": "admin",
    "create_key": "admin",
    "rotate_key": "admin",
    "revoke_key": "admin",
}
"""Least access by `operationId`."""


def may(role: Role, operation: str) -> bool:
    """Whether a role is enough for an operation. False for one that is not in the table, or not for roles."""
    needed = _RANKS.get(TABLE.get(operation, ""))
    return needed is not None and _RANKS[role] >= needed


def check_complete(operations: Iterable[str]) -> None:
    """Raise unless table and API name the same operations."""
    served = set(operations)
    if wrong := served ^ TABLE.keys():
        raise ControlPlaneError(f"control_plane/api/permissions.py and the API differ in: {', '.join(sorted(wrong))}")


def highest(roles: Iterable[Role]) -> Role | None:
    """The role that may do the most."""
    return max(roles, key=lambda role: _RANKS[role], default=None)
