"""Which statistics fit a field: fluxes by wavelength for spectra, power spectra and peaks for fields on even grids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import xarray as xr

from sciffusion.statistics.asked import condition_names
from sciffusion.statistics.bispectra import Bispectrum
from sciffusion.statistics.colors import Colors
from sciffusion.statistics.deltavariance import DeltaVariance
from sciffusion.statistics.extent import Views
from sciffusion.statistics.features import SpectralFeatures
from sciffusion.statistics.fieldpower import Power, PowerCorrelation, Slope
from sciffusion.statistics.fieldvalues import OnePoint, Peaks
from sciffusion.statistics.grid import is_spectrum, name_of
from sciffusion.statistics.linestatistics import Lines
from sciffusion.statistics.morphology import Morphology
from sciffusion.statistics.objectredshift import Redshift
from sciffusion.statistics.pixels import Pixels
from sciffusion.statistics.recovery import Recovery
from sciffusion.statistics.response import Response
from sciffusion.statistics.scatteringtransform import Scattering
from sciffusion.statistics.spectrum import Correlation, Flux, FluxDistribution
from sciffusion.statistics.spectrumtexture import Continuum
from sciffusion.statistics.statistic import Statistic
from sciffusion.statistics.structure import StructureFunction

__all__ = ["DIAGNOSTICS", "check_diagnostics", "chosen", "fitting", "measurable"]


@dataclass(frozen=True)
class _Sets:
    """Two sets on one grid, and what their kind is measured by: views, power spectra; or pixels of spectra."""

    real: xr.DataArray
    generated: xr.DataArray
    tests: bool
    views: Any = None
    power: Any = None
    pixels: Any = None


_OF_FIELDS: dict[str, tuple[Any, Callable[[_Sets], Statistic]]] = {
    "power_correlation": (PowerCorrelation, lambda sets: PowerCorrelation(sets.power)),
    "slope": (Slope, lambda sets: Slope.of(sets.real, sets.views, sets.power)),
    "structure_function": (StructureFunction, lambda sets: StructureFunction.of(sets.real, sets.views)),
    "delta_variance": (DeltaVariance, lambda sets: DeltaVariance.of(sets.real, sets.views)),
    "minkowski": (Morphology, lambda sets: Morphology.of(sets.real, sets.views)),
    "bispectrum": (Bispectrum, lambda sets: Bispectrum.of(sets.real, sets.views)),
    "scattering": (Scattering, lambda sets: Scattering.of(sets.real, sets.views, sets.tests)),
    "response": (Response, lambda sets: Response.of(sets.real, sets.generated, sets.views)),
    "recovery": (Recovery, lambda sets: Recovery.of(sets.real, sets.generated, sets.views)),
}
_OF_SPECTRA: dict[str, tuple[Any, Callable[[_Sets], Statistic]]] = {
    "colors": (Colors, lambda sets: Colors.of(sets.real, sets.generated)),
    "continuum": (Continuum, lambda sets: Continuum.of(sets.real, sets.generated)),
    "lines": (Lines, lambda sets: Lines.of(sets.real, sets.generated)),
    "redshift": (Redshift, lambda sets: Redshift.of(sets.real, sets.generated)),
    "features": (SpectralFeatures, lambda sets: SpectralFeatures.of(sets.pixels, sets.tests)),
}
"""By its name what checks whether a diagnostic can be measured, and what makes it."""

_CONDITIONAL = ("response", "recovery")

DIAGNOSTICS = (*_OF_FIELDS, *_OF_SPECTRA)
"""What may be asked for besides the usual."""


def check_diagnostics(diagnostics: Sequence[str], *fields: xr.DataArray) -> None:
    """Raise `ValueError` if one of the names is unknown, or cannot be measured of fields like these.

    Parameters
    ----------
    diagnostics : sequence of str
    *fields : DataArray (sample, [channel,] *grid)
        One set, or the two that are to be compared. Only their labels are read.
    """
    kind, known = ("spectra", _OF_SPECTRA) if is_spectrum(fields[0]) else ("fields on even grids", _OF_FIELDS)
    _check_names(diagnostics)
    for name in diagnostics:
        if name not in known:
            raise ValueError(f"the diagnostic {name!r} is not for {kind}; of these there are {', '.join(known)}")
        for field in fields:
            getattr(known[name][0], "check", lambda _: None)(field)
        if name in _CONDITIONAL and not condition_names(*fields)[0]:
            told = " and ".join(name_of(field) for field in fields)
            raise ValueError(f"the diagnostic {name!r} needs a condition, such as 'Omega_m', that {told} carry")


def measurable(diagnostics: Sequence[str], *fields: xr.DataArray) -> tuple[list[str], list[str]]:
    """Return which diagnostics can be measured of fields like these, and of the others why not.

    A kind of field names what it is usually judged by; data of a user may lack it, as optical spectra have no J band.

    Parameters
    ----------
    diagnostics : sequence of str
    *fields : DataArray (sample, [channel,] *grid)
        One set, or the two that are to be compared. Only their labels are read.

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
            check_diagnostics([name], *fields)
            names.append(name)
        except ValueError as error:
            reasons.append(f"{name}: {error}")
    return names, reasons


def chosen(diagnostics: Sequence[str] | str, real: xr.DataArray, generated: xr.DataArray) -> list[str]:
    """Return the names of what is measured besides the usual: all that both sets allow for ``"all"``, else as given.

    Raises
    ------
    ValueError
        If a name is unknown, or cannot be measured of such fields.
    """
    if diagnostics == "all":
        return measurable(list(_OF_SPECTRA if is_spectrum(real) else _OF_FIELDS), real, generated)[0]
    check_diagnostics(diagnostics, real, generated)
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
        sets = _Sets(real, generated, tests, pixels=pixels)
        usual: list[Statistic] = [Flux(pixels), FluxDistribution(pixels), Correlation(pixels)]
        return usual + [_OF_SPECTRA[name][1](sets) for name in diagnostics]
    views = Views.of(real, generated, log)
    sets = _Sets(real, generated, tests, views=views, power=Power.of(real, views))
    more = [_OF_FIELDS[name][1](sets) for name in diagnostics]
    return [sets.power, OnePoint.of(views), Peaks.of(views), *more]
