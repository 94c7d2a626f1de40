"""Spectra of several files on one grid without touching a value: files of a survey are parts of one lattice.

The wavelengths of SDSS are ``10^(c0 + 1e-4 i)``, those of DESI ``c0 + 0.8 i``: each file holds a run of the same
lattice. The longest run that holds all is the common grid; where a file has nothing there, its pixels are masked.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from data_loaders.errors import DataError
from data_loaders.spectra.steps import Padded
from data_loaders.spectra.stepwise import replaced, stored

__all__ = ["align"]

_TOLERANCE = 0.02  # of a pixel: wavelengths in single precision are off by a few thousandths
_MAX_PIXELS = 10_000_000


def align(datasets: Sequence[xr.Dataset], paths: Sequence[Path | str]) -> list[xr.Dataset]:
    """Return spectra on the union of their grids, which must be parts of one linear or logarithmic lattice.

    Parameters
    ----------
    datasets : sequence of xarray.Dataset
        Spectra ``(sample, wavelength)``; where all grids are equal they are returned as they are.
    paths : sequence of path-like
        Their files, for messages.

    Returns
    -------
    list of xarray.Dataset
        Pixels that a file lacks have mask True, flux 0 and ivar 0; good values are the same as before.

    Raises
    ------
    DataError
        The grids are no parts of one lattice, or of another frame or medium.

    Examples
    --------
    >>> from data_loaders.spectra import spectra_dataset
    >>> grid = 10 ** (3.6 + 1e-4 * np.arange(12))
    >>> parts = [spectra_dataset(np.ones((1, 10)), grid[i : i + 10], units="") for i in (0, 2)]
    >>> [ds.mask.values[0].astype(int).tolist() for ds in align(parts, ["a", "b"])]
    [[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1], [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]]
    """
    first, datasets = datasets[0]["wavelength"], list(datasets)
    if all(np.array_equal(ds["wavelength"], first) and ds["wavelength"].attrs == first.attrs for ds in datasets):
        return datasets
    for ds, path in zip(datasets[1:], paths[1:]):
        _check_kind(ds["wavelength"], first, path, paths[0])
    grids = [ds["wavelength"].values.astype(np.float64) for ds in datasets]
    logarithms = [np.log10(grid, where=grid > 0, out=np.full_like(grid, np.nan)) for grid in grids]
    logarithmic, linear = _positions(logarithms), _positions(grids)
    starts, step, origin = min(logarithmic, linear, key=lambda found: np.count_nonzero(found[0] < 0))
    if (starts < 0).any():
        bad = len(starts) - 1 - int(np.argmax(starts[::-1] < 0))
        told = f"its wavelengths and those of {paths[0]} are no parts of one linear or logarithmic grid"
        raise DataError(paths[bad], f"{told}; give --wavelength LOW:HIGH:STEP to rebin all to one")
    npix = int(max(start + len(grid) for start, grid in zip(starts, grids)))
    centers = origin + step * np.arange(npix)
    union = xr.Variable("wavelength", 10**centers if starts is logarithmic[0] else centers, first.attrs)
    return [replaced(ds, Padded(stored(ds), int(start), npix), union) for ds, start in zip(datasets, starts)]


def _check_kind(axis: xr.DataArray, first: xr.DataArray, path: Path | str, first_path: Path | str) -> None:
    for name in ("units", "frame", "medium"):
        found, expected = axis.attrs.get(name), first.attrs.get(name)
        if found != expected:
            told = f"{name} {found!r} of the wavelengths differs from {expected!r} of {first_path}"
            raise DataError(path, f"{told}; bring all to one with --{name}" if name != "units" else told)


def _positions(grids: Sequence[np.ndarray]) -> tuple[np.ndarray, float, float]:
    """Return where each grid starts on the lattice of all (-1: it is no part of it), the step and the origin."""
    longest = max(grids, key=len)
    step = float(longest[-1] - longest[0]) / max(len(longest) - 1, 1)
    origin = float(np.mean(longest - step * np.arange(len(longest))))  # of all pixels: each is rounded
    starts = np.array([_start(grid, origin, step) for grid in grids])
    if np.isnan(starts).any():
        return np.where(np.isnan(starts), -1, 0), step, origin
    if np.ptp(starts) + len(longest) > _MAX_PIXELS:
        return np.full(len(starts), -1), step, origin
    return (starts - starts.min()).astype(np.int64), step, origin + step * starts.min()


def _start(grid: np.ndarray, origin: float, step: float) -> float:
    position = (grid - origin) / step
    start = np.rint(position[0])
    regular = np.abs(position - start - np.arange(len(grid))).max() <= _TOLERANCE
    return float(start) if regular else np.nan
