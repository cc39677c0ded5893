"""When a store removes uploads that were begun and never finished."""

from collections.abc import Mapping, Sequence
from typing import Any

from stratum.preflight.finding import Finding, failed, passed, warned

MINIO_SECONDS = 86_400
"""What MinIO's `stale_uploads_expiry` is unless somebody set it; what it is now, only `mc admin` tells."""


def expiry_days(rules: Sequence[Mapping[str, Any]], prefix: str) -> float | None:
    """After how many days a rule gives up an upload under `prefix`; None: no rule does.

    Args:
        rules: of the bucket's lifecycle, as the S3 API gives them.
    """
    days = [
        float(rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"])
        for rule in rules
        if rule.get("Status") == "Enabled" and "AbortIncompleteMultipartUpload" in rule and _meets(_prefix_of(rule), prefix)
    ]
    return min(days, default=None)


def _prefix_of(rule: Mapping[str, Any]) -> str:
    chosen = rule.get("Filter", {})
    return str(chosen.get("Prefix") or chosen.get("And", {}).get("Prefix") or rule.get("Prefix") or "")


def _meets(rule: str, root: str) -> bool:
    return root.startswith(rule) or rule.startswith(root)


def judge_expiry(days: float | None, longest_seconds: int, *, is_minio: bool, is_local: bool) -> Finding:
    """Judge it against the longest run: its files are unfinished uploads until it commits.

    Args:
        days: what a rule of the bucket says.
        is_minio: the store removes them by a setting of its own, with no rule or besides.
    """
    longest = f"the longest run may take {longest_seconds / 3600:.3g} h"
    if days is not None and days * 86_400 <= longest_seconds:
        return failed(
            f"removed after {days:g} days, and {longest}: its files would vanish before they are committed",
            "Raise DaysAfterInitiation of the bucket's lifecycle rule, or lower time_limit_seconds.",
        )
    if is_minio:
        return _judge_minio(longest_seconds, longest)
    if days is None and is_local:
        return passed(f"never removed, on this machine that costs room only; {longest}")
    if days is None:
        return warned(
            "the store never removes unfinished uploads: those of killed runs are paid for without end, and no listing shows them",
            "Add a lifecycle rule AbortIncompleteMultipartUpload with DaysAfterInitiation 7 to the bucket.",
        )
    return passed(f"removed after {days:g} days; {longest}")


def _judge_minio(longest_seconds: int, longest: str) -> Finding:
    if longest_seconds >= MINIO_SECONDS:
        return warned(
            f"removed after MinIO's stale_uploads_expiry, which S3 does not tell; unset, it is 24 h, and {longest}",
            "Look: `mc admin config get ALIAS api`. If it is not longer: `mc admin config set ALIAS api stale_uploads_expiry=168h`.",
        )
    return passed(f"removed after MinIO's stale_uploads_expiry, which S3 does not tell; unset, it is 24 h; {longest}")
