"""Does the pace hold in every span of time, and is a mail server that is away left alone, without anybody waiting?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.pacing import FEWEST_TO_SWEEP, Breaker, Pacer, retry_after

ROUNDING = 1e-6
RATES = st.floats(0.1, 2000)
SPANS = st.just(0.0) | st.floats(0, 2)
DOMAINS = st.sampled_from(["a.example", "b.example", "c.example"])


class Clock:
    """Shows the time that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Chance:
    """The middle, so that pauses are what they are on average."""

    def __call__(self) -> float:
        return 0.5


def assert_pace(times: Sequence[float], rate: float, burst_seconds: float) -> None:
    """No span of time has more than its part and the burst."""
    burst = max(1.0, rate * burst_seconds)
    for first, begin in enumerate(times):
        for last in range(first, len(times)):
            assert last - first + 1 <= burst + rate * (times[last] - begin) + ROUNDING


@given(RATES, RATES, st.floats(0, 1), st.lists(st.tuples(SPANS, DOMAINS, st.booleans()), max_size=60))
def test_pace(per_second: float, per_domain: float, burst_seconds: float, asked: list[tuple[float, str, bool]]) -> None:
    """Whenever mails are asked for, and whoever waits as long as told: neither all nor a domain's exceed their rate."""
    clock = Clock()
    pacer = Pacer(per_second, per_domain, clock=clock, burst_seconds=burst_seconds)
    taken: list[tuple[float, str]] = []
    for passed, domain, patient in asked:
        clock.now += passed
        delay = pacer.delay_of(domain)
        assert pacer.take(domain) == delay
        if delay and patient:
            clock.now += delay
            delay = pacer.take(domain)
            assert delay == 0
        if not delay:
            taken.append((clock.now, domain))
    assert_pace([time for time, _ in taken], per_second, burst_seconds)
    for each in {domain for _, domain in taken}:
        assert_pace([time for time, domain in taken if domain == each], per_domain, burst_seconds)


@given(st.floats(1, 2000), st.integers(1, 200))
def test_pace_is_reached(rate: float, mails: int) -> None:
    """Who always waits as long as told sends at the rate, no slower; it makes no difference how often they ask."""
    clock = Clock()
    pacer = Pacer(rate, math.inf, clock=clock)
    for _ in range(mails):
        while delay := pacer.take("a.example"):
            assert pacer.take("b.example") == delay
            clock.now += delay
    assert clock.now - 1000 <= mails / rate + ROUNDING


def test_slow_domain_holds_up_nobody() -> None:
    """While a domain has had its part, others go on, and what was not sent to it is not counted."""
    clock = Clock()
    pacer = Pacer(10, 1, clock=clock)
    assert pacer.take("slow.example") == 0
    clock.now += 0.1
    assert [pacer.take("slow.example") for _ in range(20)] == [pytest.approx(0.9)] * 20
    assert pacer.take("other.example") == 0
    assert pacer.delay_of("another.example") == pytest.approx(0.1)


@pytest.mark.parametrize("of_domain", [False, True])
def test_burst(*, of_domain: bool) -> None:
    """As much as a burst allows goes at once, and again after a pause, not more; one mail at least."""
    clock = Clock()

    def pacer(rate: float) -> Pacer:
        rates = (math.inf, rate) if of_domain else (rate, math.inf)
        return Pacer(*rates, clock=clock, burst_seconds=0.1)

    fast, slow = pacer(100), pacer(1)
    for _ in range(2):
        assert [fast.take("a.example") == 0 for _ in range(12)] == [True] * 10 + [False] * 2
        assert [slow.take("a.example") for _ in range(2)] == [0, 1]
        clock.now += 3600


def test_no_limit() -> None:
    """Without a limit no mail waits."""
    pacer = Pacer(math.inf, math.inf, clock=Clock())
    assert {pacer.take("a.example") for _ in range(1000)} == {0}


def test_many_domains() -> None:
    """Of a hundred thousand domains only those are remembered that were mailed to a moment ago; none goes too fast."""
    clock = Clock()
    pacer = Pacer(1000, 10, clock=clock)
    most = 0
    for number in range(100_000):
        assert pacer.take(f"{number}.example") == 0
        assert pacer.take(f"{number}.example") > 0
        most = max(most, len(pacer._domain_full_at))
        clock.now += 0.001
    assert most <= FEWEST_TO_SWEEP
    assert pacer.delay_of("99950.example") > 0


@pytest.mark.parametrize(("attempt", "minutes"), [(1, 1), (2, 5), (3, 15), (4, 60), (5, 240), (6, 240), (100, 240)])
def test_retries(attempt: int, minutes: float) -> None:
    """The pauses grow to some hours, spread over a quarter to either side."""
    assert retry_after(attempt, 0.5) == pytest.approx(60 * minutes)
    assert retry_after(attempt, 0.0) == pytest.approx(45 * minutes)
    assert retry_after(attempt, 0.999999) == pytest.approx(75 * minutes, rel=1e-3)
    assert retry_after(attempt, 0.5, base=0.001) == pytest.approx(0.001 * minutes)


def breaker_that_opened(clock: Clock) -> Breaker:
    """It opened just now, for a second."""
    breaker = Breaker(clock=clock, chance=Chance(), failures=3, pause=1, longest_pause=10, patience=60)
    for _ in range(3):
        assert breaker.allows()
        breaker.failed()
    return breaker


def test_breaker_opens() -> None:
    """Some failures in a row open it, not those between which there was a success."""
    clock = Clock()
    breaker = Breaker(clock=clock, chance=Chance(), failures=3, pause=1)
    for _ in range(10):
        breaker.failed()
        breaker.failed()
        assert (breaker.allows(), breaker.is_open, breaker.wait()) == (True, False, 0)
        breaker.succeeded()
    for _ in range(3):
        breaker.failed()
    assert (breaker.allows(), breaker.is_open, breaker.wait()) == (False, True, 1)


def test_breaker_lets_one_try() -> None:
    """After the pause one may try; while it does nobody else may. Its success lets all go on."""
    clock = Clock()
    breaker = breaker_that_opened(clock)
    clock.now += breaker.wait() - 0.001
    assert not breaker.allows()
    clock.now += 0.001
    assert [breaker.allows() for _ in range(20)] == [True] + [False] * 19
    clock.now += 30
    assert not breaker.allows()
    assert 0 < breaker.wait() <= 1
    breaker.succeeded()
    assert [breaker.allows() for _ in range(20)] == [True] * 20
    breaker.failed()
    assert breaker.allows()


def test_breaker_waits_longer_each_time() -> None:
    """Each trial that fails makes the pause twice as long, up to the longest; after a success it is short again."""
    clock = Clock()
    breaker = breaker_that_opened(clock)
    pauses = []
    for _ in range(7):
        pauses.append(breaker.wait())
        clock.now += breaker.wait()
        assert breaker.allows()
        breaker.failed()
    assert pauses == pytest.approx([1, 2, 4, 8, 10, 10, 10])
    breaker.succeeded()
    for _ in range(3):
        breaker.failed()
    assert breaker.wait() == pytest.approx(1)


def test_late_failures() -> None:
    """What had begun before it opened, and fails after, makes no pause longer."""
    clock = Clock()
    breaker = breaker_that_opened(clock)
    clock.now += 0.9
    for _ in range(20):
        breaker.failed()
    assert breaker.wait() == pytest.approx(0.1)


def test_trial_that_is_never_heard_of() -> None:
    """If who was allowed to try is gone, another one may after a while."""
    clock = Clock()
    breaker = breaker_that_opened(clock)
    clock.now += 1
    assert [breaker.allows(), breaker.allows()] == [True, False]
    clock.now += 59.9
    assert not breaker.allows()
    clock.now += 0.1
    assert [breaker.allows(), breaker.allows()] == [True, False]


@pytest.mark.parametrize(("chance", "pause"), [(0.0, 0.75), (0.999999, 1.25)])
def test_breakers_of_many_workers(chance: float, pause: float) -> None:
    """Pauses are spread, so that workers do not try all at once."""
    breaker = Breaker(clock=Clock(), chance=lambda: chance, failures=1, pause=1)
    breaker.failed()
    assert breaker.wait() == pytest.approx(pause, rel=1e-3)


@given(st.lists(st.sampled_from(["ask", "ask", "fail", "succeed"]) | st.floats(0, 20), max_size=100))
def test_never_two_trials(events: list[str | float]) -> None:
    """Whatever happens in whatever order, while it is open nobody else is allowed until the one has reported."""
    clock = Clock()
    breaker = Breaker(clock=clock, chance=Chance(), failures=2, longest_pause=8, patience=math.inf)
    trials = 0
    for event in events:
        if isinstance(event, float):
            clock.now += event
        elif event == "ask":
            was_open, wait = breaker.is_open, breaker.wait()
            allowed = breaker.allows()
            assert allowed or was_open
            if was_open:
                assert allowed is (wait == 0)
                trials += allowed
                assert trials <= 1
        else:
            breaker.failed() if event == "fail" else breaker.succeeded()
            trials = 0


def test_failures_of_many_at_once() -> None:
    """Of twenty connections that all fail, the trials come one by one, further and further apart."""
    clock = Clock()
    breaker = Breaker(clock=clock, chance=Chance(), failures=5, longest_pause=100)
    trials = []
    for _ in range(2000):
        trying = sum(breaker.allows() for _ in range(20))
        if breaker.is_open and trying:
            trials.append(clock.now)
            assert trying == 1
        for _ in range(trying):
            breaker.failed()
        clock.now += 0.25
    pauses = [later - earlier for earlier, later in pairwise(trials)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(100)
