"""A stream that nobody reads any more takes no work down with it."""

import os

import pytest
import structlog

from contracts.log_stream import WhileItLasts


def test_a_broken_pipe_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    broken = os.fdopen(writing, "w", buffering=1)
    with pytest.raises(BrokenPipeError):
        print("a line", file=broken)
    logger = structlog.PrintLogger(WhileItLasts(broken))  # type: ignore[arg-type]
    logger.info("a line")
    with pytest.raises(BrokenPipeError):
        broken.close()
