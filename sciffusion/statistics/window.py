"""Windows that let an open field be treated as a periodic one: it fades out where the box ends."""

from __future__ import annotations

import functools

import numpy as np
import xarray as xr

from sciffusion.statistics.grid import grid_dims, is_open

__all__ = ["hann_variance", "open_window"]


def open_window(field: xr.DataArray, window: str | None) -> np.ndarray | None:
    r"""Return the window of a field that is open along some axes.

    Parameters
    ----------
    field : DataArray
    window : {"hann"} or None
        :math:`w_i = \sin^2(\pi (i + 1/2) / n)` along each open axis.

    Returns
    -------
    ndarray (*grid) or None
        The product over the axes; None where there is nothing to apodize.

    Raises
    ------
    ValueError
        If the window is unknown.

    Examples
    --------
    >>> x = xr.DataArray(np.arange(2.0), dims="x", attrs={"boundary": "reflect"})
    >>> open_window(xr.DataArray(np.ones(2), dims="x", coords={"x": x}), "hann").round(2)
    array([0.5, 0.5])
    """
    if window not in (None, "hann"):
        raise ValueError(f"unknown window {window!r}; known is 'hann'")
    axes = is_open(field)
    if window is None or not any(axes):
        return None
    sizes = [field.sizes[dim] for dim in grid_dims(field)]
    along = [np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 if ends else np.ones(n) for n, ends in zip(sizes, axes)]
    return np.asarray(functools.reduce(np.multiply.outer, along))


def hann_variance(lengths: tuple[float, ...], ends: tuple[bool, ...]) -> float:
    r"""Return how far the window mixes modes: the variance of k along an axis, averaged over the axes [k²].

    The transform of the Hann window has the shares 1/6, 2/3, 1/6 of its square at -1, 0 and 1 fundamental frequencies,
    so the variance is a third of the fundamental frequency squared on an open axis, and 0 on a periodic one.

    Examples
    --------
    >>> round(hann_variance((2 * np.pi, 2 * np.pi), (True, False)), 4)
    0.1667
    """
    return float(np.mean([(2 * np.pi / length) ** 2 / 3 if open_ else 0.0 for length, open_ in zip(lengths, ends)]))
