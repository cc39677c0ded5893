"""The edge to helm: one release, its values, and its upgrade."""

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from stratum.errors import Conflict, Invalid, NotFound
from stratum.tenants.program import ProgramFailed, run
from stratum.tenants.values import Release, Values

_CHART = "stratum"
_DEPLOYED = "deployed"
_GRACE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Revision:
    """What helm knows of the newest revision of a release."""

    number: int
    status: str
    chart: str
    version: str

    @property
    def is_deployed(self) -> bool:
        """Whether its installation or upgrade came to its end."""
        return self.status == _DEPLOYED


class Helm:
    """helm, for one release."""

    def __init__(self, release: str, namespace: str, context: str | None, timeout_seconds: int) -> None:
        self._release = release
        self._namespace = namespace
        self._place = ["--namespace", namespace, *(["--kube-context", context] if context else [])]
        self._timeout_seconds = timeout_seconds

    def revision(self) -> Revision:
        """The newest revision.

        Raises:
            NotFound: there is no such release.
            Conflict: another operation on it has begun and not ended.
        """
        found = self._json("get", "metadata", self._release)
        revision = Revision(int(found["revision"]), str(found["status"]), str(found["chart"]), str(found["version"]))
        if revision.status.startswith("pending"):
            raise Conflict(
                f"The release {self._release} is {revision.status}: another installation or upgrade is going on, or was cut off.",
                f"Wait for it; when nobody works on it: `helm rollback {self._release} --namespace {self._namespace}`.",
            )
        return revision

    def release(self) -> Release:
        """The release with the values that somebody gave it.

        Raises:
            NotFound: there is no such release.
        """
        return Release(self._release, self._namespace, self._json("get", "values", self._release) or {})

    def require_chart(self, chart: Path, revision: Revision) -> None:
        """Refuse a chart that would change the release's version, too.

        Raises:
            Invalid: it is no chart of Stratum.
            Conflict: it has another version than the release.
        """
        if not (chart / "Chart.yaml").is_file() and not chart.is_file():
            raise Invalid(f"There is no chart at {chart}.", "Give --chart: the folder or archive from which the release was installed.")
        found = yaml.safe_load(run(["helm", "show", "chart", str(chart)], "helm show chart"))
        if (found["name"], revision.chart) != (_CHART, _CHART):
            raise Invalid(f"The release {self._release} is of the chart {revision.chart!r}, and {chart} holds {found['name']!r}.")
        theirs, given = revision.version, str(found["version"])
        if theirs != given:
            raise Conflict(
                f"The release {self._release} was installed from version {theirs} of the chart, and {chart} is {given}.",
                f"Give --chart with version {theirs}, or upgrade the release to {given} first: a new tenant is no upgrade.",
            )

    def rehearse(self, chart: Path, values: Values) -> None:
        """Let helm and the API server judge an upgrade without doing it.

        Raises:
            Invalid: the values are refused; the message is the chart's own.
        """
        try:
            # what it prints holds Secrets of the release: it is not looked at
            self._upgrade(chart, values, "--dry-run=server")
        except ProgramFailed as error:
            raise Invalid(f"The chart refuses these values: {error.said}", "Nothing was changed.") from error

    def upgrade(self, chart: Path, values: Values, seen: Revision) -> None:
        """Upgrade to these values, all of them, and wait until everything is ready.

        Raises:
            Conflict: somebody else upgraded the release since its values were read.
            ProgramFailed: the upgrade did not come to its end.
        """
        if self.revision().number != seen.number:
            raise Conflict(f"The release {self._release} was upgraded by somebody else just now.", "Run the command again.")
        wait = ["--wait", "--wait-for-jobs", "--timeout", f"{self._timeout_seconds}s"]
        try:
            self._upgrade(chart, values, *wait)
        except ProgramFailed as error:
            raise ProgramFailed(
                "helm upgrade",
                error.code,
                error.said,
                hint=f"See `kubectl get pods --namespace {self._namespace}` and the log of the Job {self._release}…-provision "
                "(`kubectl logs --all-containers`: each tenant has a container of its own); "
                "mend it, and run the same command again: it goes on where it ended.",
            ) from error

    def _upgrade(self, chart: Path, values: Values, *options: str) -> None:
        with TemporaryDirectory(prefix="stratum-") as folder:  # 0700: values of a release may hold what somebody put there
            file = Path(folder) / "values.json"
            file.touch(mode=0o600)
            file.write_text(json.dumps(values), encoding="utf-8")
            command = ["helm", "upgrade", self._release, str(chart), *self._place, "--reset-values", "--values", str(file), *options]
            run(command, "helm upgrade", seconds=self._timeout_seconds + _GRACE_SECONDS)

    def _json(self, *arguments: str) -> Any:
        try:
            text = run(["helm", *arguments, *self._place, "--output", "json"], f"helm {' '.join(arguments)}")
        except ProgramFailed as error:
            if "release: not found" in error.said:
                raise NotFound(
                    f"There is no release {self._release} in the namespace {self._namespace}.",
                    "Give --release and --namespace; `helm list --all-namespaces` shows what there is.",
                ) from error
            raise
        return json.loads(text, parse_float=_number)


def _number(text: str) -> int | float:
    """Whole numbers as such: what passed through helm may come back as 1e+12."""
    number = float(text)
    return int(number) if number.is_integer() else number
