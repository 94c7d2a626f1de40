"""Fields less their mean, faded out where they end and where pixels are bad: what transforms treat as periodic."""

from __future__ import annotations

import numpy as np
import xarray as xr

from sciffusion.statistics.grid import good_pixels, grid_dims, name_of

__all__ = ["apodized"]


def apodized(part: xr.DataArray, window: np.ndarray | None, start: int = 0) -> tuple[np.ndarray, np.ndarray | None]:
    """Return samples less their mean under the weight, times the weight: window times good pixels.

    Parameters
    ----------
    part : DataArray (sample, [channel,] *grid)
        In memory, with the grid dims last. A coordinate ``mask`` says which pixels are bad.
    window : ndarray (*grid), optional
        From `open_window`.
    start : int
        Number of the first sample, for messages.

    Returns
    -------
    values : ndarray (sample, [channel,] *grid)
    weight : ndarray of the same shape, or None
        None where all pixels count alike.

    Raises
    ------
    ValueError
        If all pixels of a sample are bad.

    Examples
    --------
    >>> field = xr.DataArray([[1.0, 3.0, 9.0]], dims=("sample", "x"), coords={"mask": ("x", [False, False, True])})
    >>> apodized(field, None)[0]
    array([[-1.,  1.,  0.]])
    """
    axes = tuple(part.get_axis_num(dim) for dim in grid_dims(part))
    values = part.values
    if window is None and "mask" not in part.coords:
        return values - values.mean(axis=axes, keepdims=True), None
    weight = good_pixels(part) * (1.0 if window is None else window)
    total = weight.sum(axis=axes, keepdims=True)
    if not np.all(total > 0):
        bad = start + int(np.argmin(total.reshape(len(values), -1).min(axis=1)))
        raise ValueError(f"sample {bad} of {name_of(part)} has no good pixel; drop it, or mend the mask")
    mean = (weight * values).sum(axis=axes, keepdims=True) / total
    return (values - mean) * weight, weight
