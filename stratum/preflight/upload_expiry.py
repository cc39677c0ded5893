"""When a store removes uploads that were begun and never finished."""

from collections.abc import Mapping, Sequence
from typing import Any

from stratum.preflight.finding import Finding, failed, passed, warned

MINIO_DAYS = 1.0
"""MinIO removes them after 24 hours (`stale_uploads_expiry`), and knows no lifecycle rule for them."""


def expiry_days(rules: Sequence[Mapping[str, Any]], prefix: str, *, is_minio: bool) -> float | None:
    """After how many days the store gives up an upload under `prefix`; None: never.

    Args:
        rules: of the bucket's lifecycle, as the S3 API gives them.
    """
    days = [
        float(rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"])
        for rule in rules
        if rule.get("Status") == "Enabled" and "AbortIncompleteMultipartUpload" in rule and _meets(_prefix_of(rule), prefix)
    ]
    return min([*days, *([MINIO_DAYS] if is_minio else [])], default=None)


def _prefix_of(rule: Mapping[str, Any]) -> str:
    chosen = rule.get("Filter", {})
    return str(chosen.get("Prefix") or chosen.get("And", {}).get("Prefix") or rule.get("Prefix") or "")


def _meets(rule: str, root: str) -> bool:
    return root.startswith(rule) or rule.startswith(root)


def judge_expiry(days: float | None, longest_seconds: int, *, is_local: bool) -> Finding:
    """Judge it against the longest run: its files are unfinished uploads until it commits."""
    longest = f"the longest run may take {longest_seconds / 3600:.3g} h"
    if days is None and is_local:
        return passed(f"never removed, on this machine that costs room only; {longest}")
    if days is None:
        return warned(
            "the store never removes unfinished uploads: those of killed runs are paid for without end, and no listing shows them",
            "Add a lifecycle rule AbortIncompleteMultipartUpload with DaysAfterInitiation 7 to the bucket.",
        )
    if days * 86_400 <= longest_seconds:
        return failed(
            f"removed after {days:g} days, and {longest}: its files would vanish before they are committed",
            "Raise DaysAfterInitiation (MinIO: `mc admin config set … api stale_uploads_expiry=168h`), or lower time_limit_seconds.",
        )
    return passed(f"removed after {days:g} days; {longest}")
