"""One way in which every reader hands over spectra.

``flux (sample, wavelength)``, and as coordinates ``ivar`` and ``mask`` with the same dims, ``wavelength`` [Angstrom]
with its medium (vacuum or air) and frame (observed or rest), and whatever is known of each object.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

__all__ = ["FRAMES", "MEDIA", "spectra_dataset"]

MEDIA = ("vacuum", "air")
FRAMES = ("observed", "rest")

Array = np.ndarray | xr.Variable


def spectra_dataset(
    flux: Array,
    wavelength: np.ndarray,
    *,
    units: str,
    ivar: Array | None = None,
    mask: Array | None = None,
    medium: str = "vacuum",
    frame: str = "observed",
    objects: Mapping[str, Any] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Return spectra in the labelled layout.

    Parameters
    ----------
    flux : array or variable (sample, wavelength)
        May be lazy (`data_loaders.lazy.lazy_variable`).
    wavelength : ndarray (wavelength,)
        Pixel centers [Angstrom], rising.
    units : str
        Of the flux, such as ``"1e-17 erg / (s cm2 Angstrom)"``; ``""`` if it is relative.
    ivar : array or variable (sample, wavelength), optional
        Inverse variance of the flux; 0 where nothing is known.
    mask : array or variable (sample, wavelength), optional
        True where a pixel is bad.
    medium : {"vacuum", "air"}
        In which the wavelengths are measured.
    frame : {"observed", "rest"}
        Of the wavelengths.
    objects : mapping, optional
        Coordinates along ``sample``: ``redshift``, ``object_id`` (int64), ``group`` (int64), ``ra``, ``dec`` [deg],
        ...; each an array, or a pair of array and attributes such as ``{"units": "deg"}``.
    attrs : mapping, optional
        Of the dataset: ``source``, ``citation``, ``licence``, ...

    Raises
    ------
    ValueError
        If medium or frame is unknown.

    Examples
    --------
    >>> grid = np.array([4000.0, 4001, 4002])
    >>> ds = spectra_dataset(np.ones((2, 3)), grid, units="", objects={"redshift": [0.1, 0.2]})
    >>> ds.flux.dims, ds.wavelength.attrs["medium"]
    (('sample', 'wavelength'), 'vacuum')
    """
    for value, known in ((medium, MEDIA), (frame, FRAMES)):
        if value not in known:
            raise ValueError(f"expected one of {', '.join(known)}, got {value!r}")
    dims = ("sample", "wavelength")
    axis = {"units": "Angstrom", "long_name": "wavelength", "medium": medium, "frame": frame, "boundary": "reflect"}
    coords: dict[str, Any] = {"wavelength": ("wavelength", np.asarray(wavelength, np.float64), axis)}
    for name, value in (objects or {}).items():
        values, labels = value if isinstance(value, tuple) else (value, {})
        coords[name] = ("sample", np.asarray(values), dict(labels))
    if ivar is not None:
        coords["ivar"] = _variable(ivar, dims, {"long_name": "inverse variance of flux"})
    if mask is not None:
        coords["mask"] = _variable(mask, dims, {"long_name": "bad pixel"})
    field = _variable(flux, dims, {"units": units, "long_name": "flux"})
    return xr.Dataset({"flux": field}, coords, {"field": "flux", **(attrs or {})})


def _variable(values: Array, dims: tuple[str, ...], attrs: dict[str, Any]) -> xr.Variable:
    if isinstance(values, xr.Variable):
        variable = values.copy(deep=False)
        variable.attrs = {**variable.attrs, **attrs}
        return variable
    return xr.Variable(dims, values, attrs)
