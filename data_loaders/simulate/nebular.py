"""Emission lines of ionized gas: their fluxes for a rate of ionizing photons, and their profiles on pixels.

Each ionizing photon is absorbed (none escapes, none is lost to dust). Balmer lines are those of case B at 10^4 K and
100 cm^-3 (Osterbrock & Ferland 2006, table 4.4). Forbidden lines of star-forming gas follow the abundance of oxygen
as measured by Curti et al. (2017, MNRAS 465, 1384; 2020, MNRAS 491, 944), valid for 12 + log10(O/H) from 7.6 to 8.85,
with a scatter in which high excitation moves [O III] up and the low ions down. Gas heated by old stars has the ratios
of LINERs (Kewley et al. 2006, MNRAS 372, 961; Cid Fernandes et al. 2011, MNRAS 413, 1687). Within doublets the ratios
are those of atomic physics: [O III] 2.98 (Storey & Zeippen 2000), [N II] 3.05, and for [O II] and [S II] close to the
limit of low density.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

__all__ = ["LINES", "TOTALS", "ionizing_photons", "line_luminosities", "line_ratios", "liner_ratios", "profiles"]

LINES = {
    "OII_3727": 3727.092, "OII_3730": 3729.875, "Hepsilon": 3971.195, "Hdelta": 4102.892, "Hgamma": 4341.684,
    "Hbeta": 4862.683, "OIII_4959": 4960.295, "OIII_5007": 5008.240, "NII_6549": 6549.85, "Halpha": 6564.61,
    "NII_6584": 6585.27, "SII_6717": 6718.29, "SII_6731": 6732.67,
}  # fmt: skip
"""Vacuum wavelengths [Angstrom]."""
TOTALS = {
    "Halpha": ("Halpha",),
    "Hbeta": ("Hbeta",),
    "OIII_5007": ("OIII_5007",),
    "OII_3727": ("OII_3727", "OII_3730"),
    "NII_6584": ("NII_6584",),
    "SII_6717_6731": ("SII_6717", "SII_6731"),
}
"""Which lines the quantities that are kept with a spectrum add up."""
BALMER = {"Halpha": 2.86, "Hbeta": 1.0, "Hgamma": 0.468, "Hdelta": 0.259, "Hepsilon": 0.159}
"""Fluxes over that of H beta in case B."""
HBETA_ENERGY = 4.76e-13
"""Energy in H beta for each ionizing photon in case B [erg]."""
SOLAR_OXYGEN = 8.69
OXYGEN_RANGE = (7.6, 8.85)
# Coefficients of log10 of the ratio in powers of x = 12 + log10(O/H) - 8.69: R2, R3, N2 of Curti+ 2017, S2 of 2020.
_STRONG = {
    "OII": (0.418, -0.961, -3.505, -1.949),
    "OIII": (-0.277, -3.549, -3.593, -0.981),
    "NII": (-0.489, 1.513, -2.554, -5.293, -2.867),
    "SII": (-0.442, -0.360, -6.271, -8.339, -3.559),
}
# How the logarithms move with the excess of excitation: [O III]/Hb by definition by 1.
_EXCITATION = {"OII": -0.4, "OIII": 1.0, "NII": -0.3, "SII": -0.5}
_SPEED_OF_LIGHT = 299792.458  # km/s
_REACH = 6.0  # standard deviations of a profile that are drawn


def ionizing_photons(rate: float) -> float:
    """Return the ionizing photons per second of a rate of star formation, for the IMF of Chabrier.

    Kennicutt (1998, ARA&A 36, 189), equation 2 (SFR = 1.08e-53 Q, Salpeter IMF from 0.1 to 100 Msun); the same stars
    are formed with 0.63 of the mass (Madau & Dickinson 2014, ARA&A 52, 415).

    Parameters
    ----------
    rate : float
        Over the last 10 Myr [Msun / yr].

    Examples
    --------
    >>> f"{ionizing_photons(1.0):.2e}"
    '1.47e+53'
    """
    return rate / (1.08e-53 * 0.63)


def line_luminosities(photons: float, ratios: NDArray) -> NDArray:
    """Return the luminosity of each of `LINES` [erg/s] for ionizing photons per second and ratios to H beta."""
    return HBETA_ENERGY * photons * ratios


def line_ratios(
    oxygen: float, excitation: float = 0.0, nitrogen: float = 0.0, density: float = 1.4
) -> NDArray[np.float64]:
    """Return fluxes over that of H beta in gas ionized by young stars, before dust.

    Parameters
    ----------
    oxygen : float
        12 + log10(O/H); held at the ends of the calibrated range.
    excitation : float
        Excess of log10([O III] 5007 / H beta) over the mean at this abundance.
    nitrogen : float
        Excess of log10(N/O), and of [N II] with it, over the mean at this abundance.
    density : float
        [S II] 6717 / 6731, and [O II] 3730 / 3727, which falls in the same way: 1.44 at low density.

    Returns
    -------
    ndarray (line,)
        In the order of `LINES`.

    Examples
    --------
    >>> names, ratios = list(LINES), line_ratios(8.69)
    >>> round(float(ratios[names.index("OIII_5007")]), 3)
    0.528
    """
    x = float(np.clip(oxygen, *OXYGEN_RANGE)) - SOLAR_OXYGEN
    strong = {
        name: 10 ** (np.polynomial.polynomial.polyval(x, each) + _EXCITATION[name] * excitation)
        for name, each in _STRONG.items()
    }
    strong["NII"] *= 10**nitrogen
    return _with_doublets(strong, density)


def liner_ratios(nitrogen: float, oxygen: float, density: float = 1.4) -> NDArray[np.float64]:
    """Return fluxes over that of H beta in gas ionized by old stars, before dust.

    Parameters
    ----------
    nitrogen : float
        log10([N II] 6584 / H alpha).
    oxygen : float
        log10([O III] 5007 / H beta).
    density : float
        As of `line_ratios`.

    Returns
    -------
    ndarray (line,)
        In the order of `LINES`.
    """
    strong = {"OIII": 10**oxygen, "OII": 1.6 * 10**oxygen, "NII": 10**nitrogen, "SII": 0.8 * 10**nitrogen}
    return _with_doublets(strong, density)


def _with_doublets(strong: dict[str, float], density: float) -> NDArray:
    """[O II] doublet and [O III] 5007 over H beta, [N II] 6584 and [S II] doublet over H alpha: to all lines."""
    halpha, first = BALMER["Halpha"], density / (1 + density)
    ratios = BALMER | {
        "OII_3727": strong["OII"] * (1 - first),
        "OII_3730": strong["OII"] * first,
        "OIII_5007": strong["OIII"],
        "OIII_4959": strong["OIII"] / 2.98,
        "NII_6584": strong["NII"] * halpha,
        "NII_6549": strong["NII"] * halpha / 3.05,
        "SII_6717": strong["SII"] * halpha * first,
        "SII_6731": strong["SII"] * halpha * (1 - first),
    }
    return np.array([ratios[name] for name in LINES])


def profiles(flux: NDArray, center: NDArray, sigma: NDArray, edges: NDArray) -> NDArray[np.float64]:
    """Return the mean flux density of Gaussian lines over pixels: what a pixel integrates is exact.

    Parameters
    ----------
    flux, center, sigma : ndarray (line,)
        Flux of each line, its wavelength [Angstrom] and the standard deviation of its profile [km/s].
    edges : ndarray (n + 1,)
        Rising edges of the pixels [Angstrom].

    Returns
    -------
    ndarray (n,)
        [unit of the flux / Angstrom]; a line outside contributes what reaches in.

    Examples
    --------
    >>> edges = np.linspace(4900.0, 5100.0, 201)
    >>> density = profiles(np.array([3.0]), np.array([5000.0]), np.array([100.0]), edges)
    >>> round(float((density * np.diff(edges)).sum()), 6)
    3.0
    """
    summed = np.zeros(len(edges) - 1)
    width = center * sigma / _SPEED_OF_LIGHT
    low, high = (np.searchsorted(edges, center + sign * _REACH * width) for sign in (-1, 1))
    for i in range(len(flux)):
        part = slice(max(low[i] - 1, 0), high[i] + 1)
        below = 0.5 * erf((edges[part] - center[i]) / (np.sqrt(2) * width[i]))
        summed[part.start : part.start + max(len(below) - 1, 0)] += flux[i] * np.diff(below)
    return summed / np.diff(edges)
