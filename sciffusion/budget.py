"""A budget of minutes: what held-out losses, drawing and figures will take is kept back, training gets the rest.

The speed is measured during the first steps of training; from then on the run counts samples, so that it ends the same
however often it is stopped and resumed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

__all__ = ["Budget"]

_FIGURE_SECONDS = 20.0  # comparison, figures and files at the end
_DRAWING, _LEAST_DRAWN = 0.3, 16  # part of the budget that drawing may take by default, and the fewest samples
_PACE_STEPS = (3, 23)  # steps whose median time is the speed: the first ones warm caches up


@dataclass
class Budget:
    """Wall-clock of a run.

    Parameters
    ----------
    minutes : float
        For all of it.
    num : int, optional
        Samples to draw at the end, where they were asked for; by default one for each test sample, at most `most`.
    most : int
        Lowered by `reserve` where drawing as many would take too much of the budget.
    began : float
        When, by `time.monotonic`.

    Examples
    --------
    >>> budget = Budget(minutes=2.0)
    >>> budget.reserve(evaluations=5.1, draw=0.6, test=1000)  # 5.1 s, 60 draws of 0.6 s, 20 s
    61.1
    >>> budget.drawn(test=1000)
    60
    """

    minutes: float
    num: int | None = None
    most: int = 256
    began: float = field(default_factory=time.monotonic)

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self.began

    def drawn(self, test: int) -> int:
        """Samples to draw at the end, beside `test` held-out ones."""
        return min(self.most, test) if self.num is None else self.num

    def pace(self, seconds: Sequence[float]) -> float | None:
        """Return the seconds of a training step, once enough were measured; at the latest after a tenth of the time."""
        if len(seconds) < _PACE_STEPS[1] and sum(seconds) < 6 * self.minutes:
            return None
        return median(seconds[_PACE_STEPS[0] :] or seconds)

    def reserve(self, evaluations: float, draw: float, test: int) -> float:
        """Return the seconds to keep back: `evaluations`, drawing at `draw` seconds a sample, figures.

        Raises
        ------
        ValueError
            If hardly anything would be left to train in.
        """
        if draw > 0:
            self.most = max(_LEAST_DRAWN, min(self.most, int(_DRAWING * 60 * self.minutes / draw)))
        reserve = evaluations + draw * self.drawn(test) + min(_FIGURE_SECONDS, 12 * self.minutes)
        if reserve > 0.9 * 60 * self.minutes:
            raise ValueError(
                f"held-out losses, drawing and figures would take about {reserve / 60:.1f} of "
                f"the {self.minutes:g} minutes: give more minutes, or lower sampling.num or sampling.steps"
            )
        return reserve

    def steps(self, pace: float, reserve: float) -> int:
        """Return the training steps that the rest of the time allows, at least one."""
        return max(1, int((60 * self.minutes - self.elapsed - reserve) / pace))
