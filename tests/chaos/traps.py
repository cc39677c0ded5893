"""What happens to one connection: its weather, its traps, and what was counted of it."""

import asyncio
import re
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["pass", "cut", "lose_answer"]


@dataclass
class Trap:
    """Waits for bytes on their way to the server.

    Once they come, `then` is called while they are held back, and they are passed on (`pass`), lost with their connection (`cut`), or
    passed on so that only the server's answer is lost with the connection (`lose_answer`; `then` is called once the answer is there).
    `answer`: bytes that are sent back in the server's place, before the connection is closed. `taken`: how often the bytes came;
    `sprung`: how often all that follows was done.
    """

    pattern: re.Pattern[bytes]
    verdict: Verdict
    then: Callable[[], None] | None
    answer: bytes | None
    times: int
    taken: int = 0
    sprung: int = 0

    @property
    def is_armed(self) -> bool:
        return self.taken < self.times


@dataclass
class Counters:
    """What went through a wire, and what was done to it. `cut_short`: of those cut, the ones that were in the middle of a message."""

    connections: int = 0
    refused: int = 0
    cut: int = 0
    cut_short: int = 0
    delayed: int = 0
    sent: int = 0
    answered: int = 0
    swallowed: int = 0


@dataclass
class Weather:
    """What the wire does to every connection."""

    refuses: bool = False
    swallows: bool = False
    loses_answers: bool = False
    delay_seconds: float = 0
    bytes_per_second: float = 0
    cut_after: int | None = None


@dataclass(eq=False)
class Line:
    """One connection: the caller's side and the server's."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter | None = None
    carried: int = 0
    awaited: Trap | None = None

    def abort(self) -> None:
        """Reset both sides, whatever is under way."""
        for writer in (self.near, self.far):
            if writer is not None and not writer.transport.is_closing():
                # without a linger of zero it would be a polite end, not a reset
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()


def http_answer(status: int, reason: str, body: bytes = b"", **headers: str) -> bytes:
    """A whole HTTP answer that ends its connection."""
    lines = [f"HTTP/1.1 {status} {reason}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
