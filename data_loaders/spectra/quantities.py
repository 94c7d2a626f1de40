"""Spectra from quantities: numbers with units, in any unit of flux and of wavelength, frequency or energy."""

from typing import Any

import astropy.units as u
import numpy as np
import xarray as xr
from astropy.nddata import InverseVariance, NDUncertainty

from data_loaders.errors import DataError
from data_loaders.spectra.dataset import spectra_dataset

__all__ = ["from_quantity", "inverse_variance"]


def from_quantity(
    flux: u.Quantity,
    wavelength: u.Quantity,
    *,
    ivar: u.Quantity | NDUncertainty | np.ndarray | None = None,
    mask: np.ndarray | None = None,
    objects: Any = None,
    **labels: Any,
) -> xr.Dataset:
    """Return spectra in the labelled layout from quantities.

    Parameters
    ----------
    flux : Quantity (sample, wavelength) or (wavelength,)
        In any unit; plain numbers are relative flux.
    wavelength : Quantity (wavelength,)
        In a unit of length, or of frequency, energy or wavenumber, which is turned into (vacuum) wavelengths. Falling
        ones are turned around, with the flux.
    ivar : Quantity, NDUncertainty or ndarray, optional
        Inverse variance, or any uncertainty of `astropy.nddata`.
    mask : ndarray of bool, optional
        True where a pixel is bad. Pixels whose flux is not finite are.
    objects : mapping or QTable, optional
        What is known of each sample, as of `spectra_dataset`; quantities keep their units.
    **labels
        ``medium``, ``frame`` and ``attrs``, as of `spectra_dataset`.

    Returns
    -------
    xarray.Dataset

    Raises
    ------
    DataError
        Shapes or units do not fit.

    Examples
    --------
    >>> ds = from_quantity([3.0, 2.0] * u.Jy, [500.0, 400.0] * u.nm)
    >>> ds.wavelength.values.round(6).tolist(), ds.flux.values.tolist(), ds.flux.attrs["units"]
    ([4000.0, 5000.0], [[2.0, 3.0]], 'Jy')
    """
    centers = _angstrom(wavelength)
    quantity = u.Quantity(flux)
    unit, values = quantity.unit or u.dimensionless_unscaled, np.atleast_2d(np.asarray(quantity.value))
    if centers.ndim != 1 or values.shape[1:] != centers.shape:
        told = f"flux of shape {values.shape} does not fit wavelengths of shape {centers.shape}"
        raise DataError("spectra", f"{told}; expected (sample, wavelength) and (wavelength,)")
    order = slice(None, None, -1 if centers[0] > centers[-1] else 1)
    parts = {"flux": values, "ivar": inverse_variance(ivar, unit), "mask": mask}
    parts = {name: _like(name, part, values.shape)[:, order] for name, part in parts.items() if part is not None}
    bad = ~np.isfinite(parts["flux"])
    if bad.any():
        parts["mask"] = parts.get("mask", False) | bad
        parts["flux"] = np.where(bad, 0.0, parts["flux"])
    if "ivar" in parts:
        parts["ivar"] = np.where(bad | ~np.isfinite(parts["ivar"]), 0.0, parts["ivar"])
    known = _objects(objects)
    for name, column in known.items():
        num = len(column[0] if isinstance(column, tuple) else column)
        if num != len(values):
            told = f"{name!r} is known of {num} objects, there are {len(values)} spectra"
            raise DataError("spectra", f"{told}; give objects= of the same length, or objects={{}}")
    units = "" if unit == u.dimensionless_unscaled else unit.to_string()
    return spectra_dataset(wavelength=centers[order], units=units, objects=known, **parts, **labels)


def _angstrom(wavelength: u.Quantity) -> np.ndarray:
    quantity = u.Quantity(wavelength)
    length = (quantity.unit or u.dimensionless_unscaled).is_equivalent(u.AA)
    try:
        return np.asarray(quantity.to(u.AA, [] if length else u.spectral()).value, np.float64)
    except u.UnitConversionError as error:
        raise DataError("spectra", f"wavelengths need a unit of length or frequency: {error}") from error


def _objects(table: Any) -> dict[str, Any]:
    columns = {} if table is None else {name: table[name] for name in getattr(table, "colnames", table)}
    return {name: _column(column) for name, column in columns.items()}


def _column(column: Any) -> Any:
    unit = getattr(column, "unit", None)
    if unit is None:
        return column if isinstance(column, tuple) else np.asarray(column)
    return np.asarray(u.Quantity(column).value), {"units": unit.to_string()}


def inverse_variance(given: Any, unit: Any) -> np.ndarray | None:
    """Return an inverse variance in the unit ``1 / unit**2`` of any uncertainty of astropy; 0 where there is none."""
    if given is None:
        return None
    try:
        if isinstance(given, NDUncertainty):
            with np.errstate(divide="ignore", invalid="ignore"):  # an error of 0 is none: its inverse becomes 0
                inverse = given if isinstance(given, InverseVariance) else given.represent_as(InverseVariance)
            given = inverse.quantity
        # Numbers without a unit are in that of the flux.
        return np.asarray(given.to(unit**-2).value if isinstance(given, u.Quantity) else given)
    except u.UnitConversionError as error:
        raise DataError("spectra", f"the inverse variance does not fit a flux in {unit}: {error}") from error


def _like(name: str, part: Any, shape: tuple[int, ...]) -> np.ndarray:
    values = np.atleast_2d(np.asarray(part))
    if values.shape != shape:
        raise DataError("spectra", f"{name} of shape {values.shape} does not fit flux of shape {shape}")
    return values
