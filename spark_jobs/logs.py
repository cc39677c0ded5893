"""The job's log: JSON lines on standard error."""

import logging
import sys
from typing import TextIO, cast

import structlog

from contracts.log_stream import WhileItLasts


def log_as_json() -> None:
    """Set up logging for this process."""
    # under `spark-submit` the JVM passes our lines on, and it may die before we have reported why
    stream = cast(TextIO, WhileItLasts(sys.stderr))
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
