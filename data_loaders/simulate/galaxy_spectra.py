"""From stars and gas to what a spectrograph of SDSS records, and to the flux in its bands.

Everything lives on pixels of 1e-4 in log10 of the vacuum wavelength, at rest and as observed: a redshift is a shift, a
velocity dispersion a convolution, both by one multiplication of a Fourier transform. The stars are there with the
resolution of the basis; the spectrograph adds what it lacks to its own.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import fft
from scipy.special import ive

from data_loaders.simulate.galaxy_images import BANDS
from data_loaders.simulate.galaxy_priors import Component, distances
from data_loaders.simulate.nebular import LINES, line_luminosities, profiles
from data_loaders.simulate.populations import BASIS_FWHM, basis, calzetti
from data_loaders.spectra.filters import filter_curve
from data_loaders.spectra.wavelengths import air_to_vacuum

__all__ = ["LOG_WAVELENGTH", "Light", "band_weights", "noise", "observed", "recorded", "resolution", "visual"]

LOG_WAVELENGTH = 3.5901 + 1e-4 * np.arange(3598)
"""log10 of the wavelengths of SDSS spectra [Angstrom], in vacuum, observed."""
_STEP = 1e-4
_WIDE = 3.5901 + _STEP * np.arange(-1220, 4571)  # all that the bands u to z see
_FIRST = 1220  # of LOG_WAVELENGTH in it
_LUMINOSITY = 3.828e33  # erg/s of the Sun (IAU 2015)
_MEGAPARSEC = 3.0856776e24  # cm
_UNIT = 1e-17  # erg / (s cm2)
_SPEED_OF_LIGHT = 299792.458  # km/s
_PIXEL = np.log(10) * _STEP * _SPEED_OF_LIGHT  # km/s
_PADDED = 7168  # 2^10 x 7: transforms fast
_HALF = 7  # pixels of the kernel of the spectrograph on each side
_LARGEST, _FINENESS = 2.0, 0.002  # variance of the kernel, and in steps of what [pixels squared]
_LINES = np.array(list(LINES.values()))


@dataclass(frozen=True)
class Light:
    """A component as observed, for 1 Msun formed.

    Attributes
    ----------
    continuum : ndarray (wavelength,)
        Stars over all that the bands see [1e-17 erg / (s cm2 Angstrom)].
    lines : ndarray (line,)
        Fluxes after dust [1e-17 erg / (s cm2)].
    centers : ndarray (line,)
        Observed wavelengths [Angstrom].
    bands : ndarray (band,)
        Flux of both in u, g, r, i, z [nanomaggy].
    bare : float
        Stars at 5500 Angstrom at rest, without dust over with dust.
    """

    continuum: NDArray[np.float64]
    lines: NDArray[np.float64]
    centers: NDArray[np.float64]
    bands: NDArray[np.float64]
    bare: float


def observed(component: Component, redshift: float) -> Light:
    """Return the light of a component at a redshift, in the cosmology of `distances`."""
    stars = basis()
    dust = component.A_V * _curve()
    emitted = stars.composite(component.history.mass(), component.metallicity) * 10 ** (-0.4 * dust)
    sphere = 4 * np.pi * (distances(redshift)[0] * _MEGAPARSEC) ** 2 * _UNIT
    shift = np.log10(1 + redshift)
    continuum = _shifted(emitted, shift, component.dispersion) * (_LUMINOSITY / sphere / (1 + redshift))
    lines = line_luminosities(component.photons, component.ratios) / sphere
    lines *= 10 ** (-0.4 * component.A_V / 0.44 * calzetti(_LINES))
    centers = _LINES * (1 + redshift)
    continuous, single = band_weights()
    single_at = np.stack([np.interp(np.log10(centers), _WIDE, each) for each in single])
    bare = 10 ** (0.4 * component.A_V * calzetti(5500.0))
    return Light(continuum, lines, centers, continuous @ continuum + single_at @ lines, float(bare))


def visual(light: Light, redshift: float) -> float:
    """Return the flux density at 5500 Angstrom at rest [1e-17 erg / (s cm2 Angstrom)]."""
    return float(np.interp(np.log10(5500 * (1 + redshift)), _WIDE, light.continuum))


def _shifted(emitted: NDArray, shift: float, dispersion: float) -> NDArray:
    """A spectrum moved by `shift` in log10 of the wavelength and broadened [km/s], on the pixels of the bands."""
    pixels = (basis().log_wavelength[0] + shift - _WIDE[0]) / _STEP
    whole = int(np.floor(pixels))
    padded = _padded(emitted)
    frequency = np.fft.rfftfreq(len(padded))
    transfer = np.exp(-2 * (np.pi * frequency * dispersion / _PIXEL) ** 2 - 2j * np.pi * frequency * (pixels - whole))
    moved = np.asarray(fft.irfft(fft.rfft(padded) * transfer, len(padded)))
    return moved[-whole : -whole + len(_WIDE)]


def _padded(values: NDArray) -> NDArray:
    """Continued so that the end meets the beginning without a step."""
    return np.concatenate([values, np.linspace(values[-1], values[0], _PADDED - len(values))])


@cache
def _curve() -> NDArray:
    return calzetti(10 ** basis().log_wavelength)


@cache
def band_weights() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what turns a spectrum into AB fluxes of u, g, r, i, z.

    Returns
    -------
    continuous : ndarray (band, wavelength)
        Times the flux density [1e-17 erg / (s cm2 Angstrom)] on the wide pixels: nanomaggies.
    single : ndarray (band, wavelength)
        Times the flux of a line at a wavelength [1e-17 erg / (s cm2)]: nanomaggies.
    """
    wavelength = 10**_WIDE
    width = wavelength * np.log(10) * _STEP
    response = np.stack([np.interp(wavelength, *filter_curve(f"sdss-{band}"), left=0, right=0) for band in BANDS])
    zero = 3.631e-20 * _SPEED_OF_LIGHT * 1e13 / wavelength**2 / _UNIT  # 3631 Jy
    single = response * wavelength / np.sum(response * wavelength * zero * width, axis=1, keepdims=True) * 1e9
    return single * width, single


def resolution(wavelength: NDArray) -> NDArray[np.float64]:
    """Return the standard deviation of the line spread at wavelengths [Angstrom], in km/s.

    The resolving power rises from 1500 at 3800 to 2500 at 9000 Angstrom (Smee et al. 2013, AJ 146, 32).

    Examples
    --------
    >>> resolution(np.array([3800.0, 9000.0])).round(1).tolist()
    [84.9, 50.9]
    """
    power = 1500 + 1000 * (np.asarray(wavelength) - 3800) / 5200
    return _SPEED_OF_LIGHT / power / (2 * np.sqrt(2 * np.log(2)))


def recorded(continuum: NDArray, lines: list[tuple[NDArray, NDArray, float]], redshift: float) -> NDArray[np.float64]:
    """Return the spectrum on the pixels of SDSS, free of noise.

    Parameters
    ----------
    continuum : ndarray (wavelength,)
        Of stars, as of `Light`.
    lines : list of tuple
        Fluxes, observed wavelengths and velocity dispersion [km/s] of the gas, of each component.
    redshift : float
        Of the galaxy: it stretches the resolution that the stars have of their own.

    Returns
    -------
    ndarray (3598,)
        [1e-17 erg / (s cm2 Angstrom)]
    """
    wavelength = 10**LOG_WAVELENGTH
    own = BASIS_FWHM / (2 * np.sqrt(2 * np.log(2))) * (1 + redshift) / wavelength * _SPEED_OF_LIGHT
    missing = np.clip(resolution(wavelength) ** 2 - own**2, 0.0, None) / _PIXEL**2
    kernel = _kernels()[np.rint(missing / _FINENESS).astype(int)]
    part = continuum[_FIRST - _HALF : _FIRST + len(wavelength) + _HALF]
    spectrum = np.einsum("ij,ij->i", sliding_window_view(part, 2 * _HALF + 1), kernel)
    edges = 10 ** (LOG_WAVELENGTH[0] + _STEP * (np.arange(len(wavelength) + 1) - 0.5))
    for flux, centers, dispersion in lines:
        spectrum += profiles(flux, centers, np.hypot(dispersion, resolution(centers)), edges)
    return spectrum


@cache
def _kernels() -> NDArray:
    """Gaussians on pixels, by their variance in steps of `_FINENESS`.

    The discrete analogue of the Gaussian, ``exp(-t) I_n(t)``, has the variance t however narrow it is (Lindeberg 1990,
    IEEE PAMI 12, 234), which samples of the continuous one have not.
    """
    variance = np.arange(0, _LARGEST, _FINENESS)
    return ive(np.abs(np.arange(-_HALF, _HALF + 1)), variance[:, None])


def noise(spectrum: NDArray) -> NDArray[np.float64]:
    """Return the standard deviation of each pixel: photons of the galaxy and of the sky, and the detector.

    Parameters
    ----------
    spectrum : ndarray (3598,)
        Free of noise [1e-17 erg / (s cm2 Angstrom)].

    Returns
    -------
    ndarray (3598,)
        In the same unit.
    """
    sky, photons = _sky()
    detector = 30.0  # square of the read noise and dark current of some exposures and rows [electrons]
    counts = (np.clip(spectrum, 0, None) + sky) * photons
    return np.sqrt(counts + detector) / photons


# Stronger lines of OH bands in the night sky (Osterbrock et al. 1996, PASP 108, 277; 1997, PASP 109, 614), in air, and
# the mean flux of a line in the fiber [1e-17 erg / (s cm2)].
_SKY_LINES = {
    150.0: (7276.4, 7284.4, 7303.7, 7316.3, 7329.1, 7340.9, 7369.2, 7401.9, 7750.6, 7794.1, 7808.5, 7821.5, 7841.3,
            7853.3, 7870.7, 7913.7, 7949.2, 7964.6, 7993.3, 8025.8, 8061.9, 6498.7, 6533.0, 6553.6, 6863.9, 6923.2),
    300.0: (6300.3, 8281.0, 8288.6, 8298.6, 8310.7, 8344.6, 8352.8, 8382.4, 8399.2, 8415.2, 8430.2, 8452.3, 8465.4,
            8493.4, 8504.6, 8548.7, 8767.9, 8778.3, 8791.2, 8827.1, 8836.0, 8849.9, 8867.6, 8885.9, 8903.1, 8919.6,
            8943.4, 8957.9, 8988.4, 9001.6, 9038.0, 9049.0),
    120.0: (5889.9, 5895.9, 6363.8, 8014.1),
    900.0: (5577.3,),
}  # fmt: skip


@cache
def _sky() -> tuple[NDArray, NDArray]:
    """Sky in the fiber [1e-17 erg / (s cm2 Angstrom)], and photoelectrons of one such unit in a pixel."""
    wavelength = 10**LOG_WAVELENGTH
    knots = (3800, 4000, 5000, 6000, 7000, 8000, 9000, 9300)
    continuum = np.interp(wavelength, knots, (9.0, 8.0, 8.0, 9.0, 9.0, 10.0, 12.0, 12.0))
    edges = 10 ** (LOG_WAVELENGTH[0] + _STEP * (np.arange(len(wavelength) + 1) - 0.5))
    for flux, lines in _SKY_LINES.items():
        centers = air_to_vacuum(np.array(lines))
        continuum += profiles(np.full(len(lines), flux), centers, resolution(centers), edges)
    throughput = np.interp(wavelength, knots, (0.18, 0.32, 0.75, 1.0, 1.0, 0.85, 0.5, 0.35))
    return continuum, 28.0 * throughput * (wavelength / 6200.0) ** 2
