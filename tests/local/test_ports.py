"""Ports are kept, and given up only to somebody else."""

import socket
from pathlib import Path

from stratum.local.ports import HOST, choose_port, is_free, settle_ports

EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def test_a_free_port_is_kept() -> None:
    port = choose_port(avoid=set())
    told: list[str] = []
    assert settle_ports({"api": port}, ["api"], told.append) == {"api": port}
    assert told == []


def test_a_taken_port_is_replaced_and_said() -> None:
    port = choose_port(avoid=set())
    told: list[str] = []
    with socket.socket() as other:
        other.bind((HOST, port))
        other.listen(1)
        assert not is_free(port)
        settled = settle_ports({"api": port}, ["api"], told.append)
    assert settled["api"] != port
    assert told == [f"port {port} of api is taken by another program: {settled['api']} from now on"]


def test_ports_are_distinct_and_out_of_the_way_of_outgoing_connections() -> None:
    ports = settle_ports({}, [str(number) for number in range(50)], print).values()
    assert len(set(ports)) == 50
    assert max(ports) < int(EPHEMERAL_RANGE.read_text().split()[0])
