"""What a request costs does not grow with how many wait."""

from pathlib import Path

from control_plane.migrations.script import run_script

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Let the place in the queue be asked for only where few wait."""
    run_script(Path(__file__).with_suffix(".sql"))
