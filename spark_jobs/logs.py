"""The job's log: JSON lines on standard error."""

import logging
import sys
from contextlib import suppress
from typing import TextIO, cast

import structlog


class _WhileItLasts:
    """A stream that may break. Under `spark-submit` the JVM passes our lines on, and it may die before us: what is left to
    do then, above all the report of the failure, matters more than the line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, if the stream still takes it."""
        with suppress(BrokenPipeError):
            return self._stream.write(text)
        return 0

    def flush(self) -> None:
        """Flush, if the stream still takes it."""
        with suppress(BrokenPipeError):
            self._stream.flush()


def log_as_json() -> None:
    """Set up logging for this process."""
    stream = cast(TextIO, _WhileItLasts(sys.stderr))
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(stream),
    )
    logging.basicConfig(level=logging.WARNING, stream=stream)
    # PySpark logs each failed query with its whole plan; what it was is told once, by `failure.describe`.
    logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)
