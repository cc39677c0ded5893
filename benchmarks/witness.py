"""What the drivers of a whole platform say of themselves, for the ledger against which the oracle holds the control plane's story."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg

from contracts.identifiers import job_name
from launcher.process.folder import JobFolder
from tests.chaos.ledger import Ledger
from tests.e2e.platform import Platform

_GONE = "SELECT process_id, step, number FROM attempts WHERE state = 'lost' AND error_class = 'JOB_LOST'"
"""Attempts whose job is not there any more, so it was said."""


class Witness:
    """Fills a ledger. It must look again before an ended job's folder is removed, which takes ten minutes."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.ledger = Ledger()

    async def look(self) -> None:
        """Read the log of every driver, and see who lives of those that are called gone."""
        self.read_logs(self._platform.home / "jobs")
        sql = await asyncpg.connect(self._platform.document["database_url"], timeout=3)
        try:
            gone = {job_name(*row): (str(row["process_id"]), row["number"]) for row in await sql.fetch(_GONE)}
        finally:
            await sql.close()
        if gone:
            self.ledger.alive |= {attempt for name, attempt in gone.items() if self._platform.drivers(name)}

    def read_logs(self, jobs: Path) -> None:
        """Which runs were granted their attempt, and whose last report was taken."""
        for folder in JobFolder.all(jobs):
            for line in _lines(folder.path / "driver.log"):
                told = {"granted": self.ledger.granted, "finished": self.ledger.finished}.get(str(line.get("event")))
                if told is not None and "run_id" in line:
                    told[str(line["process_id"]), int(line["attempt"])].add(str(line["run_id"]))


def _lines(log: Path) -> Iterator[dict[str, Any]]:
    """The driver's own lines: those of Spark between them are not JSON, and a kill may have cut one."""
    try:
        text = log.read_text(errors="replace")
    except FileNotFoundError:
        return  # it has not begun; or the folder has just been removed
    for line in text.splitlines():
        if line.startswith("{") and line.endswith("}"):
            try:
                yield json.loads(line)
            except ValueError:
                continue
