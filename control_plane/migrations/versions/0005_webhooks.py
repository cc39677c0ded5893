"""The caller's webhooks."""

from pathlib import Path

from control_plane.migrations.script import run_script

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add deliveries and signing secrets."""
    run_script(Path(__file__).with_suffix(".sql"))
