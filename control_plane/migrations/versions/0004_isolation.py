"""Row-level security, quotas, and an order of admission that is cheap to ask for."""

from pathlib import Path

from control_plane.migrations.script import run_script

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the second wall, then what the quotas need."""
    for part in ("role", "rows", "quotas", "admission"):
        run_script(Path(__file__).with_name(f"0004_isolation_{part}.sql"))
