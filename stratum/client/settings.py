"""Which platform a client speaks to."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from stratum.errors import Invalid, Unavailable


@dataclass(frozen=True)
class Settings:
    """Address and credential of a platform."""

    url: str
    token: str = field(repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise Invalid(f"The platform's URL {self.url!r} is not of the form http://host:port.", "Set STRATUM_URL.")


def resolve(url: str | None = None, token: str | None = None) -> Settings:
    """What was given, else `STRATUM_URL` and `STRATUM_TOKEN`, else the local platform in `STRATUM_HOME`.

    Raises:
        Unavailable: no platform is known.
        Invalid: only half of what it takes is known.
    """
    url = url or os.environ.get("STRATUM_URL")
    token = token or os.environ.get("STRATUM_TOKEN")
    if url and token:
        return Settings(url, token)
    if url:
        raise Invalid(f"There is no token for {url}.", "Set STRATUM_TOKEN.")
    local = local_platform(home())
    if local is None:
        raise Unavailable("No platform is known.", "Start one here with `stratum up`, or set STRATUM_URL and STRATUM_TOKEN.")
    return Settings(local.url, token or local.token)


def home() -> Path:
    """Where the local platform keeps its data: `STRATUM_HOME`, else `~/.stratum`."""
    return Path(os.environ.get("STRATUM_HOME") or "~/.stratum").expanduser()


def local_platform(folder: Path) -> Settings | None:
    """The platform that `stratum up` made in `folder`, if it ever did.

    Raises:
        Invalid: its file cannot be read.
    """
    path = folder / "platform.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return Settings(document["url"], document["token"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Invalid(f"{path} cannot be read: {error!r}", "Run `stratum up` again, or set STRATUM_URL and STRATUM_TOKEN.") from error
