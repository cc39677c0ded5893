"""The registry of a local platform, restored from its store by the control plane's own command, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from stratum.local import state
from stratum.local.errors import NotUp, ServiceFailed
from stratum.local.platform import Platform, PlatformState
from stratum.local.program import base_environment

NEEDED = ("postgres", "s3")
_FOUND_CONFLICTS = 3


def rebuild(platform: Platform, tenant: str | None, *, dry_run: bool) -> dict[str, Any]:
    """Run it to its end, however long that takes; returns its report: `known`, `registered`, `conflicts`.

    Raises:
        NotUp: database or store do not run.
        ServiceFailed: the command failed.
    """
    known = state.load(platform.home / "platform.json", PlatformState) if platform.home.is_dir() else None
    parts = platform.status()["parts"]
    down = [name for name in NEEDED if parts[name]["state"] != "running"]
    if known is None or down:
        missing = ", ".join(down or NEEDED)
        raise NotUp(f"A rebuild needs PostgreSQL and S3; not running: {missing}.", "Run `stratum up --detach` first.")
    command = [sys.executable, "-m", "control_plane", "rebuild", "--json"]
    command += ["--dry-run"] if dry_run else []
    command += ["--tenant", tenant] if tenant is not None else []
    environment = {**base_environment(), **known.command_environment}
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode not in (0, _FOUND_CONFLICTS):
        raise ServiceFailed(f"The rebuild failed: {done.stderr.strip()[-3000:]}", "It may be repeated: what is registered by then stays.")
    report: dict[str, Any] = json.loads(done.stdout)
    return report
