r"""How steep a power spectrum is: the exponent of the power law that fits it best.

The spectrum of interstellar dust falls as :math:`k^{-3}` or so, that of matter more slowly; a generated field of wrong
slope has wrong texture even where its variance is right.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

__all__ = ["fit_power_law", "power_slope", "slope_band"]

_LOWEST_MODE, _HIGHEST = 3.0, 0.5
_ITERATIONS = 12


def slope_band(power: xr.DataArray) -> tuple[float, float]:
    """Return the default range of a slope: three fundamental frequencies to half the Nyquist frequency [units of k].

    Below it there are few modes, and a window of open axes mixes them; above it pixels and smoothing show. Of small
    fields it goes on to six fundamental frequencies.
    """
    low = _LOWEST_MODE * power.attrs["fundamental"]
    return low, max(_HIGHEST * power.attrs["nyquist"], 2 * low)


def power_slope(power: xr.DataArray, low: float | None = None, high: float | None = None) -> xr.DataArray:
    r"""Return the logarithmic slope :math:`s = d \ln P / d \ln k` of power spectra.

    The least-squares line through :math:`\ln P` over :math:`\ln k`, shells weighted by 1/k, so that every decade counts
    alike (weighted by their modes, the highest k would decide alone where a spectrum is curved). A shell, and the
    window of open axes, average a power law over some range of k; to second order in that range the mean is higher
    than the law by

    .. math:: 1 + \frac{s (s + n - 2) \sigma_w^2 + s (s - 1) k_f^2 / 12}{2 k^2},

    with the variance :math:`\sigma_w^2` of k under the window (1/3 :math:`k_f^2` where all axes are open), which is
    taken out. Average over the samples first: the logarithm of a spectrum from few modes is low on average.

    Parameters
    ----------
    power : DataArray (..., k)
        From `power_spectrum`; of open fields with ``window="hann"``.
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
    >>> from sciffusion.statistics import power_spectrum
    >>> x = xr.DataArray(np.arange(256.0), dims="x", attrs={"units": "deg", "boundary": "reflect"})
    >>> walk = np.random.default_rng(0).normal(size=(400, 256)).cumsum(axis=1)
    >>> power = power_spectrum(xr.DataArray(walk, dims=("sample", "x"), coords={"x": x}), window="hann")
    >>> float(power_slope(power.mean("sample", keep_attrs=True), high=0.5).round(1))
    -2.0
    """
    band = slope_band(power)
    low, high = band[0] if low is None else low, band[1] if high is None else high
    values, k = power.transpose(..., "k").values, power["k"].values
    inside = (k >= low * (1 - 1e-9)) & (k <= high * (1 + 1e-9))
    if inside.sum() < 2:
        raise ValueError(
            f"{int(inside.sum())} shells lie in {low:.4g} <= k <= {high:.4g}, at least 2 are needed for a slope; "
            "give another range, or larger fields"
        )
    found = fit_power_law(k[inside], values[..., inside], power.attrs)[0]
    rest = power.isel(k=0, drop=True)
    return rest.copy(data=found).rename("slope").assign_attrs(units="", long_name="slope", k_min=low, k_max=high)


def fit_power_law(k: np.ndarray, power: np.ndarray, attrs: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return slope and amplitude at k = 1 of the power laws through spectra (..., k) with the attributes `attrs`."""
    share = 1 / k / (1 / k).sum()
    x, y = np.log(k), np.log(np.where(power > 0, power, np.nan))  # without power in some shell there is no slope
    offset = x - share @ x
    shell, window, ndim = attrs["fundamental"] ** 2 / 12, attrs["window_variance"], attrs["ndim"]
    slope, excess = np.zeros(y.shape[:-1]), np.zeros_like(y)
    for _ in range(_ITERATIONS):
        slope = ((y - excess) * (share * offset)).sum(axis=-1) / (share * offset**2).sum()
        s = slope[..., None]
        excess = np.log1p(np.maximum(s * (s + ndim - 2) * window + s * (s - 1) * shell, 0) / (2 * k**2))
    return slope, np.exp((y - excess) @ share - slope * (share @ x))
