"""Images by digest or not."""

from stratum.preflight.pins import judge

PINNED = "registry.example.com/jobs@sha256:" + "1" * 64


def test_pins() -> None:
    assert judge([PINNED]).status == "pass"
    finding = judge([PINNED, "jobs:latest", "other"])
    assert finding.status == "warn"
    assert "jobs:latest, other" in finding.detail
    assert PINNED not in finding.detail
