"""How much of the light of each wavelength a survey's band counts: response curves for synthetic photometry.

A magnitude from a spectrum is ``m = -2.5 log10(∫ F R λ dλ / (F_0 ∫ R λ dλ))`` with the response ``R`` to photons and
the flux density ``F_0`` of zero magnitude.

References
----------
Cohen, Wheaton & Megeath 2003, AJ 126, 1090 (2MASS curves and zero points); Doi et al. 2010, AJ 139, 1628 (SDSS);
the curves are those of speclite (BSD-3-Clause).
"""

from functools import cache
from importlib.resources import files

import numpy as np
from astropy.table import Table

__all__ = ["filter_curve", "filter_names", "vega_flux"]


def filter_names() -> list[str]:
    """Return the names of the packaged response curves.

    Examples
    --------
    >>> filter_names()
    ['2mass-H', '2mass-J', '2mass-Ks', 'sdss-g', 'sdss-i', 'sdss-r', 'sdss-u', 'sdss-z']
    """
    return sorted(_curves())


def filter_curve(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the response of a band to photons.

    Parameters
    ----------
    name : str
        One of `filter_names`, such as ``"2mass-J"`` or ``"sdss-r"``.

    Returns
    -------
    wavelength : ndarray (n,)
        Rising [Angstrom]; the response is 0 outside.
    response : ndarray (n,)
        To photons, over its peak, through the atmosphere.

    Raises
    ------
    ValueError
        There is no such curve; the message lists those that there are.

    Examples
    --------
    >>> wavelength, response = filter_curve("2mass-J")
    >>> float(wavelength[0]), float(response.max())
    (10620.0, 1.0)
    """
    curves = _curves()
    if name not in curves:
        raise ValueError(f"no filter curve {name!r}; there are {', '.join(sorted(curves))}")
    wavelength, response = curves[name]
    return wavelength.copy(), response.copy()


def vega_flux(name: str) -> float:
    """Return the flux density of zero magnitude in the 2MASS (Vega) system [erg / (s cm2 Angstrom)].

    Parameters
    ----------
    name : str
        ``"2mass-J"``, ``"2mass-H"`` or ``"2mass-Ks"``.

    Raises
    ------
    ValueError
        The band has no such zero point (SDSS magnitudes are AB: 3631 Jy in every band).

    Examples
    --------
    >>> vega_flux("2mass-J")
    3.129e-10
    """
    known = dict(_table().meta or {})["vega_zero_points"]
    if name not in known:
        raise ValueError(f"no Vega zero point of {name!r}; there are {', '.join(sorted(known))}")
    return float(known[name]["flux"])


@cache
def _table() -> Table:
    return Table.read(str(files("data_loaders") / "data" / "filters.ecsv"), format="ascii.ecsv")


@cache
def _curves() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    table = _table()
    name = np.asarray(table["filter"])
    wavelength, response = (np.asarray(table[column], np.float64) for column in ("wavelength", "response"))
    return {str(each): (wavelength[name == each], response[name == each]) for each in np.unique(name)}
