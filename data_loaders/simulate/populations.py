"""Starlight of a star-formation history: the sum of simple stellar populations, dimmed by dust.

The packaged basis is 40 models of Bruzual & Charlot (2003, MNRAS 344, 1000; the library of Tremonti et al. 2004, ApJ
613, 898): 10 ages from 5 Myr to 10 Gyr at Z = 0.004, 0.008, 0.02 and 0.05, for the IMF of Chabrier (2003), on one grid
of vacuum wavelengths even in the logarithm. From 3327 to 9280 Angstrom they are the models; outside they are
*continued* for the colors of broad bands alone (``benchmarks/package_populations.py`` says how): no line there means
anything.
"""

from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["BASIS_FWHM", "Basis", "History", "basis", "calzetti"]

BASIS_FWHM = 2.3
"""Resolution of the models [Angstrom]."""
R_V = 4.05
"""Total to selective attenuation of Calzetti et al. (2000), equation 5."""
_YOUNGEST, _OLDEST, _STEPS = 1e-3, 13.5, 400


@dataclass(frozen=True)
class Basis:
    """Simple stellar populations.

    Attributes
    ----------
    log_wavelength : ndarray (wavelength,)
        log10 of the vacuum wavelength [Angstrom], in steps of 1e-4.
    age : ndarray (age,)
        [Gyr], rising.
    metallicity : ndarray (metallicity,)
        log10 Z/Zsun with Zsun = 0.02, rising.
    flux : ndarray (metallicity, age, wavelength)
        [Lsun / Angstrom] for 1 Msun of stars formed.
    """

    log_wavelength: NDArray[np.float64]
    age: NDArray[np.float64]
    metallicity: NDArray[np.float64]
    flux: NDArray[np.float64]

    def composite(self, mass: ArrayLike, metallicity: float) -> NDArray[np.float64]:
        """Return the light of stars of several ages and one metallicity.

        Parameters
        ----------
        mass : array_like (age,)
            Formed mass by age of the basis, as of `History.mass` [Msun].
        metallicity : float
            log10 Z/Zsun; between two of the basis fluxes are interpolated linearly in it, outside the last one holds.

        Returns
        -------
        ndarray (wavelength,)
            [Lsun / Angstrom]

        Examples
        --------
        >>> young, old = (basis().composite(mass, 0.0) for mass in np.eye(10)[[0, 9]])
        >>> bool(np.all(young > old))
        True
        """
        share = [np.interp(metallicity, self.metallicity, each) for each in np.eye(len(self.metallicity))]
        weights = np.outer(share, np.asarray(mass)).ravel()
        used = np.flatnonzero(weights)
        return weights[used] @ self.flux.reshape(-1, self.flux.shape[-1])[used]


@cache
def basis() -> Basis:
    """Return the packaged populations.

    Examples
    --------
    >>> basis().flux.shape
    (4, 10, 6412)
    """
    with np.load(str(files("data_loaders") / "data" / "stellar_populations.npz")) as stored:
        return Basis(**{each.name: stored[each.name].astype(np.float64) for each in fields(Basis)})


@dataclass(frozen=True)
class History:
    """When stars formed: a rise and decline, ``t exp(-t / tau)``, that may end, and a burst that may come on top.

    Parameters
    ----------
    start : float
        Time since the first stars [Gyr].
    tau : float
        Time of the largest rate after the first stars [Gyr].
    quenched : float
        Time since the rate fell to zero [Gyr]; 0: it never did.
    burst : float
        Part of all mass that a burst of constant rate formed.
    burst_start, burst_end : float
        Time since it began and ended [Gyr].

    Examples
    --------
    >>> steady, old = History(start=10.0, tau=100.0), History(start=10.0, tau=0.5)
    >>> bool(steady.young(0.1) > 100 * old.young(0.1)), round(old.mean_age(), 1)
    (True, 9.0)
    """

    start: float
    tau: float
    quenched: float = 0.0
    burst: float = 0.0
    burst_start: float = 0.0
    burst_end: float = 0.0

    def formed(self) -> NDArray[np.float64]:
        """Return the mass formed in each cell of `ages` for 1 Msun in all."""
        _, edges, _ = _cells()
        since = np.clip(self.start - edges, 0.0, self.start - self.quenched) / self.tau
        smooth = -np.diff(1 - (1 + since) * np.exp(-since))
        inside = np.clip(edges, self.burst_end, self.burst_start)
        burst = np.diff(inside) / max(self.burst_start - self.burst_end, 1e-9)
        return (1 - self.burst) * smooth / smooth.sum() + self.burst * burst

    def mass(self) -> NDArray[np.float64]:
        """Return the mass formed by age of the basis, shared between neighbors linearly in the logarithm of the age."""
        return self.formed() @ _cells()[2]

    def young(self, age: float) -> float:
        """Return the part of the mass that formed in the last `age` [Gyr]."""
        _, edges, _ = _cells()
        return float(np.interp(age, edges, np.concatenate([[0.0], np.cumsum(self.formed())])))

    def mean_age(self) -> float:
        """Return the mean age by mass [Gyr]."""
        return float(self.formed() @ _cells()[0])


@cache
def _cells() -> tuple[NDArray, NDArray, NDArray]:
    """Mean age and edges of cells of age, and how the basis stands for each."""
    edges = np.concatenate([[0.0], np.geomspace(_YOUNGEST, _OLDEST, _STEPS)])
    ages = (edges[1:] + edges[:-1]) / 2
    log_age = np.log(basis().age)
    return ages, edges, np.stack([np.interp(np.log(ages), log_age, each) for each in np.eye(len(log_age))], axis=1)


def calzetti(wavelength: ArrayLike) -> NDArray[np.float64]:
    """Return the attenuation of starburst galaxies over that in V: ``A(wavelength) / A_V = k(wavelength) / R_V``.

    Calzetti et al. (2000, ApJ 533, 682), equation 4, from 0.12 to 2.2 micron.

    Parameters
    ----------
    wavelength : array_like
        At rest [Angstrom].

    Returns
    -------
    ndarray, the shape of `wavelength`
        [dimensionless]

    Examples
    --------
    >>> calzetti([4400, 5500]).round(2).tolist()
    [1.25, 1.0]
    """
    inverse = 1e4 / np.asarray(wavelength, float)
    blue = 2.659 * (-2.156 + 1.509 * inverse - 0.198 * inverse**2 + 0.011 * inverse**3) + R_V
    red = 2.659 * (-1.857 + 1.040 * inverse) + R_V
    return np.where(inverse > 1 / 0.63, blue, red) / R_V
