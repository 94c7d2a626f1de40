"""A spectrum at low resolution as a model at high resolution takes it: its shape on the fine pixels, and its amplitude.

The shape is asinh of the flux over its mean in a window, interpolated linearly to the fine pixels; the amplitude is
the decimal logarithm of that mean. Spectra from a file and spectra that were drawn go the same way.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from data_loaders.errors import DataError
from data_loaders.layout import main_variable
from data_loaders.lazy import RowSource, lazy_variable
from data_loaders.spectra.masks import fill
from data_loaders.spectra.preparation import parse_grid
from data_loaders.spectra.rebinning import pixel_edges
from data_loaders.spectra.steps import Resampled
from data_loaders.spectra.stepwise import in_parts, loaded, stored, variables

__all__ = ["COARSE", "LOG_NORM", "WINDOW", "coarse_shape", "with_coarse"]

COARSE, LOG_NORM = "coarse", "log_norm"
WINDOW = (5800.0, 6800.0)
"""Where the amplitude is measured [Angstrom]: no strong line enters at redshifts from 0.05 to 0.15."""

_HELD = 2**28  # pixels at low resolution that stay in memory


def coarse_shape(
    flux: np.ndarray,
    wavelength: np.ndarray,
    grid: np.ndarray,
    *,
    mask: np.ndarray | None = None,
    window: tuple[float, float] = WINDOW,
) -> tuple[np.ndarray, np.ndarray]:
    """Return spectra of low resolution as shapes on the pixels of high resolution, and their amplitudes.

    Parameters
    ----------
    flux : ndarray (n, m)
        At low resolution.
    wavelength, grid : ndarray (m,), (k,)
        Pixel centers at low and at high resolution [Angstrom].
    mask : ndarray of bool (n, m), optional
        Bad pixels: interpolated, and not counted in the window.
    window : tuple of float
        Of the mean [Angstrom].

    Returns
    -------
    shape : ndarray (n, k)
        asinh of the flux over its mean in the window, float32; NaN for a spectrum whose mean is not positive.
    log_norm : ndarray (n,)
        log10 of that mean, in the units of `flux`; NaN likewise.

    Raises
    ------
    DataError
        No pixel lies in the window, or `grid` reaches beyond the pixels of low resolution.

    Examples
    --------
    >>> low, high = np.array([6000.0, 6020, 6040]), np.array([6000.0, 6020, 6050])
    >>> shape, log_norm = coarse_shape(np.array([[5.0, 10, 15]]), low, high)
    >>> np.sinh(shape).round(2).tolist(), log_norm.tolist()
    ([[0.5, 1.0, 1.5]], [1.0])
    """
    flux = np.asarray(flux, np.float64)
    edges = pixel_edges(wavelength)
    if grid[0] < edges[0] or grid[-1] > edges[-1]:
        found = f"they reach from {edges[0]:g} to {edges[-1]:g} Angstrom, the fine ones to {grid[0]:g} and {grid[-1]:g}"
        raise DataError("coarse", f"pixels of low resolution must cover those of high resolution; {found}")
    inside = (wavelength >= window[0]) & (wavelength <= window[1])
    if not inside.any():
        raise DataError("coarse", f"no pixel of low resolution lies in {window[0]:g} to {window[1]:g} Angstrom")
    bad = np.zeros(flux.shape, bool) if mask is None else np.asarray(mask, bool)
    flux = fill(flux, bad)
    weight = inside & ~bad
    # Where all of the window is bad, its interpolated pixels are the best that is known.
    weight = np.where(weight.any(1, keepdims=True), weight, inside)
    mean = (flux * weight).sum(1) / weight.sum(1)
    mean = np.where(mean > 0, mean, np.nan)
    shape = np.arcsinh(flux / mean[:, None])
    left = np.clip(np.searchsorted(wavelength, grid) - 1, 0, len(wavelength) - 2)
    part = np.clip((grid - wavelength[left]) / (wavelength[left + 1] - wavelength[left]), 0.0, 1.0)
    shape, part = shape.astype(np.float32), part.astype(np.float32)
    return shape[:, left] * (1 - part) + shape[:, left + 1] * part, np.log10(mean)


def with_coarse(ds: xr.Dataset, coarse: str | Any, window: tuple[float, float] = WINDOW) -> xr.Dataset:
    """Return spectra with the coordinates ``coarse (sample, wavelength)`` and ``log_norm (sample)``.

    They are what `coarse_shape` makes of the spectra once they are rebinned to few pixels. What is kept in memory is at
    low resolution, unless even that is large.

    Parameters
    ----------
    ds : xarray.Dataset
        As `data_loaders.spectra.spectra_dataset` gives it.
    coarse : str or array (m,)
        Pixels of low resolution, as ``wavelength`` of `data_loaders.spectra.prepare`; of the frame and medium of `ds`.
    window : tuple of float
        Of the mean [Angstrom].

    Raises
    ------
    DataError
        `coarse` is no grid, does not cover the spectra, or has no pixel in the window.

    Examples
    --------
    >>> from data_loaders.spectra import spectra_dataset
    >>> ds = spectra_dataset(np.full((1, 200), 10.0), np.arange(5901.0, 6101), units="")
    >>> ds = with_coarse(ds, "5904:6096:8")
    >>> ds["coarse"].shape, np.sinh(ds["coarse"].values[0, 0]).round(3).item(), ds["log_norm"].item()
    ((1, 200), 1.0, 1.0)
    """
    where = ds.encoding.get("source", "spectra")
    fine, low = ds["wavelength"].values.astype(np.float64), parse_grid(coarse, where)
    coarse_shape(np.ones((1, len(low))), low, fine, window=window)  # grids that do not fit are told now, not later
    factor = np.ones(ds.sizes["sample"])
    made = variables(Resampled(stored(ds), fine, low, factor, where=str(where)), {"flux": main_variable(ds).variable})
    if made["flux"].size <= _HELD:
        made = loaded(made)
    source = _Low(made["flux"], made["mask"], low, fine, window)
    told = f"{window[0]:g} to {window[1]:g} Angstrom at low resolution"
    units = main_variable(ds).attrs.get("units", "")
    labels = {
        COARSE: {"units": "", "long_name": f"asinh of the flux over its mean in {told}"},
        LOG_NORM: {"units": "dex", "long_name": f"log10 of the mean flux in {told} [{units}]"},
    }
    return ds.assign_coords(
        coarse=lazy_variable(("sample", "wavelength"), _Shape(source), labels[COARSE]),
        log_norm=lazy_variable(("sample",), _LogNorm(source), labels[LOG_NORM]),
    )


@dataclass(frozen=True)
class _Low:
    """Spectra at low resolution, and where they are wanted."""

    flux: xr.Variable
    mask: xr.Variable
    wavelength: np.ndarray
    grid: np.ndarray
    window: tuple[float, float]

    def __call__(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        flux, mask = self.flux[numbers].values, self.mask[numbers].values
        return coarse_shape(flux, self.wavelength, self.grid, mask=mask, window=self.window)


@dataclass(frozen=True)
class _Shape(RowSource):
    low: _Low
    dtype = np.dtype(np.float32)

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return (self.low.flux.shape[0], len(self.low.grid))

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        return np.concatenate([self.low(part)[0] for part in in_parts(numbers)])


@dataclass(frozen=True)
class _LogNorm(RowSource):
    low: _Low
    dtype = np.dtype(np.float64)

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return (self.low.flux.shape[0],)

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        return np.concatenate([self.low(part)[1] for part in in_parts(numbers)])
