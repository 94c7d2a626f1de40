r"""A smooth curve through spectra that lines and bad pixels do not pull: medians in windows, joined by local lines.

Knots lie a quarter of a window apart. The median of the good pixels of a window stands at the median of their places,
so that a straight line is met exactly whatever the mask and the grid; windows are cut at the ends of the spectrum. At a
knot the curve is the weighted straight line through the medians around it (Cleveland 1979, J. Am. Stat. Assoc. 74,
829), and between knots a straight line. Three times the same is done with what is left over (Tukey 1977, Exploratory
Data Analysis, section 16), pixels farther from the curve than 3 σ left out: this takes away the bias of bent curves and
the pull of lines.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["RunningMedian"]

_KNOTS = 4
"""Knots in the width of a window."""
_REACH = 1.0
"""How far from a knot medians count, with weights that fall to zero there [width of a window]."""
_LEAST_SPREAD = 1e-3
"""Square of the spread of places below which they tell no slope [width of a window]."""
_CLIP = 3.0
_SIGMA = 1.4826
"""Standard deviation of a Gaussian over the median of its absolute values."""
_ROUNDS = 3


@dataclass(frozen=True)
class RunningMedian:
    """Windows on the pixels of a grid, which may be uneven.

    Attributes
    ----------
    place : ndarray (pixel,)
        Rising.
    width : float
        Of the windows, in units of `place`.
    knots : ndarray (knot,)
        From the first to the last pixel.
    start, stop : ndarray of int (knot,)
        Pixels of the windows.
    """

    place: np.ndarray
    width: float
    knots: np.ndarray
    start: np.ndarray
    stop: np.ndarray

    @classmethod
    def of(cls, place: np.ndarray, width: float) -> RunningMedian:
        """Lay the windows."""
        count = max(int(np.ceil(_KNOTS * (place[-1] - place[0]) / width)), _KNOTS) + 1
        knots = np.linspace(place[0], place[-1], count)
        half = 0.5 * width * (1 + 1e-9)
        return cls(
            place, width, knots, np.searchsorted(place, knots - half), np.searchsorted(place, knots + half, "right")
        )

    def curve(self, values: np.ndarray, good: np.ndarray) -> np.ndarray:
        """Return the curves through spectra.

        Parameters
        ----------
        values : ndarray (sample, pixel)
        good : ndarray of bool (sample, pixel)

        Returns
        -------
        ndarray (sample, pixel)
            nan where no good pixel is within a quarter of a window.
        """
        # less a constant, which is then met exactly
        pivot = _middle(np.sort(np.where(good, values, np.inf), axis=1), good.sum(axis=1))[:, None]
        left = values - pivot
        found = np.zeros_like(left)
        kept = good
        for turn in range(_ROUNDS + 1):
            step = self._smooth(left, kept)
            found += step if turn == 0 else np.nan_to_num(step)
            if turn < _ROUNDS:
                left = values - pivot - found
                scatter = _SIGMA * self._smooth(np.abs(left), good)
                kept = good & (np.abs(left) <= _CLIP * scatter)
        return np.where(self._near(good), found + pivot, np.nan)

    def _near(self, good: np.ndarray) -> np.ndarray:
        """Return which pixels have a good one near: farther away a curve would be made up (sample, pixel)."""
        before = np.maximum.accumulate(np.where(good, self.place, -np.inf), axis=1)
        after = np.minimum.accumulate(np.where(good, self.place, np.inf)[:, ::-1], axis=1)[:, ::-1]
        return np.minimum(self.place - before, after - self.place) <= self.width / _KNOTS

    def _smooth(self, values: np.ndarray, good: np.ndarray) -> np.ndarray:
        """Return smoothed medians at all pixels (sample, pixel)."""
        middle, place, number = self._medians(values, good)
        distance = self.knots[1] - self.knots[0]
        reach, count = int(np.ceil((_REACH + 0.5) * self.width / distance)), len(self.knots)
        weight, first, second, total, moment = (np.zeros_like(middle) for _ in range(5))
        for shift in range(-min(reach, count - 1), min(reach, count - 1) + 1):
            at = slice(max(0, -shift), min(count, count - shift))
            other = slice(at.start + shift, at.stop + shift)
            away = (place[:, other] - self.knots[at]) / self.width
            share = np.maximum(1 - np.abs(away) / _REACH, 0) * number[:, other]
            weight[:, at] += share
            first[:, at] += share * away
            second[:, at] += share * away**2
            total[:, at] += share * middle[:, other]
            moment[:, at] += share * away * middle[:, other]
        with np.errstate(divide="ignore", invalid="ignore"):
            center, mean = first / weight, total / weight
            spread = second / weight - center**2
            slope = np.where(spread > _LEAST_SPREAD, (moment / weight - center * mean) / spread, 0)
        return self._between(mean - slope * center)

    def _medians(self, values: np.ndarray, good: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the medians of the windows, the places where they stand, and numbers of good pixels (sample, knot)."""
        values = np.where(good, values, np.inf)
        order = np.argsort(~good, axis=1, kind="stable")
        before = np.concatenate([np.zeros((len(good), 1), np.int64), np.cumsum(good, axis=1)], axis=1)
        middle, place, number = (np.zeros((len(values), len(self.knots))) for _ in range(3))
        for knot, (start, stop) in enumerate(zip(self.start, self.stop)):
            if start < stop:
                count = before[:, stop] - before[:, start]
                middle[:, knot] = _middle(np.sort(values[:, start:stop], axis=1), count)
                place[:, knot] = self._middle_place(order, before[:, start], count)
                number[:, knot] = count
        return middle, place, number

    def _middle_place(self, order: np.ndarray, start: np.ndarray, count: np.ndarray) -> np.ndarray:
        """Return the medians of the places of `count` good pixels, the first of which has the number `start`."""
        last, ranks = order.shape[1] - 1, (np.maximum(count - 1, 0) // 2, count // 2)
        both = [np.minimum(start + rank, last) for rank in ranks]
        low, high = (self.place[np.take_along_axis(order, each[:, None], axis=1)[:, 0]] for each in both)
        return 0.5 * (low + high)

    def _between(self, values: np.ndarray) -> np.ndarray:
        """Return what is given at the knots at all pixels, by straight lines."""
        distance = self.knots[1] - self.knots[0]
        lower = np.clip(((self.place - self.knots[0]) // distance).astype(np.int64), 0, len(self.knots) - 2)
        share = (self.place - self.knots[lower]) / distance
        return (1 - share) * values[:, lower] + share * values[:, lower + 1]


def _middle(ordered: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return the medians of the first `count` of rising numbers (sample, number); 0 where there is none."""
    places = [np.clip(each, 0, ordered.shape[1] - 1) for each in ((count - 1) // 2, count // 2)]
    low, high = (np.take_along_axis(ordered, each[:, None], axis=1)[:, 0] for each in places)
    return np.where(count > 0, 0.5 * (low + np.where(count > 0, high, 0)), 0)
