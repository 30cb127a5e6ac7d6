"""When may the next mail go: by the pace that is set, after a mail server said "later", and after it was away?

Nothing here waits or looks at the time by itself: clock and chance are given. It counts the mails of one process.
"""

from __future__ import annotations

from collections.abc import Callable

# In units of the first pause; servers that greylist want a few minutes, a full mailbox takes hours (RFC 5321, 4.5.4.1).
PAUSES = (1, 5, 15, 60, 240)
FEWEST_TO_SWEEP = 1024
NO_TIME = 1e-9  # what rounding leaves of a delay that has been waited for


class Pacer:
    """At most so many mails a second, of all and of each domain, in any span of time: rate * seconds + burst.

    It is the generic cell rate algorithm: a bucket is one number, the time at which it is full again. A bucket that is
    full is like none, so that only domains that were mailed to a moment ago are kept.
    """

    def __init__(
        self, per_second: float, per_domain: float, *, clock: Callable[[], float], burst_seconds: float = 0.1
    ) -> None:
        """The rates are mails a second, `math.inf` for no limit; the clock's unit is seconds.

        A burst is what may go in so many seconds, and one mail at least.
        """
        self._clock = clock
        self._interval = 1 / per_second
        self._domain_interval = 1 / per_domain
        self._burst_seconds = burst_seconds
        self._full_at = 0.0
        self._domain_full_at: dict[str, float] = {}
        self._sweep_at = FEWEST_TO_SWEEP

    def delay_of(self, domain: str) -> float:
        """Seconds until a mail to the domain may go; 0 for now."""
        return self._delay_of(domain, self._clock())

    def take(self, domain: str) -> float:
        """0, and the mail counts as sent; or the seconds until it may go, and nothing is counted."""
        now = self._clock()
        delay = self._delay_of(domain, now)
        if delay == 0:
            self._full_at = max(self._full_at, now) + self._interval
            self._domain_full_at[domain] = max(self._domain_full_at.get(domain, now), now) + self._domain_interval
            if len(self._domain_full_at) >= self._sweep_at:
                self._sweep(now)
        return delay

    def _delay_of(self, domain: str, now: float) -> float:
        delay = self._full_at - max(0.0, self._burst_seconds - self._interval) - now
        full_at = self._domain_full_at.get(domain)
        if full_at is not None:
            delay = max(delay, full_at - max(0.0, self._burst_seconds - self._domain_interval) - now)
        return delay if delay > NO_TIME else 0.0

    def _sweep(self, now: float) -> None:
        self._domain_full_at = {domain: full_at for domain, full_at in self._domain_full_at.items() if full_at > now}
        self._sweep_at = max(FEWEST_TO_SWEEP, 2 * len(self._domain_full_at))


def retry_after(attempt: int, chance: float, *, base: float = 60) -> float:
    """Seconds until a mail that was not taken for now is tried again: about 1, 5, 15 minutes, 1 hour, then 4 hours.

    `attempt`: how many there were (1 and more). `chance`: in [0, 1), it spreads mails over a quarter to either side.
    """
    return base * PAUSES[min(attempt, len(PAUSES)) - 1] * (0.75 + chance / 2)


class Breaker:
    """Keeps many connections from trying a server that is away: after some failures in a row, one at a time does.

    Who is allowed says how it went (`failed`, `succeeded`). Until then, nobody else is allowed while the breaker is
    open, but for `patience` seconds at the most: who was allowed may be gone. To be ready is no success yet.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        chance: Callable[[], float],
        failures: int = 5,
        pause: float = 1,
        longest_pause: float = 300,
        patience: float = 300,
    ) -> None:
        """`failures` in a row open it, for `pause` seconds, then twice as long each time; `chance` is in [0, 1)."""
        self._clock = clock
        self._chance = chance
        self._failures = failures
        self._pause = pause
        self._longest_pause = longest_pause
        self._patience = patience
        self._failed = 0
        self._pauses = 0
        # None: closed. Else the time from which one may try.
        self._next_try_at: float | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        return self._next_try_at is not None

    def allows(self) -> bool:
        """Whether to try now; True while it is open is for this caller alone."""
        if self._next_try_at is None:
            return True
        now = self._clock()
        if now < self._next_try_at:
            return False
        self._probing = True
        self._next_try_at = now + self._patience
        return True

    def wait(self) -> float:
        """Seconds after which it is worth asking again; 0 while it is closed."""
        if self._next_try_at is None:
            return 0.0
        left = max(0.0, self._next_try_at - self._clock())
        return min(left, self._pause) if self._probing else left

    def failed(self) -> None:
        self._failed += 1
        if self._failed < self._failures or (self.is_open and not self._probing):
            # Those that had begun before it opened fail too, which makes the pause no longer.
            return
        length = min(self._longest_pause, self._pause * 2 ** min(self._pauses, 30))
        self._pauses += 1
        self._probing = False
        self._next_try_at = self._clock() + length * (0.75 + self._chance() / 2)

    def succeeded(self) -> None:
        self._failed = self._pauses = 0
        self._next_try_at = None
