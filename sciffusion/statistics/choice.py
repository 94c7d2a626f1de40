"""Which statistics fit a field: fluxes by wavelength for spectra, power spectra and peaks for fields on even grids."""

from __future__ import annotations

from collections.abc import Sequence

import xarray as xr

from sciffusion.statistics.colors import Colors
from sciffusion.statistics.extent import Views
from sciffusion.statistics.fieldpower import Power, Slope
from sciffusion.statistics.fieldvalues import OnePoint, Peaks
from sciffusion.statistics.grid import is_spectrum
from sciffusion.statistics.pixels import Pixels
from sciffusion.statistics.spectrum import Correlation, Flux, FluxDistribution
from sciffusion.statistics.statistic import Statistic
from sciffusion.statistics.structure import StructureFunction

__all__ = ["DIAGNOSTICS", "check_diagnostics", "chosen", "fitting", "measurable"]

_OF_FIELDS: dict[str, type[Slope] | type[StructureFunction]] = {
    "slope": Slope,
    "structure_function": StructureFunction,
}
_OF_SPECTRA: dict[str, type[Colors]] = {"colors": Colors}

DIAGNOSTICS = (*_OF_FIELDS, *_OF_SPECTRA)
"""What may be asked for besides the usual."""


def check_diagnostics(diagnostics: Sequence[str], field: xr.DataArray) -> None:
    """Raise `ValueError` if one of the names is unknown, or cannot be measured of fields like `field`.

    Parameters
    ----------
    diagnostics : sequence of str
    field : DataArray (sample, [channel,] *grid)
        Only its labels are read.
    """
    kind, known = ("spectra", _OF_SPECTRA) if is_spectrum(field) else ("fields on even grids", _OF_FIELDS)
    _check_names(diagnostics)
    for name in diagnostics:
        if name not in known:
            raise ValueError(f"the diagnostic {name!r} is not for {kind}; of these there are {', '.join(known)}")
        known[name].check(field)


def measurable(diagnostics: Sequence[str], field: xr.DataArray) -> tuple[list[str], list[str]]:
    """Return which diagnostics can be measured of fields like `field`, and of the others why not.

    A kind of field names what it is usually judged by; data of a user may lack it, as optical spectra have no J band.

    Parameters
    ----------
    diagnostics : sequence of str
    field : DataArray (sample, [channel,] *grid)
        Only its labels are read.

    Returns
    -------
    names, reasons : list of str

    Raises
    ------
    ValueError
        If a name is unknown.
    """
    _check_names(diagnostics)
    names, reasons = [], []
    for name in diagnostics:
        try:
            check_diagnostics([name], field)
            names.append(name)
        except ValueError as error:
            reasons.append(f"{name}: {error}")
    return names, reasons


def chosen(diagnostics: Sequence[str] | str, field: xr.DataArray) -> list[str]:
    """Return the names of what is measured besides the usual: all that `field` allows for ``"all"``, else as given.

    Raises
    ------
    ValueError
        If a name is unknown, or cannot be measured of fields like `field`.
    """
    if diagnostics == "all":
        return measurable(list(_OF_SPECTRA if is_spectrum(field) else _OF_FIELDS), field)[0]
    check_diagnostics(diagnostics, field)
    return list(diagnostics)


def _check_names(diagnostics: Sequence[str]) -> None:
    for name in diagnostics:
        if name not in DIAGNOSTICS:
            raise ValueError(f"unknown diagnostic {name!r}; known are {', '.join(DIAGNOSTICS)}")


def fitting(
    real: xr.DataArray,
    generated: xr.DataArray,
    log: bool | None = None,
    diagnostics: Sequence[str] = (),
    tests: bool = True,
) -> list[Statistic]:
    """Return the statistics by which two sets are compared, in the order of a table.

    Parameters
    ----------
    real, generated : DataArray (sample, *grid)
        On one grid, in the same units.
    log : bool, optional
        Of fields on even grids: whether the logarithm is compared too; by default if all real values are positive.
    diagnostics : sequence of str
        What is measured besides the usual, of `DIAGNOSTICS`.
    tests : bool
        Whether to make the costly tests of two samples.

    Returns
    -------
    list of Statistic

    Raises
    ------
    ValueError
        If a diagnostic is unknown or does not fit the field, or the values allow no comparison.
    """
    if is_spectrum(real):
        pixels = Pixels.of(real, generated)
        usual: list[Statistic] = [Flux(pixels), FluxDistribution(pixels), Correlation(pixels)]
        return usual + [_OF_SPECTRA[name].of(real, generated) for name in diagnostics]
    views = Views.of(real, generated, log)
    more = [_OF_FIELDS[name].of(real, views) for name in diagnostics]
    return [Power.of(real, views), OnePoint.of(views), Peaks.of(views), *more]
