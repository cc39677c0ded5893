"""Whether images are named by digest, so that what was tested is what runs."""

from collections.abc import Collection

from contracts.images import is_pinned
from stratum.preflight.finding import Finding, passed, warned


def judge(images: Collection[str]) -> Finding:
    """Judge the images of the catalog's actions."""
    movable = sorted(image for image in images if not is_pinned(image))
    if movable:
        return warned(
            f"not named by digest: {', '.join(movable)}; another image may come under the same name",
            "Name them as name@sha256:… in the catalog (the chart: `images.spark.digest`), then set `runs.requireImageDigest`.",
        )
    return passed(f"{len(images)} named by digest")
