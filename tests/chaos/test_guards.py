"""Each guard is needed: with it the oracle has nothing to say, and without it the same situation is condemned."""

import asyncio
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from confluent_kafka import Producer

from contracts.event import LauncherEvent
from launcher.consuming import MessageLoop, Subscription
from launcher.publishing import Publisher
from tests.chaos.controls import CONTROLS
from tests.chaos.guards import GUARDS
from tests.chaos.stage import staged
from tests.control_plane.installation import Installation, prepare_topics
from tests.control_plane.waiting import eventually
from tests.figures import report

SMOKE = "a second pod"


def _rows() -> list[object]:
    return [pytest.param(name, marks=[] if name == SMOKE else [pytest.mark.slow], id=name) for name in CONTROLS]


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTROLS)
async def test_with_its_guard_the_situation_does_no_harm(name: str, empty: Installation, tmp_path: Path) -> None:
    control = CONTROLS[name]
    async with staged(empty, tmp_path, in_threads=True) as stage:
        ids = await control.body(stage)
        assert await stage.verdict(ids, once=control.once) == []


@pytest.mark.parametrize("name", _rows())
async def test_without_its_guard_the_oracle_condemns_it(name: str, empty: Installation, tmp_path: Path) -> None:
    control = CONTROLS[name]
    with ExitStack() as stack:
        for guard in control.guards:
            stack.enter_context(GUARDS[guard].out())
        async with staged(empty, tmp_path, in_threads=True) as stage:
            ids = await control.body(stage)

            async def condemned() -> str | None:
                problems = await stage.verdict(ids, 1, once=control.once)
                return next((problem for problem in problems if control.condemned in problem), None)

            problem = await eventually(condemned, control.patience, f"{control.condemned!r} from the oracle")
            report(f"without its guard: {name}", f"{problem}")


class _Killed(BaseException):
    """The launcher's death, as the loop sees it: nothing after it is done."""


@pytest.mark.parametrize("guarded", [True, False])
async def test_a_launcher_that_dies_in_the_middle_of_a_message(guarded: bool, empty: Installation) -> None:
    await asyncio.to_thread(prepare_topics, empty)
    topics, kafka = empty.kafka.topics, {"bootstrap.servers": empty.kafka_bootstrap}
    producer = Producer(kafka)
    producer.produce(topics.commands, b"work", b"key")
    assert await asyncio.to_thread(producer.flush, 20) == 0
    taken: list[bytes] = []
    stop = threading.Event()

    def dies(value: bytes, read_at: float) -> Sequence[LauncherEvent]:
        raise _Killed

    def takes(value: bytes, read_at: float) -> Sequence[LauncherEvent]:
        taken.append(value)
        stop.set()
        return []

    def run(handle: object) -> None:
        subscription = Subscription(kafka, topics, topics.commands, f"{topics.prefix}.submit", "here")
        with suppress(_Killed):
            MessageLoop(subscription, handle, Publisher(kafka, topics.events)).run(stop)  # type: ignore[arg-type]

    with ExitStack() as stack:
        if not guarded:
            stack.enter_context(GUARDS["an offset is stored after the effect"].out())
        await asyncio.to_thread(run, dies)
        # a second message: when it is taken, the first one has been, or never will be
        producer.produce(topics.commands, b"more", b"key")
        assert await asyncio.to_thread(producer.flush, 20) == 0
        await asyncio.wait_for(asyncio.to_thread(run, takes), 60)
    assert taken[:1] == ([b"work"] if guarded else [b"more"])
