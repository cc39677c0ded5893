"""What a check found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Status = Literal["pass", "warn", "fail", "skip"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer. `detail`: what was seen; `remedy`: what to run or to set, empty where nothing is wrong."""

    status: Status
    detail: str
    remedy: str = ""


def passed(detail: str) -> Finding:
    """It is as it must be."""
    return Finding("pass", detail)


def warned(detail: str, remedy: str) -> Finding:
    """It works, and will hurt some day."""
    return Finding("warn", detail, remedy)


def failed(detail: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding("fail", detail, remedy)


def skipped(detail: str, remedy: str = "") -> Finding:
    """It could not be asked, or there is nothing to ask."""
    return Finding("skip", detail, remedy)


def worst(findings: Sequence[Finding]) -> Finding:
    """The first of the worst status; of several that pass, all are told."""
    order = ("fail", "warn", "skip", "pass")
    least = min(findings, key=lambda finding: order.index(finding.status))
    alike = list(dict.fromkeys(finding.detail for finding in findings if finding.status == least.status))
    return Finding(least.status, "; ".join(alike), least.remedy)
