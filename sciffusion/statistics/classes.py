"""Mean spectra of classes of objects: those of one spectral type, for example."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import xarray as xr

from sciffusion.statistics.grid import chunks, good_pixels, name_of

__all__ = ["mean_by", "spectral_class"]


def spectral_class(types: Sequence[str] | np.ndarray, subtypes: int = 10) -> np.ndarray:
    """Return the classes of spectral types, in ranges of subtypes.

    Parameters
    ----------
    types : sequence of str
        Such as ``"M8.5"``, ``"sdM7"``, ``"L3 gamma"``; the first letter of a class with a digit after it counts.
    subtypes : int
        Number of subtypes in a range: 10 for the whole class, 5 for M0-M4 and M5-M9, 1 for each.

    Returns
    -------
    ndarray of str
        ``""`` where there is no class.

    Examples
    --------
    >>> spectral_class(["M8.5V", "sdM2", "L3 gamma", "?"]).tolist()
    ['M', 'M', 'L', '']
    >>> spectral_class(["M8.5", "T0"], subtypes=5).tolist()
    ['M5-M9', 'T0-T4']
    """
    return np.array([_class(str(text), subtypes) for text in types], dtype=str)


def _class(text: str, subtypes: int) -> str:
    match = re.search(r"([OBAFGKMLTY])\s?(\d)", text)
    if match is None:
        return ""
    letter, low = match[1], int(match[2]) // subtypes * subtypes
    high = min(low + subtypes, 10) - 1
    if subtypes >= 10:
        return letter
    return f"{letter}{low}" if low == high else f"{letter}{low}-{letter}{high}"


def mean_by(flux: xr.DataArray, classes: Sequence[str] | np.ndarray) -> xr.Dataset:
    """Return mean, scatter and number of the samples of each class, pixel by pixel.

    Parameters
    ----------
    flux : DataArray (sample, *grid)
        Pixels with a true coordinate ``mask`` do not count.
    classes : sequence of str (sample,)
        Such as `spectral_class` gives; samples with an empty one are left out.

    Returns
    -------
    Dataset
        ``mean`` and ``std`` (class, *grid) [field units], nan where a class has no good pixel, and ``samples``
        (class,), in alphabetical order.

    Raises
    ------
    ValueError
        If there are not as many classes as samples, or all are empty.

    Examples
    --------
    >>> flux = xr.DataArray([[1.0, 2.0], [3.0, 2.0], [7.0, 7.0]], dims=("sample", "wavelength"))
    >>> found = mean_by(flux, ["M", "M", "L"])
    >>> found["class"].values.tolist(), found["mean"].sel({"class": "M"}).values.tolist()
    (['L', 'M'], [2.0, 2.0])
    """
    labels = np.asarray(classes, dtype=str)
    if len(labels) != flux.sizes["sample"]:
        raise ValueError(f"{len(labels)} classes for the {flux.sizes['sample']} samples of {name_of(flux)}")
    names = sorted(set(labels.tolist()) - {""})
    if not names:
        raise ValueError(f"no sample of {name_of(flux)} has a class")
    member = (labels == np.array(names)[:, None]).astype(np.float64)
    dims = flux.transpose("sample", ...).dims[1:]
    count, total, square, start = 0.0, 0.0, 0.0, 0
    for part in chunks(flux):
        good = good_pixels(part).astype(np.float64)
        of = member[:, start : start + len(good)]
        values = part.values * good
        count, total = count + np.tensordot(of, good, 1), total + np.tensordot(of, values, 1)
        square, start = square + np.tensordot(of, values * part.values, 1), start + len(good)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total / count
        std = np.sqrt(np.maximum(square / count - mean**2, 0))
    attrs = {"units": str(flux.attrs.get("units", ""))}
    columns = {"mean": (("class", *dims), mean, attrs), "std": (("class", *dims), std, attrs)}
    coords = {"class": names, **{dim: flux[dim] for dim in dims if dim in flux.coords}}
    samples = ("class", member.sum(axis=1).astype(np.int64), {"units": ""})
    return xr.Dataset({**columns, "samples": samples}, coords=coords)
