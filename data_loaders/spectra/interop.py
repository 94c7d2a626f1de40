"""Spectra to and from the objects of astropy: QTable, NDData, and the Spectrum of specutils.

All of them are ways to write one thing: flux and wavelengths with units, an uncertainty, a mask and what is known of
each object. What comes out of a ``to_`` goes back in through its ``from_`` with values, units, inverse variance, mask,
medium and frame as they were. Values are read.
"""

from collections.abc import Mapping
from typing import Any

import astropy.units as u
import numpy as np
import xarray as xr
from astropy.nddata import InverseVariance, NDData
from astropy.table import QTable

from data_loaders.errors import DataError
from data_loaders.layout import main_variable
from data_loaders.spectra.quantities import from_quantity, inverse_variance

__all__ = [
    "from_nddata",
    "from_qtable",
    "from_specutils",
    "to_nddata",
    "to_qtable",
    "to_specutils",
]

_AXIS = ("medium", "frame")


def to_nddata(ds: xr.Dataset) -> NDData:
    """Return spectra as one `NDData` ``(sample, wavelength)``, its wavelengths and objects in ``meta``.

    Examples
    --------
    >>> from data_loaders.spectra import from_quantity
    >>> ds = from_quantity(np.ones((2, 3)) * u.Jy, [4.0, 5.0, 6.0] * u.um)
    >>> to_nddata(ds).unit, to_nddata(ds).meta["wavelength"].unit
    (Unit("Jy"), Unit("Angstrom"))
    """
    flux, wavelength, ivar, mask = _parts(ds)
    uncertainty = None if ivar is None else InverseVariance(ivar)
    return NDData(flux, uncertainty=uncertainty, mask=mask, meta={**_meta(ds), "wavelength": wavelength})


def from_nddata(data: NDData, wavelength: u.Quantity | None = None, **labels: Any) -> xr.Dataset:
    """Return spectra from an `NDData` ``(sample, wavelength)`` or ``(wavelength,)``.

    Parameters
    ----------
    data : NDData
        With any uncertainty.
    wavelength : Quantity (wavelength,), optional
        By default ``data.meta["wavelength"]``.
    **labels
        ``medium``, ``frame``, ``objects``, ``attrs``, over those in ``meta``.

    Raises
    ------
    DataError
        There are no wavelengths, or shapes or units do not fit.

    Examples
    --------
    >>> from_nddata(NDData([1.0, 2.0], unit="Jy"), [400.0, 500.0] * u.nm).sizes["wavelength"]
    2
    """
    meta = _plain(data.meta)
    wavelength = meta.pop("wavelength", None) if wavelength is None else wavelength
    if wavelength is None:
        raise DataError("NDData", "expected wavelengths in meta['wavelength']; give wavelength=")
    flux = u.Quantity(np.asarray(data.data), data.unit or u.dimensionless_unscaled)
    return from_quantity(flux, wavelength, ivar=data.uncertainty, mask=data.mask, **_labels(meta, labels))


def to_qtable(ds: xr.Dataset) -> QTable:
    """Return spectra as a table of one row a sample: ``flux``, ``ivar``, ``mask`` and what is known of each object.

    The wavelengths, common to all, are in ``meta["wavelength"]``, with medium and frame beside them.

    Examples
    --------
    >>> from data_loaders.spectra import from_quantity
    >>> ds = from_quantity(np.ones((2, 3)) * u.Jy, [4.0, 5.0, 6.0] * u.um, objects={"redshift": [0.1, 0.2]})
    >>> table = to_qtable(ds)
    >>> table.colnames, table["flux"].unit
    (['flux', 'redshift'], Unit("Jy"))
    """
    flux, wavelength, ivar, mask = _parts(ds)
    meta = _meta(ds)
    columns = {"flux": flux, "ivar": ivar, "mask": mask, **meta.pop("objects")}
    return QTable(
        {name: column for name, column in columns.items() if column is not None},
        meta={**meta, "wavelength": wavelength},
    )


def from_qtable(table: QTable, **labels: Any) -> xr.Dataset:
    """Return spectra from a table: one row a sample as `to_qtable` writes it, or one row a pixel of one spectrum.

    Parameters
    ----------
    table : QTable
        With the columns ``flux`` and, where they are known, ``ivar`` and ``mask``. The wavelengths are in
        ``meta["wavelength"]``, or a column ``wavelength``: then each row is a pixel.
    **labels
        ``medium``, ``frame``, ``attrs``, over those in ``meta``.

    Raises
    ------
    DataError
        There is no flux or there are no wavelengths; the message lists what there is.

    Examples
    --------
    >>> table = QTable({"wavelength": [400.0, 500.0] * u.nm, "flux": [1.0, 2.0] * u.Jy})
    >>> from_qtable(table).flux.shape
    (1, 2)
    """
    columns, meta = {name: table[name] for name in table.colnames}, _plain(table.meta)
    wavelength = columns.pop("wavelength", None)
    by_pixel = wavelength is not None
    wavelength = wavelength if by_pixel else meta.pop("wavelength", None)
    if "flux" not in columns or wavelength is None:
        told = "expected a column 'flux', and the wavelengths in meta['wavelength'] or a column 'wavelength'"
        raise DataError(
            "QTable", f"{told}; columns: {', '.join(table.colnames) or 'none'}; meta: {', '.join(meta) or 'none'}"
        )
    flux, ivar, mask = (columns.pop(name, None) for name in ("flux", "ivar", "mask"))
    given = _labels(meta, {} if by_pixel else {"objects": columns}) | labels
    mask = None if mask is None else np.asarray(mask, bool)
    return from_quantity(_quantity(flux), _quantity(wavelength), ivar=_quantity(ivar), mask=mask, **given)


def to_specutils(ds: xr.Dataset) -> Any:
    """Return spectra as one `specutils.Spectrum` with flux ``(sample, wavelength)``; objects, medium, ... in ``meta``.

    ``spectrum[i]`` is the spectrum of sample i.

    Raises
    ------
    ImportError
        specutils is not installed.

    Examples
    --------
    >>> from data_loaders.spectra import from_quantity
    >>> ds = from_quantity(np.ones((2, 3)) * u.Jy, [4.0, 5.0, 6.0] * u.um)
    >>> to_specutils(ds)[1].flux
    <Quantity [1., 1., 1.] Jy>
    """
    flux, wavelength, ivar, mask = _parts(ds)
    uncertainty = None if ivar is None else InverseVariance(ivar)
    return _specutils().Spectrum(
        flux, wavelength, spectral_axis_index=1, uncertainty=uncertainty, mask=mask, meta=_meta(ds)
    )


def from_specutils(spectra: Any, **labels: Any) -> xr.Dataset:
    """Return spectra from a `specutils.Spectrum`, a `SpectrumCollection`, or several `Spectrum` of one grid.

    Parameters
    ----------
    spectra : Spectrum, SpectrumCollection or iterable of Spectrum
        One spectrum, or spectra that share their spectral axis; a redshift of theirs becomes the coordinate.
    **labels
        ``medium``, ``frame``, ``objects``, ``attrs``, over those in ``meta``.

    Raises
    ------
    DataError
        The spectral axes or the units differ, or what comes is no spectrum.
    ImportError
        specutils is not installed.

    Examples
    --------
    >>> from specutils import Spectrum
    >>> from_specutils([Spectrum([1.0, 2.0] * u.Jy, [400.0, 500.0] * u.nm)] * 3).flux.shape
    (3, 2)
    """
    kinds, given = _specutils(), spectra
    if isinstance(given, kinds.Spectrum):
        return _from_spectrum(given, labels)
    several = [given[i] for i in range(len(given))] if isinstance(given, kinds.SpectrumCollection) else list(given)
    if not several or not all(isinstance(spectrum, kinds.Spectrum) for spectrum in several):
        raise DataError(
            "specutils", "expected Spectrum, SpectrumCollection or a list of Spectrum; found something else"
        )
    parts = [_from_spectrum(spectrum, labels) for spectrum in several]
    first = parts[0]
    for i, ds in enumerate(parts):
        same = ds.sizes["wavelength"] == first.sizes["wavelength"] and np.allclose(
            ds.wavelength, first.wavelength, rtol=1e-9
        )
        if not same or ds.flux.attrs != first.flux.attrs:
            told = f"spectrum {i} has another spectral axis or unit than the first; open them one by one and rebin"
            raise DataError("specutils", f"{told} with data_loaders.spectra.prepare(ds, wavelength=...)")
    return xr.concat(
        parts,
        "sample",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        combine_attrs="drop_conflicts",
        join="override",
    )


def _from_spectrum(spectrum: Any, labels: Mapping[str, Any]) -> xr.Dataset:
    given = _labels(_plain(spectrum.meta), labels)
    flux, uncertainty, mask = spectrum.flux, spectrum.uncertainty, spectrum.mask
    ivar = None if uncertainty is None else inverse_variance(uncertainty, flux.unit)
    axis = spectrum.spectral_axis_index if flux.ndim > 1 else 0
    flux = np.moveaxis(flux, axis, -1)
    ivar, mask = (None if part is None else np.moveaxis(np.asarray(part), axis, -1) for part in (ivar, mask))
    redshift = np.asarray(spectrum.redshift, np.float64)
    if np.any(redshift != 0):
        columns = dict(given.get("objects") or {})
        given["objects"] = {"redshift": np.broadcast_to(redshift, (len(np.atleast_2d(flux)),)), **columns}
    return from_quantity(flux, u.Quantity(spectrum.spectral_axis), ivar=ivar, mask=mask, **given)


def _parts(ds: xr.Dataset) -> tuple[u.Quantity, u.Quantity, u.Quantity | None, np.ndarray | None]:
    """Return flux, wavelengths, inverse variance and mask, with units; raises `DataError` if they are none."""
    field = main_variable(ds)
    try:
        unit = u.Unit(field.attrs.get("units", ""))
        wavelength = u.Quantity(ds["wavelength"].values, ds["wavelength"].attrs["units"])
    except (ValueError, KeyError) as error:
        raise DataError(ds.encoding.get("source", "spectra"), f"units that astropy does not know: {error}") from error
    ivar = u.Quantity(ds["ivar"].values, unit**-2) if "ivar" in ds.variables else None
    return u.Quantity(field.values, unit), wavelength, ivar, ds["mask"].values if "mask" in ds.variables else None


def _meta(ds: xr.Dataset) -> dict[str, Any]:
    """Return what is not on the pixels: objects (a mapping of columns), attributes, medium and frame."""
    columns = {}
    for name, coordinate in ds.coords.items():
        if coordinate.dims == ("sample",):
            units = coordinate.attrs.get("units")
            columns[str(name)] = u.Quantity(coordinate.values, units) if units else coordinate.values
    attrs = {key: value for key, value in ds.attrs.items() if key != "field"}
    axis = {key: ds["wavelength"].attrs[key] for key in _AXIS if key in ds["wavelength"].attrs}
    return {"objects": columns, "attrs": attrs, **axis}


def _plain(meta: Any) -> dict[str, Any]:
    return {str(key): value for key, value in (meta or {}).items()}


def _labels(meta: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `from_quantity` takes of a meta, under what is given."""
    return {**{key: meta[key] for key in (*_AXIS, "objects", "attrs") if key in meta}, **given}


def _quantity(column: Any) -> Any:
    return None if column is None else u.Quantity(column)


def _specutils() -> Any:
    try:
        import specutils
    except ImportError as error:
        raise ImportError("specutils is not installed: pip install 'sciffusion[spectra]'") from error
    return specutils
