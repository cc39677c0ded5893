"""A real cluster for the tests that are marked so; without one they fail, they are not skipped. And a stub that fails at a word."""

from collections.abc import Iterator

import pytest

from launcher.kubernetes.backend import KubernetesBackend
from tests.cluster.cluster import Cluster
from tests.launcher.kubernetes.stub_server import CONFIG, PLATFORM, Server
from tests.launcher.kubernetes.world import ClusterWorld, TenantNamespace


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The disposable cluster that KUBECONFIG names."""
    return Cluster()


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> Iterator[TenantNamespace]:
    """A tenant's namespace under Pod Security `restricted`, with room for two drivers; it goes with the module."""
    with TenantNamespace.made(cluster) as namespace:
        yield namespace


@pytest.fixture
def world(namespace: TenantNamespace) -> Iterator[ClusterWorld]:
    """A backend with Jobs of its own."""
    with ClusterWorld.open(namespace) as world:
        yield world


@pytest.fixture
def server() -> Server:
    """A stub of an API server."""
    return Server()


@pytest.fixture
def backend(server: Server) -> Iterator[KubernetesBackend]:
    """A backend that asks the stub."""
    with server.serving() as api:
        backend = KubernetesBackend(api, CONFIG, PLATFORM)
        yield backend
        server.over.set()
        backend.close()
