"""Things done every so often."""

import time


class Every:
    """Due at once, then each `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due = float("-inf")

    def now(self) -> bool:
        """Whether it is due; if so, the next time is counted from now."""
        if time.monotonic() < self._due:
            return False
        self._due = time.monotonic() + self._seconds
        return True
