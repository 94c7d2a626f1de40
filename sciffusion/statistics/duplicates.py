"""Which samples are near copies: nearer than a sample that is none comes by chance."""

from __future__ import annotations

import numpy as np
import xarray as xr

__all__ = ["FEWEST", "copies", "copy_threshold"]

FEWEST = 20
_TAIL = 0.1
_SAME = 1e-6


def copies(distances: xr.Dataset, *, false_alarm: float = 0.01) -> xr.Dataset:
    """Return the generated samples that are near copies of training samples.

    They lie closer to the training set than `copy_threshold`: closer than every held-out sample, and so close that of
    a whole set of honest samples of this size the closest would be so with the probability `false_alarm` only.

    Parameters
    ----------
    distances : Dataset
        From `sciffusion.statistics.nearest`, with 20 held-out samples at least.
    false_alarm : float
        For the whole generated set, between 0 and 1.

    Returns
    -------
    Dataset (copy)
        ``copied``, the numbers of the generated samples, the nearest copy first; ``original``, those of the training
        samples; ``copy_distance`` [std of the training set]. Attributes: ``copies``, how many there are; ``threshold``;
        ``false_alarm``; ``heldout_copies``, the number of held-out samples that are themselves near copies, or seem to
        be: above 0 look whether the held-out set was split off cleanly.

    Raises
    ------
    ValueError
        As `copy_threshold`.

    Examples
    --------
    >>> real = np.random.default_rng(0).uniform(0.9, 1.1, 60)
    >>> found = xr.Dataset({"heldout": ("sample_heldout", real), "generated": ("sample_generated", [1.0, 0.02, 0.97])})
    >>> found = copies(found.assign(generated_index=("sample_generated", [4, 7, 9])))
    >>> found.copied.values, found.original.values, found.attrs["heldout_copies"]
    (array([1]), array([7]), 0)
    """
    drawn = distances["generated"].values
    threshold, leaked = copy_threshold(distances["heldout"].values, len(drawn), false_alarm)
    near = np.flatnonzero(drawn < threshold)
    near = near[np.argsort(drawn[near], kind="stable")]
    attrs = {"units": "", "long_name": "distance of near copies, in σ"}
    return xr.Dataset(
        {
            "copied": ("copy", near),
            "original": ("copy", distances["generated_index"].values[near]),
            "copy_distance": ("copy", drawn[near], attrs),
        },
        attrs={
            "copies": len(near),
            "threshold": threshold,
            "false_alarm": false_alarm,
            "heldout_copies": leaked,
        },
    )


def copy_threshold(heldout: np.ndarray, number: int, false_alarm: float = 0.01) -> tuple[float, int]:
    r"""Return the distance below which none of so many honest samples lies, but for a chance of `false_alarm`.

    The lower tail of the held-out distances, the lowest tenth (ten at least), is taken as a power law
    :math:`P(d < t) \propto t^{1/\beta}`: that of samples spread evenly over :math:`1/\beta` dimensions (Levina & Bickel
    2004). Then the excesses :math:`\ln d_{(K+1)} - \ln d_{(i)}`, i = 1 ... K, are exponential (Hill 1975), and with n
    held-out and m other samples

    .. math:: \frac{m (K + 1)}{n + 1} \left(1 + \frac{x}{\sum_i e_i}\right)^{-K} = \text{false alarm},
              \qquad t = d_{(K+1)}\, e^{-x}

    holds with the uncertainty of the tail's slope in it: 1 + x / sum has the power -K when the slope is known from K
    excesses alone. Where distances scatter less than by a power law, alarms are rarer. The threshold is at most the
    lowest held-out distance.

    Held-out samples at no distance at all are copies in the training set and left out. They are counted together with
    those far below the tail (twice as far in logarithm as a threshold by the median excess). These stay: where real
    samples come as close, generated ones may.

    Parameters
    ----------
    heldout : ndarray (sample,)
        Their distances to the training set.
    number : int
        How many samples are to be judged.
    false_alarm : float

    Returns
    -------
    threshold : float
    leaked : int
        Number of held-out samples that seem to be near copies themselves.

    Raises
    ------
    ValueError
        If fewer than 20 distances are finite and not 0, or the probability is not between 0 and 1.
    """
    if not 0 < false_alarm < 1:
        raise ValueError(f"expected a false-alarm probability between 0 and 1, got {false_alarm}")
    finite = np.sort(heldout[np.isfinite(heldout)])
    kept = finite[finite > _SAME]
    if len(kept) < FEWEST:
        raise ValueError(
            f"{len(kept)} of {len(heldout)} held-out samples have a distance to the training set that is finite and "
            f"not 0; at least {FEWEST} are needed to tell how close honest samples come"
        )
    tail = max(10, round(_TAIL * len(kept)))
    excess = np.log(kept[tail] / kept[:tail])
    ratio = number * (tail + 1) / ((len(kept) + 1) * false_alarm)
    reach = tail * np.expm1(np.log(max(ratio, 1.0)) / tail)
    far = int((excess > 2 * reach * np.median(excess) / np.log(2)).sum())
    return min(float(kept[0]), float(kept[tail] * np.exp(-reach * excess.mean()))), len(finite) - len(kept) + far
