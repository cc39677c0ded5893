"""More tenants on the platform of this machine. The control plane keeps them apart; jobs share one user and one pair of storage keys."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stratum.local import state
from stratum.local.errors import LocalError, NotUp
from stratum.local.platform import Platform, PlatformState
from stratum.local.private_file import write_private
from stratum.local.roles import run_command

_FOLDER = "tenants"
_KEY_BYTES = 32


@dataclass(frozen=True)
class LocalTenant:
    """A tenant that is there now. `key` is None when it was made before; `key_file` holds it anyway."""

    name: str
    bucket: str
    prefix: str
    url: str
    key_file: Path
    key: str | None


def create(home: Path, name: str, bucket: str, prefix: str, limits: Mapping[str, str]) -> LocalTenant:
    """Make a tenant on the platform that runs in `home`. Repeating it changes nothing but limits that are named.

    Args:
        limits: by the names that `python -m control_plane provision` has for them.

    Raises:
        LocalError: nothing runs there, or the control plane refuses.
    """
    platform = Platform(home)
    known = state.load(platform.home / "platform.json", PlatformState)
    if known is None or platform.status()["state"] == "down":
        raise NotUp(f"No platform runs in {platform.home}.", "Start it: `stratum up --detach`.")
    key_file = platform.home / _FOLDER / f"{name}-api-key"
    is_new = not key_file.exists()
    if is_new:
        key_file.parent.mkdir(mode=0o700, exist_ok=True)
        write_private(key_file, f"stratum_{secrets.token_urlsafe(_KEY_BYTES)}")
    place = ["--tenant", name, "--bucket", bucket, f"--prefix={prefix}", "--role", "admin", "--api-key-file", str(key_file)]
    named = [f"--{option.replace('_', '-')}={text}" for option, text in limits.items()]
    try:
        run_command("control_plane", ["provision", *place, *named], known.command_environment)
    except LocalError:
        if is_new:
            key_file.unlink()
        raise
    key = key_file.read_text(encoding="utf-8") if is_new else None
    return LocalTenant(name, bucket, prefix, known.url, key_file, key)
