"""The same world with several at work at once, each doing anything. A failure's name has its seed; `STRATUM_MODEL_SEEDS` adds more."""

import asyncio
import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.control_plane.model.conftest import Stage
from tests.control_plane.model.world import CLOCKS, ERRORS, OUTCOMES, REFUSALS, World

SEEDS = int(os.environ.get("STRATUM_MODEL_SEEDS", "3"))
KNOWN = (4, 10)
"""Seeds that found something: a token of the next attempt, a command whose token was over."""
WORKERS, STEPS = 6, 40

Arguments = Callable[[random.Random], tuple[Any, ...]]


def _pick(luck: random.Random) -> int:
    return luck.randrange(6)


def _flag(luck: random.Random) -> bool:
    return luck.random() < 0.5


# how often, what, with what
DEEDS: list[tuple[int, str, Arguments]] = [
    (2, "submit", lambda luck: (luck.randrange(3), luck.randrange(2))),
    (1, "cancel", lambda luck: (_pick(luck),)),
    (1, "retry", lambda luck: (_pick(luck),)),
    (3, "release", lambda luck: (luck.randrange(1, 4),)),
    (3, "publish", lambda luck: (_flag(luck),)),
    (4, "launch", lambda luck: (_pick(luck),)),
    (1, "refuse", lambda luck: (_pick(luck), luck.choice(REFUSALS))),
    (1, "wait", lambda luck: (_pick(luck), _flag(luck))),
    (2, "end_job", lambda luck: (_pick(luck), luck.choice(OUTCOMES))),
    (2, "answer_cancel", lambda luck: (_pick(luck),)),
    (2, "relist", lambda luck: (luck.random() < 0.2,)),
    (6, "hear", lambda luck: (_pick(luck), _flag(luck))),
    (5, "start", lambda luck: (_pick(luck),)),
    (3, "heartbeat", lambda luck: (_pick(luck), _flag(luck))),
    (1, "propose", lambda luck: (_pick(luck),)),
    (4, "finish", lambda luck: (_pick(luck), luck.random() < 0.8)),
    (1, "fail", lambda luck: (_pick(luck), luck.choice(ERRORS), _flag(luck))),
    (2, "pass_time", lambda luck: (luck.choice(CLOCKS),)),
    (2, "deadlines", lambda luck: ()),
    (3, "seal", lambda luck: ()),
    (1, "die_sealing", lambda luck: ()),
]


async def _work(world: World, luck: random.Random) -> None:
    for _ in range(STEPS):
        (deed,) = luck.choices(DEEDS, [often for often, *_ in DEEDS])
        await getattr(world, deed[1])(*deed[2](luck))


async def _look(world: World, workers: "list[asyncio.Task[None]]") -> None:
    while not all(worker.done() for worker in workers):
        await world.oracle.check()
        await asyncio.sleep(0)


async def _play(stage: Stage, seed: int) -> None:
    world = await stage.fresh()
    luck = random.Random(seed)
    async with asyncio.timeout(240), asyncio.TaskGroup() as tasks:
        workers = [tasks.create_task(_work(world, random.Random(luck.random()))) for _ in range(WORKERS)]
        tasks.create_task(_look(world, workers))
    await world.settle()


@pytest.mark.parametrize("seed", sorted({*range(SEEDS), *KNOWN}))
def test_several_at_once(seed: int, stage: Stage) -> None:
    stage.run(_play(stage, seed))
