"""Choose ports once, keep them, and choose anew only when someone else took one."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from stratum.local.errors import PortsExhausted

HOST = "127.0.0.1"
LOWEST_PORT = 15_000
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_DEFAULT_EPHEMERAL_START = 32_768

Progress = Callable[[str], None]


def settle_ports(known: Mapping[str, int], names: Iterable[str], progress: Progress) -> dict[str, int]:
    """A port for each of `names`, none of which is in use: the known one, or a new one.

    Call it only while the servers that own the known ports are down.
    """
    settled: dict[str, int] = {}
    for name in names:
        port = known.get(name)
        if port is None or not is_free(port):
            fresh = choose_port(avoid={*known.values(), *settled.values()})
            if port is not None:
                progress(f"port {port} of {name} is taken by another program: {fresh} from now on")
            port = fresh
        settled[name] = port
    return settled


def choose_port(avoid: set[int]) -> int:
    """A free port that no outgoing connection will be given.

    Below the range of ephemeral ports: a client that keeps trying to reach a dead local server could otherwise be given the
    server's own port as its source, connect to itself, and keep the server from ever coming back.
    """
    end = _ephemeral_start()
    if end <= LOWEST_PORT + 1_000:
        end = 65_536
    for port in random.sample(range(LOWEST_PORT, end), k=1_000):
        if port not in avoid and is_free(port):
            return port
    raise PortsExhausted(f"No free port was found between {LOWEST_PORT} and {end}.", "Stop some servers and try again.")


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` now."""
    with socket.socket() as probe:
        # Connections that are only waiting out their end do not hinder a server that starts.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def _ephemeral_start() -> int:
    if _EPHEMERAL_RANGE.exists():
        return int(_EPHEMERAL_RANGE.read_text().split()[0])
    return _DEFAULT_EPHEMERAL_START
