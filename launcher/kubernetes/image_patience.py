"""How long an image is waited for that cannot be had."""

import time

from launcher.kubernetes.containers import Document
from launcher.kubernetes.mirror import JobKey
from launcher.kubernetes.reasons import ImageTrouble, image_trouble


class ImagePatience:
    """Counts from the first trouble that was seen of a pod, not from when it was placed: a volume, or a slow pull, may have taken long."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[JobKey, tuple[str, float]] = {}

    def used_up_by(self, key: JobKey, pod: Document | None) -> ImageTrouble | None:
        """The trouble with an image of the Job's pod, once it has lasted for too long."""
        trouble = image_trouble(pod) if pod else None
        if pod is None or trouble is None:
            self.forget(key)
            return None
        uid, now = pod["metadata"]["uid"], time.monotonic()
        if self._since.get(key, ("",))[0] != uid:
            self._since[key] = uid, now
        return trouble if now - self._since[key][1] >= self._seconds else None

    def forget(self, key: JobKey) -> None:
        """The Job is gone, or waits for no image."""
        self._since.pop(key, None)
