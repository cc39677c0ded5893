"""Turns go round among those who want them, and waiting has its limits."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from control_plane.errors import Busy
from control_plane.turns import Room, Turns

ROOM = Room(of_one=3, of_all=5, refusal="full")


async def test_a_keys_second_waits_behind_anothers_first() -> None:
    turns, order = Turns(at_once=1, of_one=1), []

    async def work(key: str) -> None:
        async with turns.turn(key):
            order.append(key)
            await asyncio.sleep(0)

    await asyncio.gather(*(work(key) for key in "aaaabbc"))
    assert order == list("abcabaa")


async def test_no_more_at_once_than_may_be() -> None:
    turns, there, seen = Turns(at_once=3, of_one=2), [], []

    async def work(key: str) -> None:
        async with turns.turn(key):
            there.append(key)
            seen.append((len(there), there.count("a")))
            await asyncio.sleep(0)
            there.remove(key)

    await asyncio.gather(*(work(key) for key in "aaaaabbcc"))
    assert (max(all_ for all_, _ in seen), max(own for _, own in seen)) == (3, 2)


async def test_who_finds_no_room_is_told_at_once_and_the_others_have_theirs() -> None:
    turns = Turns(at_once=9, of_one=9, room=ROOM)
    async with AsyncExitStack() as held:
        for _ in range(3):
            await held.enter_async_context(turns.turn("a"))
        with pytest.raises(Busy) as refused:
            await held.enter_async_context(turns.turn("a"))
        assert (refused.value.status, refused.value.retry_after) == (503, 1)
        await held.enter_async_context(turns.turn("b"))
        with pytest.raises(Busy):
            await held.enter_async_context(turns.turn("b", room_of_one=1))
        await held.enter_async_context(turns.turn("c"))
        with pytest.raises(Busy):
            await held.enter_async_context(turns.turn("d"))
    async with turns.turn("a", weight=3), turns.turn("b", weight=2):
        pass
    assert not turns._there


async def test_what_is_larger_than_the_room_is_taken_when_it_is_alone() -> None:
    turns = Turns(at_once=9, of_one=9, room=ROOM)
    async with turns.turn("a", weight=100):
        with pytest.raises(Busy):
            async with turns.turn("a"):
                pass
    async with turns.turn("a", weight=3):
        with pytest.raises(Busy):
            async with turns.turn("a", weight=1):
                pass


async def test_who_is_cancelled_while_waiting_leaves_nothing() -> None:
    turns = Turns(at_once=1, of_one=1, room=ROOM)
    async with turns.turn("a"):
        waiting = asyncio.create_task(turns.turn("a").__aenter__())
        await asyncio.sleep(0)
        assert turns._there["a"] == 2
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert not turns._there
    async with turns.turn("a"):
        pass
