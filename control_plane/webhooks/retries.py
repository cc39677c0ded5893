"""What follows from an answer: done, again later, or never."""

from dataclasses import dataclass

from control_plane.webhooks.sending import Answer

GONE = 410


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has it."""


@dataclass(frozen=True, slots=True)
class Again:
    """To be tried again after so many seconds."""

    delay_seconds: float


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Not to be tried again, for a reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Schedule:
    """Seconds before the second attempt, doubled with each further one up to the longest, until so long after the first."""

    first: float
    longest: float
    give_up_after: float

    def following(self, answer: Answer, attempts: int, tried_seconds: float, luck: float) -> Delivered | Again | GivenUp:
        """Judge the answer to attempt number `attempts`. `luck`, between 0 and 1, spreads those that failed together."""
        if answer.failure is None:
            return Delivered()
        if answer.status == GONE:
            return GivenUp(f"{answer.failure} (Gone): nobody wants this any more")
        delay = min(self.longest, self.first * 2.0 ** min(attempts - 1, 60)) * (0.5 + luck / 2)
        if answer.retry_after is not None:  # sooner than planned is never asked for, and later only within bounds
            delay = max(delay, min(answer.retry_after, self.longest))
        if tried_seconds + delay > self.give_up_after:
            return GivenUp(f"tried {attempts} times in {tried_seconds:.0f} s: {answer.failure}")
        return Again(delay)
