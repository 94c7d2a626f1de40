"""Windows that let an open field be treated as a periodic one: it fades out where the box ends."""

from __future__ import annotations

import functools

import numpy as np
import xarray as xr

from sciffusion.statistics.grid import grid_dims, is_open

__all__ = ["open_window"]


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
