"""Spectra of one kind: on one grid of wavelengths, in one frame and medium, over one norm.

Nothing is computed before it is asked for. The order is: bad pixels out, frame and medium, grid (flux conserved, see
`data_loaders.spectra.rebinning`), norm. A change of frame takes the redshift of each spectrum, and wavelengths through
vacuum; ``F_rest = (1 + z) F_observed``, so that ``∫ F dλ`` stays.
"""

import math
from typing import Any

import astropy.units as u
import numpy as np
import xarray as xr

from data_loaders.errors import DataError
from data_loaders.layout import main_variable
from data_loaders.lazy import lazy_variable
from data_loaders.spectra.dataset import FRAMES, MEDIA
from data_loaders.spectra.rebinning import pixel_edges
from data_loaders.spectra.steps import Normalized, Resampled, Scaled, Step, Stored
from data_loaders.spectra.stepwise import Norm, replaced, stored, variables
from data_loaders.spectra.wavelengths import convert

__all__ = ["common_grid", "parse_grid", "prepare"]

_GRID = "LOW:HIGH:STEP [Angstrom] or log:LOW:HIGH:STEP (step in log10), such as 4000:8500:1 or log:3900:8900:1e-4"
_NORM = "median, mean, LOW:HIGH (median of the window, Angstrom) or mean:LOW:HIGH"


def prepare(
    ds: xr.Dataset,
    *,
    wavelength: str | np.ndarray | None = None,
    frame: str | None = None,
    medium: str | None = None,
    normalize: str | None = None,
) -> xr.Dataset:
    """Return spectra on another grid, in another frame or medium, normalized; lazily.

    Parameters
    ----------
    ds : xarray.Dataset
        As `data_loaders.spectra.spectra_dataset` gives it.
    wavelength : str or array (m,), optional
        New pixel centers [Angstrom, of the new frame and medium]: ``"LOW:HIGH:STEP"``, ``"log:LOW:HIGH:STEP"`` with the
        step in log10, or the centers. New pixels that good old ones cover by less than half are masked.
    frame : {"rest", "observed"}, optional
        Needs the coordinate ``redshift``; unless all are the same, also `wavelength`.
    medium : {"vacuum", "air"}, optional
        Of the wavelengths.
    normalize : str, optional
        ``"median"`` or ``"mean"`` of the good pixels, of a window as ``"LOW:HIGH"`` (its median) or
        ``"mean:LOW:HIGH"``; the factor is kept as the coordinate ``norm``, in the units that the flux had. Spectra
        for which it is not positive are masked, with a norm of NaN.

    Returns
    -------
    xarray.Dataset
        With ``mask``, and ``ivar`` if there was one. Other variables along the wavelengths are left out where these
        change.

    Raises
    ------
    DataError
        An option is not understood, or the spectra lack what it needs; the message says what to do.

    Examples
    --------
    >>> from data_loaders.spectra import spectra_dataset
    >>> ds = spectra_dataset(np.full((1, 100), 3.0), np.arange(4000.0, 4100), units="", objects={"redshift": [0.25]})
    >>> rest = prepare(ds, wavelength="3210:3270:2", frame="rest", normalize="median")
    >>> rest.flux.shape, rest.flux.values[0, 0].item(), rest.norm.item()
    ((1, 31), 1.0, 3.75)
    """
    where = ds.encoding.get("source", "spectra")
    _check_choices(frame, medium, where)
    if main_variable(ds).dims != ("sample", "wavelength"):
        found = main_variable(ds).dims
        raise DataError(
            where, f"spectra have dims (sample, wavelength), found {found}; leave the options of spectra out"
        )
    if wavelength is not None or frame is not None or medium is not None:
        ds = _moved(ds, None if wavelength is None else parse_grid(wavelength, where), frame, medium, where)
    return ds if normalize is None else _normalized(ds, normalize, where)


def _check_choices(frame: str | None, medium: str | None, where: object) -> None:
    for name, value, known in (("frame", frame, FRAMES), ("medium", medium, MEDIA)):
        if value not in (None, *known):
            raise DataError(where, f"--{name} must be one of {', '.join(known)}; given: {value!r}")


def parse_grid(text: str | Any, where: object = "wavelength") -> np.ndarray:
    """Return the pixel centers that a text or a sequence of numbers stands for [Angstrom].

    Raises
    ------
    DataError
        It is neither, or they do not rise.

    Examples
    --------
    >>> parse_grid("4000:4002:0.5").tolist()
    [4000.0, 4000.5, 4001.0, 4001.5, 4002.0]
    >>> parse_grid("log:1000:10000:0.5").round(1).tolist()
    [1000.0, 3162.3, 10000.0]
    """
    try:
        if not isinstance(text, str):
            centers = np.asarray(text, np.float64)
        else:
            log = text.startswith("log:")
            low, high, step = (float(part) for part in text.removeprefix("log:").split(":"))
            low, high = (math.log10(low), math.log10(high)) if log else (low, high)
            centers = low + step * np.arange(int((high - low) / step + 1e-6) + 1)
            centers = 10**centers if log else centers
        pixel_edges(centers)
        if not centers[0] > 0:
            raise ValueError("wavelengths are positive")
    except (ValueError, TypeError, ArithmeticError, MemoryError) as error:
        raise DataError(where, f"--wavelength must be {_GRID}; given: {text!r} ({error})") from error
    return centers


def common_grid(
    flux: xr.Variable,
    ivar: xr.Variable | None,
    mask: xr.Variable | None,
    wavelength: xr.Variable,
    grid: str | np.ndarray,
    where: object = "spectra",
    *,
    redshift: np.ndarray | None = None,
    medium: str = "vacuum",
) -> dict[str, xr.Variable]:
    """Return spectra that each have vacuum wavelengths of their own on one grid, lazily.

    Parameters
    ----------
    flux, ivar, mask, wavelength : xarray.Variable (sample, wavelength)
        `wavelength` [Angstrom] rises along each row; entries that are not finite or not positive are padding.
    grid : str or array (m,)
        As ``wavelength`` of `prepare`.
    where : path-like
        The file, for messages.
    redshift : ndarray (sample,), optional
        Brings spectra as observed to the rest frame, of which `grid` then is.
    medium : {"vacuum", "air"}
        Of `grid`.

    Returns
    -------
    dict
        ``flux``, ``mask`` and, if given, ``ivar``: variables ``(sample, wavelength)`` to hand to `spectra_dataset`.

    Examples
    --------
    >>> own = xr.Variable(("sample", "wavelength"), [[4000.0, 4001, 4002, -1], [4001, 4002, 4003, 4004]])
    >>> made = common_grid(xr.ones_like(own), None, None, own, "4000:4004:1")
    >>> made["mask"].values.astype(int).tolist()
    [[0, 0, 0, 1, 1], [1, 0, 0, 0, 0]]
    """
    before: Step = Stored(flux, ivar, mask)
    factor = np.ones(len(flux))
    if redshift is not None:
        factor = 1 / (1 + _known_redshifts(redshift, where))
        before = Scaled(before, 1 / factor)
    step = Resampled(before, wavelength, parse_grid(grid, where), factor, ("vacuum", medium), str(where))
    return variables(step, {"flux": flux, "ivar": ivar, "mask": mask})


def _moved(ds: xr.Dataset, grid: np.ndarray | None, frame: str | None, medium: str | None, where: object) -> xr.Dataset:
    axis = ds["wavelength"]
    try:
        centers = (axis.values * u.Unit(axis.attrs["units"])).to_value(u.Angstrom)
    except (ValueError, KeyError, u.UnitConversionError) as error:
        raise DataError(where, f"the wavelengths need a unit of length; found {axis.attrs.get('units')!r}") from error
    now = {"frame": axis.attrs.get("frame"), "medium": axis.attrs.get("medium")}
    new = {"frame": frame or now["frame"], "medium": medium or now["medium"]}
    for name in now:
        if now[name] is None and new[name] is not None:
            raise DataError(
                where, f"the file does not say the {name} of its wavelengths; set wavelength.attrs[{name!r}]"
            )
    factor = np.ones(ds.sizes["sample"])
    step: Step = stored(ds)
    if new["frame"] != now["frame"]:
        factor = (1 + _redshifts(ds, where)) ** (1 if frame == "observed" else -1)
        step = Scaled(step, 1 / factor)
    media = (now["medium"] or "vacuum", new["medium"] or "vacuum")
    if grid is None:
        if np.any(factor != factor[0]):
            told = f"spectra of different redshift share no grid in the {frame} frame; give --wavelength {_GRID}"
            raise DataError(where, told)
        grid = convert(centers, factor[0], *media)
    else:
        _check_reached(centers, grid, factor, media, where)
        step = Resampled(step, centers, grid, factor, media, str(where))
    attrs = {**axis.attrs, "units": "Angstrom", **{name: value for name, value in new.items() if value is not None}}
    return replaced(ds, step, xr.Variable("wavelength", grid, attrs))


def _check_reached(centers: np.ndarray, grid: np.ndarray, factor: np.ndarray, media: tuple[str, str], where: object):
    low = convert(centers[:1], factor.min(), *media)[0]
    high = convert(centers[-1:], factor.max(), *media)[0]
    if grid[-1] < low or grid[0] > high:
        told = f"the grid from {grid[0]:g} to {grid[-1]:g} Angstrom lies outside the spectra, {low:g} to {high:g}"
        raise DataError(where, f"{told}; give another --wavelength")


def _redshifts(ds: xr.Dataset, where: object) -> np.ndarray:
    if "redshift" not in ds.coords:
        raise DataError(
            where, "a change of frame needs the coordinate redshift, which the spectra lack; leave --frame out"
        )
    return _known_redshifts(np.broadcast_to(ds["redshift"].values, (ds.sizes["sample"],)), where)


def _known_redshifts(values: np.ndarray, where: object) -> np.ndarray:
    redshift = np.asarray(values, np.float64)
    bad = ~(np.isfinite(redshift) & (redshift > -1))
    if bad.any():
        told = f"{bad.sum()} of {bad.size} redshifts are unknown or not above -1, the first of sample {bad.argmax()}"
        raise DataError(where, f"{told}; select those that are known, or leave --frame out")
    return redshift


def _normalized(ds: xr.Dataset, text: str, where: object) -> xr.Dataset:
    statistic, window = _window(text, ds["wavelength"].values, where)
    step = Normalized(stored(ds), window, statistic)
    units = main_variable(ds).attrs.get("units", "")
    earlier = ds["norm"].variable if "norm" in ds.coords else None
    source = Norm(step, ds.sizes["sample"], earlier)
    attrs = {"units": units, "long_name": f"flux that is 1: {text}"}
    if earlier is not None:
        attrs["units"] = earlier.attrs.get("units", "")
    made = replaced(ds, step, ds["wavelength"].variable)
    made[main_variable(ds).name].attrs["units"] = ""
    return made.assign_coords(norm=lazy_variable(("sample",), source, attrs))


def _window(text: str, wavelength: np.ndarray, where: object) -> tuple[str, slice]:
    parts = str(text).split(":")
    statistic = parts.pop(0) if parts[0] in ("median", "mean") else "median"
    if not parts and str(text) == statistic:
        return statistic, slice(None)
    try:
        low, high = (float(part) for part in parts)
    except ValueError as error:
        raise DataError(where, f"--normalize must be {_NORM}; given: {text!r}") from error
    inside = slice(int(np.searchsorted(wavelength, low)), int(np.searchsorted(wavelength, high, side="right")))
    if inside.start >= inside.stop:
        told = f"no pixel lies in the window {low:g} to {high:g} of --normalize"
        raise DataError(where, f"{told}; the spectra reach from {wavelength[0]:g} to {wavelength[-1]:g} Angstrom")
    return statistic, inside
