"""The time that an orchestrator leaves a part between SIGTERM and SIGKILL is enough for what it does then."""

from pathlib import Path

import yaml

from control_plane.api.server import GRACEFUL_SECONDS
from control_plane.settings import WebhookSettings
from launcher.publishing import DELIVERY_SECONDS
from tests.control_plane.test_endings import GRACE_SECONDS

VALUES = yaml.safe_load((Path(__file__).parents[2] / "helm/stratum/values.yaml").read_text())


def test_the_grace_is_enough_for_every_part() -> None:
    grace = VALUES["defaults"]["terminationGracePeriodSeconds"]
    assert grace == GRACE_SECONDS, "tests/control_plane/test_endings.py ends the parts within this"
    drain = VALUES["api"]["drainSeconds"]
    assert drain + GRACEFUL_SECONDS + 10 <= grace
    assert drain >= 5, "readiness is asked every 5 s"
    relay_flush = 15
    assert relay_flush + 15 + 5 <= grace, "a batch that is flushed, and its marks written"
    assert grace >= DELIVERY_SECONDS + 20
    assert WebhookSettings.model_fields["webhook_total_seconds"].default + 10 <= grace
