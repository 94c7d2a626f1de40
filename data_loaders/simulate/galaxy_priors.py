"""Which galaxies there are: a flux-limited sample, and relations between mass, history, metals, dust, size and motion.

Each relation has a scatter; sources are at their function. Masses here are masses of stars *formed*, a factor of about
1.7 above those still shining, for the IMF of Chabrier.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from astropy.cosmology import Planck18
from numpy.typing import NDArray

from data_loaders.simulate.galaxy_images import BANDS, Shape
from data_loaders.simulate.nebular import ionizing_photons, line_ratios, liner_ratios
from data_loaders.simulate.populations import History

__all__ = ["Component", "Galaxy", "distances", "draw"]

MAGNITUDES = (14.5, 17.77)
"""Of the main sample: total r, the faint end of Strauss et al. (2002, AJ 124, 1810)."""
_KNEE, _SLOPE = -21.21, -1.05  # M_r and slope of Blanton et al. (2003, ApJ 592, 819) at z = 0.1, for h = 0.7
_CORRECTION = 1.0  # magnitudes of r a unit of redshift, in the mean
_SEEING = (1.13, 1.07, 1.0, 0.96, 0.97)  # of the bands over that of r
_DISC_THICKNESS = 0.2


@dataclass(frozen=True)
class Component:
    """Bulge or disc.

    Parameters
    ----------
    share : float
        Part of the mass of the galaxy.
    history : History
        When its stars formed.
    metallicity : float
        log10 Z/Zsun.
    A_V : float
        Attenuation of starlight in V [mag]; that of lines is larger by 1 / 0.44.
    dispersion, gas_dispersion : float
        Standard deviation of the velocities of stars and of gas along the line of sight [km/s].
    photons : float
        Ionizing photons per second and Msun formed.
    ratios : ndarray (line,)
        Lines over H beta, before dust.
    shape : Shape
        On the sky.
    """

    share: float
    history: History
    metallicity: float
    A_V: float
    dispersion: float
    gas_dispersion: float
    photons: float
    ratios: NDArray[np.float64]
    shape: Shape


@dataclass(frozen=True)
class Galaxy:
    """What there is to be seen.

    Parameters
    ----------
    redshift : float
        Cosmological.
    magnitude : float
        Total r [mag, AB].
    components : tuple of Component
        Bulge and disc.
    seeing : tuple of float
        Full width at half maximum in each band [arcsec]; that of r holds for the fiber, too.
    """

    redshift: float
    magnitude: float
    components: tuple[Component, ...]
    seeing: tuple[float, ...]


def distances(redshift: float) -> tuple[float, float]:
    """Return the luminosity distance [Mpc] and the length of an arcsecond [kpc], for Planck18 of astropy.

    Examples
    --------
    >>> [round(each, 2) for each in distances(0.1)]
    [475.82, 1.91]
    """
    grid, comoving = _comoving()
    length = float(np.interp(redshift, grid, comoving))
    return length * (1 + redshift), length / (1 + redshift) * 1e3 * np.pi / 180 / 3600


@cache
def _comoving() -> tuple[NDArray, NDArray]:
    grid = np.linspace(0.0, 0.3, 301)
    return grid, Planck18.comoving_distance(grid).value  # pyright: ignore[reportAttributeAccessIssue]


def draw(generator: np.random.Generator, redshift: tuple[float, float]) -> Galaxy:
    """Return a galaxy of a sample with limits in r and redshift.

    Parameters
    ----------
    generator : numpy.random.Generator
        Source of chance.
    redshift : tuple of float
        Smallest and largest.
    """
    z, absolute = _selected(generator, redshift)
    luminosity_distance, arcsecond = distances(z)
    magnitude = absolute + 5 * np.log10(luminosity_distance) + 25 + _CORRECTION * z
    passive = generator.random() < 0.08 + 0.8 / (1 + np.exp((absolute + 21.4) / 0.45))
    # Mass to light in r by type; a scatter stands for all that the light knows better in the end.
    log_mass = -0.4 * (absolute - 4.65) + (0.62 if passive else 0.25) + generator.normal(0, 0.1)
    share = 1 / (1 + np.exp(-(1.2 * (log_mass - 10.9) + (1.2 if passive else -1.1) + generator.normal(0, 1.0))))
    bulge, disc = _shapes(generator, log_mass, share, arcsecond)
    inclination = disc.axis_ratio
    dust = _dust(generator, log_mass, passive, inclination)
    seeing = generator.normal(1.32, 0.08) * np.array(_SEEING) * (1 + 0.02 * generator.standard_normal(len(BANDS)))
    components = (
        _bulge(generator, log_mass + np.log10(share), share, 0.3 * dust, bulge),
        _disc(generator, log_mass, 1 - share, dust, disc, passive),
    )
    return Galaxy(z, float(magnitude), components, tuple(float(each) for each in np.clip(seeing, 0.9, 2.2)))


def _selected(generator: np.random.Generator, redshift: tuple[float, float]) -> tuple[float, float]:
    """Redshift and absolute magnitude in r by the luminosity function and the volume."""
    z, magnitudes, summed = _selection(redshift)
    row, column = np.unravel_index(np.searchsorted(summed, generator.random() * summed[-1]), (len(z), len(magnitudes)))
    jitter = generator.random(2) - 0.5
    return (
        float(np.clip(z[row] + jitter[0] * (z[1] - z[0]), *redshift)),
        float(magnitudes[column] + jitter[1] * (magnitudes[1] - magnitudes[0])),
    )


@cache
def _selection(redshift: tuple[float, float]) -> tuple[NDArray, NDArray, NDArray]:
    z = np.linspace(*redshift, 202)
    z = (z[1:] + z[:-1]) / 2
    magnitudes = np.arange(-24.5, -16.0, 0.02)
    luminosity = 10 ** (-0.4 * (magnitudes - _KNEE))
    density = luminosity ** (_SLOPE + 1) * np.exp(-luminosity)
    modulus = np.array([5 * np.log10(distances(each)[0]) + 25 + _CORRECTION * each for each in z])
    apparent = magnitudes + modulus[:, None]
    volume = np.gradient(np.interp(z, *_comoving()) ** 3)
    inside = (apparent > MAGNITUDES[0]) & (apparent < MAGNITUDES[1])
    return z, magnitudes, np.cumsum(density * volume[:, None] * inside)


def _shapes(generator, log_mass: float, share: float, arcsecond: float) -> tuple[Shape, Shape]:
    """Sizes by Shen et al. (2003, MNRAS 343, 978), equations 17 and 18; discs inclined at random, 0.2 thick."""
    alive = 10 ** (log_mass - 0.23)
    late = 0.1 * alive**0.14 * (1 + alive / 3.98e10) ** 0.25 * 10 ** generator.normal(0.08, 0.13)
    early = 2.88e-6 * (alive * share) ** 0.56 * 10 ** generator.normal(0, 0.12)
    radius = min(max(early, 0.4), (0.35 + 0.8 * share) * late)
    tilt = generator.random()
    ratio = np.sqrt(_DISC_THICKNESS**2 + (1 - _DISC_THICKNESS**2) * tilt**2)
    angle = generator.uniform(0, np.pi)
    index = np.clip(generator.normal(2.2 + 2.2 * share, 0.5), 1.5, 5.0)
    round_ = max(generator.uniform(0.55, 1.0), float(ratio))
    bulge = Shape(float(radius / arcsecond), float(index), round_, float(angle + generator.normal(0, 0.15)))
    return bulge, Shape(float(late / arcsecond), 1.0, float(ratio), float(angle))


def _dust(generator, log_mass: float, passive: bool, axis_ratio: float) -> float:
    """A_V of the disc: more in massive star-forming galaxies (Garn & Best 2010, MNRAS 409, 421), more when inclined."""
    mean = 0.08 if passive else 0.4 * 10 ** (0.35 * (log_mass - 10.5)) * (0.6 / axis_ratio) ** 0.5
    return float(np.clip(mean * 10 ** generator.normal(0, 0.22), 0, 2.0))


def _stellar_metallicity(generator, log_mass: float, shift: float) -> float:
    """Gallazzi et al. (2005, MNRAS 362, 41), table 2, by a smooth step; within the range of the basis."""
    mean = -0.65 + 0.77 / (1 + np.exp(-(log_mass - 0.23 - 9.95) / 0.35))
    return float(np.clip(generator.normal(mean + shift, 0.14), -0.69, 0.39))


def _bulge(generator, log_mass: float, share: float, dust: float, shape: Shape) -> Component:
    """Old and rich in metals; some rejuvenated, some with gas that old stars ionize.

    Velocity dispersion by mass as of Gallazzi et al. (2006, MNRAS 370, 1106); 1e41 ionizing photons per second and
    Msun of old stars (Cid Fernandes et al. 2011), of which the gas that there is takes a part.
    """
    old = generator.random() < 0.85
    start = generator.uniform(9.0, 12.0) if old else generator.uniform(3.5, 9.0)
    history = History(float(start), float(10 ** generator.uniform(-0.7, 0.1)), float(min(1.0, start / 4)))
    dispersion = 10 ** np.clip(2.27 + 0.29 * (log_mass - 10.8) + generator.normal(0, 0.06), *np.log10([70, 350]))
    covered = 10 ** generator.uniform(-0.6, 0.5) if generator.random() < 0.3 else 0.0
    ratios = liner_ratios(generator.normal(0.05, 0.12), generator.normal(0.35, 0.15), generator.uniform(1.1, 1.4))
    metallicity = _stellar_metallicity(generator, max(log_mass, 9.8), 0.02)
    gas = max(0.8 * dispersion, 60.0)
    return Component(share, history, metallicity, dust, float(dispersion), float(gas), 1e41 * covered, ratios, shape)


def _disc(generator, log_mass: float, share: float, dust: float, shape: Shape, passive: bool) -> Component:
    """Forming stars for long, or quenched; lines by the abundance that goes with the mass.

    Oxygen by Curti et al. (2020, MNRAS 491, 944); rotation by Tully & Fisher (Bell & de Jong 2001, ApJ 550,
    212), of which the fiber sees the rising part.
    """
    history = _disc_history(generator, passive)
    mass = log_mass - 0.23
    oxygen = 8.793 - 0.28 / 1.2 * np.log10(1 + 10 ** (-1.2 * (mass - 10.02))) + generator.normal(0, 0.06)
    sine = np.sqrt(np.clip((1 - shape.axis_ratio**2) / (1 - _DISC_THICKNESS**2), 0, 1))
    rotation = 200 * 10 ** (0.22 * (mass - 10.7)) * sine
    return Component(
        share,
        history,
        _stellar_metallicity(generator, log_mass, -0.08),
        dust,
        float(np.hypot(45.0, 0.35 * rotation)),
        float(np.hypot(30.0, 0.35 * rotation)),
        ionizing_photons(history.young(0.01) / 1e7),
        line_ratios(oxygen, generator.normal(0, 0.12), generator.normal(0, 0.07), generator.uniform(1.25, 1.44)),
        shape,
    )


def _disc_history(generator, passive: bool) -> History:
    start = float(generator.uniform(7.0, 12.0))
    if passive:
        quenched = float(10 ** generator.uniform(-0.7, 0.6))
        return History(start, float(generator.uniform(0.8, 3.0)), min(quenched, 0.8 * start))
    tau = float(10 ** generator.uniform(0.05, 1.1))
    if generator.random() > 0.2:
        return History(start, tau)
    burst_start = 10 ** generator.uniform(-1.2, 0.0)
    burst_end = max(0.0, burst_start - 10 ** generator.uniform(-1.0, -0.4))
    return History(start, tau, 0.0, float(10 ** generator.uniform(-2.3, -1.1)), float(burst_start), float(burst_end))
