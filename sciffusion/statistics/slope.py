r"""How steep a power spectrum is: the exponent of the power law that fits it best.

The spectrum of interstellar dust falls as :math:`k^{-3}` or so, that of matter more slowly; a generated field of wrong
slope has wrong texture even where its variance is right.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

__all__ = ["fit_power_law", "power_slope", "slope_band"]

_LOWEST_MODE, _HIGHEST = 3.0, 0.5


def slope_band(power: xr.DataArray) -> tuple[float, float]:
    """Return the default range of a slope: three fundamental frequencies to half the Nyquist frequency [units of k].

    Below it there are few modes, and a window of open axes mixes them; above it pixels and smoothing show.
    """
    return _LOWEST_MODE * power.attrs["fundamental"], _HIGHEST * power.attrs["nyquist"]


def power_slope(power: xr.DataArray, low: float | None = None, high: float | None = None) -> xr.DataArray:
    r"""Return the logarithmic slope :math:`d \ln P / d \ln k` of power spectra.

    The least-squares line through :math:`\ln P` over :math:`\ln k`, shells weighted by their number of modes (the
    inverse variance of :math:`\ln P` of a Gaussian field). Average over the samples first: the logarithm of a spectrum
    from few modes is low on average.

    Parameters
    ----------
    power : DataArray (..., k)
        From `power_spectrum`, with its coordinate ``modes``; of open fields with ``window="hann"``.
    low, high : float, optional
        Range of k [units of k]; by default `slope_band`.

    Returns
    -------
    DataArray (...)
        Without dimension; the attributes ``k_min`` and ``k_max`` tell the range.

    Raises
    ------
    ValueError
        If fewer than two shells lie in the range.

    Examples
    --------
    >>> k = np.arange(1.0, 33.0)
    >>> attrs = {"fundamental": 1.0, "nyquist": 32.0}
    >>> power = xr.DataArray(5 * k**-3, dims="k", coords={"k": k, "modes": ("k", k)}, attrs=attrs)
    >>> float(power_slope(power).round(6))
    -3.0
    """
    band = slope_band(power)
    low, high = band[0] if low is None else low, band[1] if high is None else high
    k, modes = power["k"].values, power["modes"].values
    inside = (k >= low * (1 - 1e-9)) & (k <= high * (1 + 1e-9))
    if inside.sum() < 2:
        raise ValueError(
            f"{int(inside.sum())} shells lie in {low:.4g} <= k <= {high:.4g}, at least 2 are needed for a slope; "
            "give another range, or larger fields"
        )
    values = power.transpose(..., "k").values[..., inside]
    found = fit_power_law(k[inside], values, modes[inside])[0]
    rest = power.isel(k=0, drop=True)
    return rest.copy(data=found).rename("slope").assign_attrs(units="", long_name="slope", k_min=low, k_max=high)


def fit_power_law(k: np.ndarray, power: np.ndarray, modes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return slope and amplitude at k = 1 of the power laws through spectra (..., k), weighted by modes."""
    share = modes / modes.sum()
    x, y = np.log(k), np.log(power)
    offset = x - share @ x
    slope = (y * (share * offset)).sum(axis=-1) / (share * offset**2).sum()
    return slope, np.exp(y @ share - slope * (share @ x))
