"""The wish that a Job end. It is kept at the Job itself, so that whoever sees the end knows why it came."""

from typing import Literal

from pydantic import AwareDatetime, ValidationError

from contracts.model import Tolerant
from launcher.kubernetes import names
from launcher.kubernetes.containers import Document


class EndWish(Tolerant):
    """Who ends a Job says as what it shall be told, and why."""

    outcome: Literal["killed", "image_unavailable"]
    reason: str
    at: AwareDatetime


def end_wish(job: Document) -> EndWish | None:
    """The wish at a Job, if there is one; one that cannot be read is the wish of somebody else, and none."""
    written = job["metadata"].get("annotations", {}).get(names.END_WISH)
    if written is None:
        return None
    try:
        return EndWish.model_validate_json(written)
    except ValidationError:
        return None
