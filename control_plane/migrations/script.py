"""Runs the SQL script of a migration."""

from pathlib import Path

from alembic import op


def run_script(path: Path) -> None:
    """Run a whole script in the migration's transaction.

    SQLAlchemy prepares every statement, and so takes one at a time; the driver itself takes a script.
    """
    script = path.read_text(encoding="utf-8")
    op.get_bind().connection.dbapi_connection.run_async(lambda driver: driver.execute(script))  # type: ignore[union-attr]  # open by now
