r"""The fields whose statistics are taken: density contrast and decimal logarithm.

The contrast of a density is :math:`\delta = \rho / \bar\rho - 1`.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from sciffusion.statistics.grid import grid_dims, name_of

__all__ = ["density_contrast", "log_field"]


def density_contrast(field: xr.DataArray, mean: float | xr.DataArray | None = None) -> xr.DataArray:
    r"""Return :math:`\delta = \rho / \bar\rho - 1`, without dimension.

    Parameters
    ----------
    field : DataArray ([sample, channel,] *grid)
        A density, of any units.
    mean : float or DataArray, optional
        The mean density in the units of the field. Without it each sample (and channel) is divided by its
        own mean over the grid.

    Returns
    -------
    DataArray
        Dims and coordinates as given, float64, ``attrs["units"] == ""``.

    Raises
    ------
    ValueError
        If a mean is not positive: a contrast is that of a density.

    Examples
    --------
    >>> import xarray as xr
    >>> density_contrast(xr.DataArray([[1.0, 3.0]], dims=("sample", "x"))).values
    array([[-0.5,  0.5]])
    """
    values = field.astype(np.float64)
    average = values.mean(grid_dims(field)) if mean is None else xr.DataArray(mean)
    if not bool((average > 0).all()):
        raise ValueError(
            f"{name_of(field)} has a mean of {float(average.min()):.6g}; the contrast of a density needs "
            "a positive mean. "
            "Take the statistics of the field itself if it has a sign"
        )
    delta = values / average - 1
    return delta.rename("delta").assign_attrs(units="", long_name="density contrast")


def log_field(field: xr.DataArray) -> xr.DataArray:
    r"""Return :math:`\log_{10}` of the values in their own units.

    Parameters
    ----------
    field : DataArray
        Positive values.

    Returns
    -------
    DataArray
        Dims and coordinates as given, float64, ``attrs["units"] == "dex"``; ``attrs["linear_units"]`` keeps
        the field's.

    Raises
    ------
    ValueError
        If a value is not positive (or not a number); the sample is named.

    Examples
    --------
    >>> import xarray as xr
    >>> log_field(xr.DataArray([[10.0, 1000.0]], dims=("sample", "x"))).values
    array([[1., 3.]])
    """
    values = field.astype(np.float64)
    positive = (values > 0) & np.isfinite(values)
    if not bool(positive.all()):
        bad = ~positive.all([dim for dim in values.dims if dim != "sample"])
        where = f"sample {int(np.argmax(np.atleast_1d(bad.values)))} of {name_of(field)}"
        raise ValueError(
            f"{where} has values that are not positive numbers (lowest {float(values.min()):.6g}), so it has no "
            "logarithm"
        )
    logarithm = values.copy(data=np.log10(values.values))
    units = str(field.attrs.get("units", ""))
    long_name = f"log10 {field.attrs.get('long_name', field.name or 'field')}"
    return logarithm.assign_attrs(units="dex", long_name=long_name, linear_units=units)
