"""The table of rights holds what `submit` asks for, and nothing more."""

from contracts.access import access_of
from launcher.kubernetes.backend import KubernetesBackend
from tests.launcher.kubernetes.stub_server import Server, status
from tests.launcher.samples import a_spec

VERBS = {"POST": "create", "GET": "get", "LIST": "list", "WATCH": "watch", "PATCH": "patch", "DELETE": "delete"}


def test_submit(server: Server, backend: KubernetesBackend) -> None:
    spec = a_spec(tenant="acme")
    backend.submit(spec)
    server.answers["POST one/jobs"] = status(409, "AlreadyExists", "there")
    assert backend.submit(spec).adopted
    assert backend.kill(spec.attempt, "cancelled") is None
    used: dict[str, set[str]] = {}
    for asked in server.asked:
        method, _, place = asked.partition(" ")
        used.setdefault(place.removeprefix("one/"), set()).add(VERBS[method])
    assert used == {row.resource: set(row.verbs) for row in access_of("submit", "tenant")}
