"""What tests reserve, and how they see what is reserved."""

import time
from collections.abc import Callable

from ratelimiterd import Limiter, Options, RepeatPolicy, Wants

QUICK = Options(request_timeout=1.0, repeat=RepeatPolicy(first_pause=0.01, pause_max=0.05, give_up_after=5.0))

DefineLimit = Callable[..., str]


class Call:
    """A call with its own limits: it takes 10 of 100 tokens and one of two slots."""

    def __init__(self, define: DefineLimit) -> None:
        self.tokens = define("rolling", 100)
        self.slots = define("concurrency", 2)

    def wants(self, tenant: str | None) -> Wants:
        return Wants({self.tokens: 10, self.slots: 1}, (self.tokens,))

    def reserved(self, limiter: Limiter) -> tuple[int, int]:
        """The tokens and the slots that are reserved."""
        return reserved(limiter, self.tokens), reserved(limiter, self.slots)


def reserved(limiter: Limiter, key: str) -> int:
    """How much of a limit is reserved."""
    usage = limiter.usage(key)
    assert usage is not None
    return usage.reserved


def until(condition: Callable[[], bool]) -> None:
    """Waits for what happens elsewhere."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.005)
