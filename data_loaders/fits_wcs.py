"""What the header of a FITS image says of its axes: the sky, wavelengths, lengths.

World coordinates after Greisen & Calabretta 2002, A&A 395, 1061 (linear axes, their eq. 1 with FITS's pixels from 1);
Calabretta & Greisen 2002, A&A 395, 1077 (the sky); Greisen et al. 2006, A&A 446, 747 (spectra: eq. 5 for ``-LOG``).
"""

import re
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from astropy import units as u
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales

__all__ = ["ImageAxes", "image_axes", "wcs_cards"]

# type of the axis: dim, unit if CUNIT is missing, medium of wavelengths
_SPECTRAL = {
    "WAVE": ("wavelength", "m", "vacuum"),
    "AWAV": ("wavelength", "m", "air"),
    "LAMBDA": ("wavelength", "Angstrom", None),
    "WAVELENGTH": ("wavelength", "Angstrom", None),
    "FREQ": ("frequency", "Hz", None),
    "ENER": ("energy", "J", None),
    "WAVN": ("wavenumber", "1/m", None),
    "VRAD": ("velocity", "m/s", None),
    "VOPT": ("velocity", "m/s", None),
    "VELO": ("velocity", "m/s", None),
}
_SPATIAL = ("x", "y", "z")
_CARDS = re.compile(
    r"(NAXIS\d*|WCSAXES|C(TYPE|RPIX|RVAL|DELT|UNIT|ROTA)\d+|(CD|PC|PV|PS)\d+_\d+|LONPOLE|LATPOLE|RADESYS|RADECSYS|"
    r"EQUINOX|SPECSYS|RESTFRQ|RESTWAV|MJD-?OBS|DATE-OBS|(A|B|AP|BP)_(ORDER|\d_\d)|VELREF|WCSNAME)"
)


@dataclass(frozen=True)
class ImageAxes:
    """Names of the axes of an image in numpy's order, None if the header does not say; their coordinates; the WCS."""

    dims: tuple[str | None, ...]
    coords: dict[str, xr.Variable]
    wcs: str | None


def image_axes(header: fits.Header, shape: tuple[int, ...]) -> ImageAxes:
    """Return what the header says of the axes of an image of this shape.

    Spectral axes have their own names (``wavelength`` in Angstrom), the sky is ``y`` and ``x`` with offsets from the
    center of the image [deg] where pixels are square, other axes with a unit are ``x``, ``y``, ``z``.

    Examples
    --------
    >>> cards = {"CTYPE1": "WAVE", "CRPIX1": 1.0, "CRVAL1": 500.0, "CDELT1": 0.1, "CUNIT1": "nm"}
    >>> axes = image_axes(fits.Header(cards), (2, 3))
    >>> axes.dims, axes.coords["wavelength"].values
    ((None, 'wavelength'), array([5000., 5001., 5002.]))
    """
    ndim = len(shape)
    names: list[str | None] = [None] * ndim
    coords: dict[str, xr.Variable] = {}
    sky = _sky(header)
    for n in range(1, ndim + 1):
        found = _linear_axis(header, n, shape[ndim - n])
        if n not in sky and found is not None and found.dims[0] not in coords:
            names[ndim - n] = str(found.dims[0])
            coords[str(found.dims[0])] = found
    if sky:
        coords = {name: axis for name, axis in coords.items() if name not in ("x", "y")}
        names = [None if name in ("x", "y") else name for name in names]
        for dim, n in zip(("x", "y"), sorted(sky)):
            names[ndim - n] = dim
        coords |= _offsets(header, {names[ndim - n]: shape[ndim - n] for n in sky})
    return ImageAxes(tuple(names), coords, wcs_cards(header) if sky else None)


def wcs_cards(header: fits.Header) -> str:
    """Return the cards of the world coordinates as text: ``WCS(fits.Header.fromstring(text))`` gives them back."""
    kept = fits.Header([card for card in header.cards if _CARDS.fullmatch(card.keyword)])
    return kept.tostring(sep="", endcard=False, padding=False)


def _sky(header: Any) -> tuple[int, ...]:
    """Numbers of the two celestial axes; none if there is no sky in the image."""
    wcs = _wcs(header)
    if wcs is None or min(wcs.wcs.lng, wcs.wcs.lat) < 0:
        return ()
    return (wcs.wcs.lng + 1, wcs.wcs.lat + 1)


def _wcs(header: Any) -> WCS | None:
    if "CTYPE1" not in header:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)  # It mends old keywords and says so.
            return WCS(fits.Header.fromstring(wcs_cards(header)), fix=True)
    except Exception as error:
        told = f"the world coordinates of the image are not understood and are left out: {error}"
        warnings.warn(told, UserWarning, stacklevel=2)
        return None


def _offsets(header: Any, lengths: dict[Any, int]) -> dict[str, xr.Variable]:
    """Offsets from the center along the axes of the sky [deg], if its pixels are square."""
    wcs = _wcs(header)
    assert wcs is not None
    scales = proj_plane_pixel_scales(wcs.celestial)
    if not np.allclose(scales, scales[0], rtol=1e-3) or not np.all(scales > 0):
        return {}
    attrs = {"units": "deg", "long_name": "offset from the center", "boundary": "reflect"}
    return {dim: xr.Variable(dim, (np.arange(n) - (n - 1) / 2) * scales.mean(), attrs) for dim, n in lengths.items()}


def _linear_axis(header: Any, n: int, length: int) -> xr.Variable | None:
    """Coordinate of an axis that is linear or logarithmic and says its unit; None for another."""
    ctype, _, algorithm = str(header.get(f"CTYPE{n}", "")).strip().upper().partition("-")
    units = str(header.get(f"CUNIT{n}", "")).strip()
    step = _step(header, n)
    if step in (None, 0) or algorithm.strip("-") not in ("", "LOG"):
        return None
    values = _values(header, n, length, float(step or 0), algorithm.strip("-") == "LOG")
    if ctype in _SPECTRAL or (ctype in ("", "LINEAR") and _is_angstrom(units)):
        dim, default, medium = _SPECTRAL.get(ctype, _SPECTRAL["LAMBDA"])
        return _spectral(dim, values, units or default, medium)
    if not units:
        return None
    dim = ctype.lower() if ctype.lower() in _SPATIAL else (*_SPATIAL, None, None)[min(n, 4) - 1]
    return None if dim is None else xr.Variable(dim, values, {"units": units})


def _step(header: Any, n: int) -> float | None:
    """Step along an axis that no other axis is mixed with."""
    mixed = [key for key in header if re.fullmatch(rf"(CD|PC)({n}_\d+|\d+_{n})", str(key)) and key[2:] != f"{n}_{n}"]
    if any(header[key] for key in mixed):
        return None
    if f"CD{n}_{n}" in header:
        return header[f"CD{n}_{n}"]
    return header[f"CDELT{n}"] * header.get(f"PC{n}_{n}", 1.0) if f"CDELT{n}" in header else None


def _values(header: Any, n: int, length: int, step: float, logarithmic: bool) -> np.ndarray:
    first = float(header.get(f"CRVAL{n}", 0.0))
    offset = (np.arange(1.0, length + 1) - float(header.get(f"CRPIX{n}", 0.0))) * step
    if logarithmic:
        return first * np.exp(offset / first)
    # IRAF's way to say that the axis is log10 of the wavelength.
    return 10 ** (first + offset) if header.get("DC-FLAG", 0) == 1 else first + offset


def _is_angstrom(units: str) -> bool:
    return units.lower().rstrip("s") in ("angstrom", "0.1 nm")


def _spectral(dim: str, values: np.ndarray, units: str, medium: str | None) -> xr.Variable:
    """Wavelengths in Angstrom, in the medium that their type says; other axes in their own unit."""
    attrs: dict[str, Any] = {"units": units, "long_name": dim, "boundary": "reflect"}
    if dim == "wavelength":
        try:
            values = (values * u.Unit("Angstrom" if _is_angstrom(units) else units)).to_value(u.AA)
            attrs |= {"units": "Angstrom", "frame": "observed"}
        except (ValueError, TypeError):
            pass  # A unit that astropy does not know stays as it is written.
        attrs |= {} if medium is None else {"medium": medium}
    return xr.Variable(dim, values, attrs)
