"""The wire does what it says: a fault that was not there would prove nothing."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.chaos.network import Network
from tests.chaos.traps import http_answer
from tests.chaos.wire import Wire


@pytest.fixture
def echo() -> Iterator[str]:
    """A server that sends back what it is sent."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                while part := connection.recv(65536):
                    connection.sendall(part)
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


@pytest.fixture
def wire(echo: str) -> Iterator[Wire]:
    with Network.running() as network:
        yield network.wire("echo", echo)


def call(wire: Wire, data: bytes = b"hello", timeout: float = 5) -> bytes:
    """Send, and read as much back; what came before the end if it ends early."""
    got = b""
    with socket.create_connection(("127.0.0.1", wire.port), timeout=timeout) as connection:
        connection.sendall(data)
        while len(got) < len(data):
            part = connection.recv(65536)
            if not part:
                return got
            got += part
    return got


def test_a_whole_wire_passes_all_on_and_counts(wire: Wire) -> None:
    data = b"x" * 300_000
    assert call(wire, data) == data
    assert (wire.counters.connections, wire.counters.sent, wire.counters.answered) == (1, len(data), len(data))


def test_refused_and_healed(wire: Wire) -> None:
    wire.refuse()
    with pytest.raises(ConnectionRefusedError):
        call(wire)
    wire.heal()
    assert call(wire) == b"hello"


def test_cut_resets_what_is_open(wire: Wire) -> None:
    with socket.create_connection(("127.0.0.1", wire.port), timeout=5) as connection:
        connection.sendall(b"a")
        assert connection.recv(1) == b"a"
        wire.cut()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert wire.counters.cut == 1
    assert call(wire) == b"hello"


def test_a_black_hole_takes_all_and_says_nothing(wire: Wire) -> None:
    wire.black_hole()
    with pytest.raises(TimeoutError):
        call(wire, timeout=0.3)
    assert (wire.counters.swallowed, wire.counters.answered) == (5, 0)


def test_lost_answers(wire: Wire) -> None:
    wire.lose_answers()
    with pytest.raises(TimeoutError):
        call(wire, timeout=0.3)
    assert (wire.counters.sent, wire.counters.swallowed) == (5, 5)


def test_delay_and_throttle(wire: Wire) -> None:
    wire.delay(0.15)
    begin = time.monotonic()
    assert call(wire) == b"hello"
    assert time.monotonic() - begin >= 0.3
    wire.heal()
    wire.throttle(100_000)
    begin = time.monotonic()
    call(wire, b"x" * 30_000)
    assert time.monotonic() - begin >= 0.3


def test_cut_after_so_many_bytes(wire: Wire) -> None:
    wire.cut_after(3)
    with pytest.raises(ConnectionResetError):
        call(wire)
    assert wire.counters.cut == 1
    assert wire.counters.answered <= 3


def test_a_trap_holds_the_bytes_back_until_its_act_is_done(wire: Wire) -> None:
    acts: list[int] = []
    trap = wire.trap(b"COM+IT", then=lambda: acts.append(wire.counters.sent))
    assert call(wire, b"BEGIN; COMMIT;") == b"BEGIN; COMMIT;"
    assert (trap.sprung, acts) == (1, [0])
    assert call(wire, b"COMMIT;") == b"COMMIT;", "one time only"


def test_a_trap_over_two_pieces(wire: Wire) -> None:
    trap = wire.trap(b"COMMIT", "cut")
    with socket.create_connection(("127.0.0.1", wire.port), timeout=5) as connection:
        connection.sendall(b"COM")
        assert connection.recv(3) == b"COM"
        connection.sendall(b"MIT")
        with pytest.raises(ConnectionResetError):
            connection.recv(3)
    assert trap.sprung == 1


def test_a_trap_that_loses_the_answer(wire: Wire) -> None:
    trap = wire.trap(b"COMMIT", "lose_answer")
    with pytest.raises(ConnectionResetError):
        call(wire, b"COMMIT")
    assert (trap.sprung, wire.counters.sent, wire.counters.answered) == (1, 6, 0)


def test_a_trap_that_answers_itself(wire: Wire) -> None:
    wire.trap(b"PUT /", answer=http_answer(507, "Insufficient Storage"))
    with socket.create_connection(("127.0.0.1", wire.port), timeout=5) as connection:
        connection.sendall(b"PUT /x HTTP/1.1\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 507 Insufficient Storage\r\n")
    assert wire.counters.sent == 0


async def test_it_can_be_used_inside_an_event_loop(wire: Wire) -> None:
    assert await asyncio.to_thread(call, wire) == b"hello"
    wire.refuse()
    wire.heal()
