"""The `kubernetes` backend does what every backend must do."""

import pytest

from tests.launcher.conformance import BackendConformance


@pytest.mark.cluster
class TestKubernetesBackendConforms(BackendConformance):
    pass
