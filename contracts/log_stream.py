"""The stream that log lines go to."""

from contextlib import suppress
from typing import TextIO


class WhileItLasts:
    """A stream that may break: whoever reads our lines may end before us. The work goes on, and matters more than the line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, if the stream still takes it."""
        with suppress(OSError):
            return self._stream.write(text)
        return 0

    def flush(self) -> None:
        """Flush, if the stream still takes it."""
        with suppress(OSError):
            self._stream.flush()
