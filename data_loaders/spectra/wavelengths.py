"""The scale of wavelengths: in air or vacuum, as observed or as emitted.

Air has a refractive index ``n``, so that ``λ_vacuum = n λ_air``; the standard of Ciddor 1996 (15 °C, 101325 Pa, dry,
450 ppm CO2) with ``σ = 1 / λ_vacuum`` [1/micron],

    n - 1 = 0.05792105 / (238.0185 - σ²) + 0.00167917 / (57.362 - σ²),

holds above 2000 Å. Light of redshift z is emitted at ``λ_observed / (1 + z)``; both are vacuum wavelengths there, so
a redshift is undone in vacuum. Flux densities refer to the wavelengths they are given with, so that ``∫ F dλ`` stays:
``F_rest = (1 + z) F_observed``. Between air and vacuum they are left as they are, by convention (a factor of 1.0003).

References
----------
Ciddor 1996, Applied Optics 35, 1566; the coefficients as adopted by VALD and by the IAU Office of Astronomy.
"""

import numpy as np

__all__ = ["air_to_vacuum", "convert", "vacuum_to_air"]

_LOWEST = 2000.0  # Angstrom: below, wavelengths are vacuum by convention, and the formula has poles


def vacuum_to_air(wavelength: np.ndarray) -> np.ndarray:
    """Return the wavelength in standard air of light with a vacuum wavelength.

    Parameters
    ----------
    wavelength : ndarray
        In vacuum [Angstrom]; below 2000 Å it is returned as it is.

    Returns
    -------
    ndarray
        In air [Angstrom].

    Examples
    --------
    >>> round(float(vacuum_to_air(np.array(6564.61))), 2)
    6562.8
    """
    vacuum = np.asarray(wavelength, np.float64)
    return vacuum / _index(vacuum)


def air_to_vacuum(wavelength: np.ndarray) -> np.ndarray:
    """Return the vacuum wavelength of light with a wavelength in standard air: the inverse of `vacuum_to_air`.

    Parameters
    ----------
    wavelength : ndarray
        In air [Angstrom]; below 2000 Å it is returned as it is.

    Returns
    -------
    ndarray
        In vacuum [Angstrom], to a relative 1e-13.

    Examples
    --------
    >>> round(float(air_to_vacuum(np.array(5006.843))), 2)
    5008.24
    """
    air = np.asarray(wavelength, np.float64)
    vacuum = air * _index(air)
    for _ in range(3):  # each round gains four digits or more: n changes by 1e-8 where λ changes by 1e-4
        vacuum = air * _index(vacuum)
    return vacuum


def _index(vacuum: np.ndarray) -> np.ndarray:
    square = (1e4 / np.maximum(vacuum, _LOWEST)) ** 2
    index = 1 + 0.05792105 / (238.0185 - square) + 0.00167917 / (57.362 - square)
    return np.where(vacuum > _LOWEST, index, 1.0)


def convert(wavelength: np.ndarray, factor: float, medium: str, to: str) -> np.ndarray:
    """Return wavelengths times `factor` (of a change of frame, applied in vacuum), from one medium to another.

    Parameters
    ----------
    wavelength : ndarray
        [Angstrom], in `medium`.
    factor : float
        ``1 / (1 + z)`` from observed to rest, ``1 + z`` back, 1 for the same frame.
    medium, to : {"vacuum", "air"}
        Before and after.

    Examples
    --------
    >>> convert(np.array([5000.0, 6000.0]), 0.5, "vacuum", "vacuum").tolist()
    [2500.0, 3000.0]
    """
    if factor == 1 and medium == to:
        return np.asarray(wavelength, np.float64)
    vacuum = air_to_vacuum(wavelength) if medium == "air" else np.asarray(wavelength, np.float64)
    shifted = vacuum * factor
    return vacuum_to_air(shifted) if to == "air" else shifted
