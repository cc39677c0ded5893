"""What the retry policy and the limits of waiting remember."""

from pathlib import Path

from control_plane.migrations.script import run_script

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add it, with what is known of attempts that are there."""
    run_script(Path(__file__).with_suffix(".sql"))
