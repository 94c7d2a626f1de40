"""How a budget of minutes is divided; signals that end a run with its state saved."""

import signal
import threading
import time

import pytest

from sciffusion.budget import Budget
from sciffusion.stopping import Interrupted, Stopping


def test_one_sample_for_each_test_sample_as_long_as_drawing_is_cheap():
    budget = Budget(minutes=10)
    reserve = budget.reserve(evaluations=1.0, draw=0.06, test=100)
    assert budget.drawn(100) == 100
    assert reserve == pytest.approx(0.001 * (1000 + 60 * 100) + 20)
    assert budget.drawn(5000) == 256


def test_dear_samples_are_drawn_for_thirty_percent_of_the_time_and_no_fewer_than_sixteen():
    budget = Budget(minutes=10)
    budget.reserve(evaluations=0.0, draw=3.0, test=1000)
    assert budget.drawn(1000) == 60  # 180 s of 3 s each
    budget.reserve(evaluations=0.0, draw=15.0, test=1000)
    assert budget.drawn(1000) == 16
    assert budget.drawn(7) == 7


def test_what_was_asked_for_is_drawn_or_refused():
    assert Budget(minutes=10, num=500).drawn(7) == 500
    with pytest.raises(ValueError, match=r"drawing and figures would take about 50.3 of the 10 minutes: give more"):
        Budget(minutes=10, num=500).reserve(evaluations=0.0, draw=6.0, test=7)


def test_the_pace_is_the_median_of_steps_after_the_first_ones():
    budget = Budget(minutes=10)
    assert budget.pace([1.0] * 22) is None
    assert budget.pace([9.0] * 3 + [1.0] * 19 + [5.0]) == 1.0
    assert budget.pace([61.0]) == 61.0  # a tenth of the time is over


def test_the_rest_of_the_time_is_for_training():
    budget = Budget(minutes=10, began=time.monotonic() - 100)
    assert budget.steps(pace=1.0, reserve=300.0) in (199, 200)
    assert budget.steps(pace=1.0, reserve=600.0) == 1


def test_a_signal_ends_at_once_unless_it_is_polled():
    stopping = Stopping("sciffusion-train --resume")
    before = signal.getsignal(signal.SIGTERM)
    with stopping.watching():
        with stopping.polled():
            signal.raise_signal(signal.SIGTERM)
        assert stopping.asked
        with pytest.raises(Interrupted, match=r"outside of training.*\n  sciffusion-train --resume"):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def test_another_thread_watches_for_nothing():
    seen = []

    def work():
        with Stopping("").watching():
            seen.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
