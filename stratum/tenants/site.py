"""One release on one cluster, with the chart it came from: what `create`, `limit` and `remove` act upon."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from stratum.errors import Conflict, Invalid
from stratum.tenants.helm import Helm, Revision
from stratum.tenants.kubectl import Kubectl
from stratum.tenants.program import ProgramFailed
from stratum.tenants.values import Release, Values

Tell = Callable[[str], None]
_REFUSED = 4
_SAYS = "control_plane: "


@dataclass(frozen=True)
class Site:
    """The release as it was when it was first looked at."""

    helm: Helm
    kubectl: Kubectl
    chart: Path
    tell: Tell

    @cached_property
    def revision(self) -> Revision:
        """The revision that the values are of."""
        return self.helm.revision()

    @cached_property
    def release(self) -> Release:
        """The release and its values."""
        revision = self.revision  # first: whoever upgrades in between is noticed
        assert revision  # noqa: S101
        return self.helm.release()

    def require_chart(self) -> None:
        """Refuse a chart of another version."""
        self.helm.require_chart(self.chart, self.revision)

    def rehearse(self, values: Values) -> None:
        """Let chart and API server judge the values, before anything is made."""
        self.tell("asking the chart and the API server")
        self.helm.rehearse(self.chart, values)

    def upgrade(self, values: Values, *, always: bool = False) -> bool:
        """Upgrade the release, unless it has these values and is well. Says whether it did."""
        if values == self.release.values and self.revision.is_deployed and not always:
            return False
        self.tell("upgrading the release")
        self.helm.upgrade(self.chart, values, self.revision)
        return True

    # -- the control plane, asked in one of its own pods ------------------------------------------------------------------

    def check_storage(self, tenant: str, bucket: str, prefix: str) -> None:
        """Ask the control plane, which knows tenants that the values do not name.

        Raises:
            Conflict: the storage is somebody else's, or the tenant's lies elsewhere.
        """
        try:
            self._control_plane("check-tenant", "--tenant", tenant, "--bucket", bucket, f"--prefix={prefix}")
        except ProgramFailed as error:
            if (refusal := _refusal(error.said)) is None:
                raise
            raise Conflict(f"The control plane refuses: {refusal}", "Nothing was made.") from error

    def close(self, tenant: str, *, force: bool) -> int:
        """End the tenant's API keys; returns how many were good.

        Raises:
            Conflict: processes have not ended, and it is not forced.
        """
        try:
            text = self._control_plane("close-tenant", "--tenant", tenant, *(["--force"] if force else []))
        except ProgramFailed as error:
            if error.code == _REFUSED:
                unfinished = _document(error.output)["unfinished"]
                raise Conflict(
                    f"{unfinished} processes of the tenant {tenant} have not ended.",
                    "Wait for them, cancel them with the tenant's key (`stratum list`, `stratum cancel`), or give --force: what runs "
                    "then loses its rights, and what waits will fail.",
                ) from error
            raise
        return int(_document(text)["keys_ended"])

    def _control_plane(self, *arguments: str) -> str:
        workload = f"deployment/{self.release.fullname}-api"
        return self.kubectl.exec(self.release.namespace, workload, "api", ["python", "-m", "control_plane", *arguments])


def _document(text: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(text.strip().splitlines()[-1])
        return found
    except (ValueError, IndexError) as error:
        raise Invalid(f"The control plane answered {text[:200]!r}.", "Has it the version of this program?") from error


def _refusal(text: str) -> str | None:
    """What our own program said; None: it was not asked, and `kubectl` says why."""
    return next((line.removeprefix(_SAYS) for line in text.splitlines() if line.startswith(_SAYS)), None)
