"""What every pod of a run is told of the platform that it belongs to."""

import re
from dataclasses import dataclass

from launcher.settings import SettingsError

LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Platform:
    """The same for every run. `cluster` is also a label; `kill_grace_seconds`: from asking a driver to end until it is forced."""

    cluster: str
    s3_endpoint: str
    s3_region: str
    kill_grace_seconds: float

    def __post_init__(self) -> None:
        if not LABEL_VALUE.fullmatch(self.cluster):
            raise SettingsError(f"STRATUM_CLUSTER: {self.cluster!r} becomes a label: at most 63 letters, digits, '-', '_', '.'")
