"""Who is killed, or asked to end, and when: every victim by either signal in turn, each round in an order that the seed gives."""

import asyncio
import random
import signal
from collections import Counter
from dataclasses import dataclass, field

import psutil

from benchmarks.pauses import pause
from tests.e2e.platform import Platform

PARTS = ("api", "relay", "reconcile", "webhooks", "launcher", "postgres", "kafka", "s3")
DRIVER = "driver"
"""A victim too: the JVM of a run, as soon as there is one."""
ROUND = tuple((victim, sent) for victim in (*PARTS, DRIVER) for sent in (signal.SIGKILL, signal.SIGTERM))


@dataclass
class Strikes:
    """`done`: how often each victim was sent each signal. `round_over`: all of them were, once at least."""

    platform: Platform
    chance: random.Random
    every: float
    done: Counter[str] = field(default_factory=Counter)
    round_over: asyncio.Event = field(default_factory=asyncio.Event)

    async def strike(self, stop: asyncio.Event) -> None:
        """One strike after another until stopped, `every` so many seconds on average."""
        while not stop.is_set():
            for victim, sent in self.chance.sample(ROUND, len(ROUND)):
                if await pause(stop, self.every * (0.5 + self.chance.random())):
                    return
                if await self._hit(victim, sent, stop):
                    self.done[_name(victim, sent)] += 1
            if not self.spared():
                self.round_over.set()

    async def _hit(self, victim: str, sent: signal.Signals, stop: asyncio.Event) -> bool:
        """Send it once the platform is whole and the victim is there; false when it was stopped before."""
        pids = (await asyncio.to_thread(self.platform.up))["pids"]
        while True:
            try:
                found = await asyncio.to_thread(self.platform.drivers) if victim == DRIVER else [psutil.Process(pids[victim])]
                if found:
                    found[0].send_signal(sent)
                    return True
            except psutil.NoSuchProcess:  # it has ended by itself; the supervisor starts a part again
                pids = (await asyncio.to_thread(self.platform.up))["pids"]
            if await pause(stop, 0.5):
                return False

    def spared(self) -> list[str]:
        """Who was never sent what."""
        return [_name(*blow) for blow in ROUND if not self.done[_name(*blow)]]


def _name(victim: str, sent: signal.Signals) -> str:
    return f"{victim} {sent.name}"
