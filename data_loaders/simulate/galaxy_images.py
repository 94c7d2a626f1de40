"""Images of galaxies: Sersic profiles through the atmosphere, on pixels, with the noise of SDSS.

A profile is drawn on pixels of 0.2 arcsec or less, with finer and finer cells towards its cusp, so that the total flux
is right; the point-spread function multiplies its Fourier transform, and fine pixels add up to those of the image.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from astropy.modeling.functional_models import Sersic2D
from numpy.typing import NDArray
from scipy import fft
from scipy.special import gamma, gammaincinv, j1

from data_loaders.spectra.photometry import FIBER_RADIUS

__all__ = ["BANDS", "Frame", "Shape", "pixel_noise"]

BANDS = ("u", "g", "r", "i", "z")
DEPTH = (22.0, 22.2, 22.2, 21.3, 20.5)
"""AB magnitude of a point source of 5 standard deviations (York et al. 2000 and the pages of the survey)."""
DEPTH_SEEING = 1.3
"""Full width at half maximum for which `DEPTH` holds [arcsec]."""
ELECTRONS = (145.0, 1000.0, 940.0, 700.0, 158.0)
"""Photoelectrons of one nanomaggy in the 53.9 s of a scan, by typical zero points and gains of the survey."""
HALO, HALO_WIDTH = 0.1, 2.5
"""The point-spread function is a Gaussian and a wider one that holds a tenth of the light."""
_FINE = 0.2  # arcsec
_MARGIN = 4.0  # arcsec around the image from which light scatters in
_LEVELS, _CORE = 7, 32
_FWHM = 2 * np.sqrt(2 * np.log(2))


@dataclass(frozen=True)
class Shape:
    """Light of one component.

    Parameters
    ----------
    radius : float
        Half-light radius along the major axis [arcsec].
    index : float
        Sersic index: 1 exponential, 4 de Vaucouleurs.
    axis_ratio : float
        Minor over major axis.
    angle : float
        Of the major axis from x [rad].
    """

    radius: float
    index: float
    axis_ratio: float
    angle: float

    def brightness(self, x: NDArray, y: NDArray) -> NDArray[np.float64]:
        """Return the surface brightness of total flux 1 [1 / arcsec2] at offsets from the center [arcsec].

        The total is that of Graham & Driver (2005, PASA 22, 118), equation 4.
        """
        n, b = self.index, gammaincinv(2 * self.index, 0.5)
        total = 2 * np.pi * n * np.exp(b) * b ** (-2 * n) * gamma(2 * n) * self.radius**2 * self.axis_ratio
        # Not through an instance of the model, whose making and calling cost as much as the profile.
        return Sersic2D.evaluate(x, y, 1 / total, self.radius, n, 0.0, 0.0, 1 - self.axis_ratio, self.angle)


@dataclass(frozen=True)
class Frame:
    """Pixels of an image, and Fourier modes of the finer ones it is made of.

    Parameters
    ----------
    size : int
        Pixels along a side, even.
    pixel_scale : float
        Side of a pixel [arcsec].

    Examples
    --------
    >>> frame = Frame(size=64, pixel_scale=0.396)
    >>> modes = frame.modes(Shape(radius=1.0, index=1.0, axis_ratio=0.5, angle=0.3))
    >>> image = frame.image(modes * frame.seeing(1.3))
    >>> image.shape, round(float(image.sum()), 3)
    ((64, 64), 1.0)
    """

    size: int
    pixel_scale: float

    @property
    def factor(self) -> int:
        """Fine pixels along the side of a pixel."""
        return int(np.ceil(self.pixel_scale / _FINE))

    @property
    def fine(self) -> float:
        """Side of a fine pixel [arcsec]."""
        return self.pixel_scale / self.factor

    @property
    def side(self) -> int:
        """Fine pixels along a side with the margin, a number that transforms fast."""
        margin = int(np.ceil(_MARGIN / self.pixel_scale))
        half = (self.size + 2 * margin) * self.factor // 2
        return 2 * fft.next_fast_len(half, real=True)  # pyright: ignore[reportOperatorIssue]

    def modes(self, shape: Shape) -> NDArray[np.complex128]:
        """Return the Fourier transform of a component of flux 1 on fine pixels."""
        return np.asarray(fft.rfft2(_integrated(shape, self.side, self.fine, _LEVELS)))

    def seeing(self, fwhm: float) -> NDArray[np.float64]:
        """Return the transfer of a point-spread function of this full width at half maximum of its core [arcsec]."""
        core = np.exp(-2 * (np.pi * fwhm / _FWHM) ** 2 * _wavenumbers(self.side, self.fine)[0])
        return (1 - HALO) * core + HALO * core ** (HALO_WIDTH**2)

    def image(self, modes: NDArray) -> NDArray[np.float64]:
        """Return the flux in each pixel."""
        fine = np.asarray(fft.irfft2(modes, s=(self.side, self.side)))
        first = (self.side - self.size * self.factor) // 2
        part = fine[first : first + self.size * self.factor, first : first + self.size * self.factor]
        return part.reshape(self.size, self.factor, self.size, self.factor).sum((1, 3))

    def aperture(self, modes: NDArray) -> float:
        """Return the flux within the fiber about the center, of any `modes`: a sum over them, without pixels."""
        return float(np.sum(_wavenumbers(self.side, self.fine)[1] * modes).real)


@cache
def _wavenumbers(side: int, fine: float) -> tuple[NDArray, NDArray]:
    """Squares of the frequencies [1/arcsec2], and the weights with which modes add up to the flux in the fiber."""
    fy, fx = np.fft.fftfreq(side, fine)[:, None], np.fft.rfftfreq(side, fine)
    square = fx**2 + fy**2
    argument = 2 * np.pi * FIBER_RADIUS * np.sqrt(square)
    disc = np.pi * FIBER_RADIUS**2 * np.where(argument > 0, 2 * j1(argument) / np.where(argument > 0, argument, 1), 1)
    # The modes of a real image come in pairs but for those of the first and the last column. The center of the galaxy
    # is half a pixel from the middle sample; fine pixels smear, which is undone as it would count twice.
    pairs = np.where((np.arange(side // 2 + 1) == 0) | (np.arange(side // 2 + 1) == side // 2), 1, 2)
    center = (side - 1) / 2 * fine
    phase = np.exp(2j * np.pi * center * (fx + fy))
    smear = np.sinc(fx * fine) * np.sinc(fy * fine)
    return square, disc * pairs * phase / smear / (side * fine) ** 2


def _integrated(shape: Shape, side: int, width: float, levels: int) -> NDArray[np.float64]:
    """Flux in square cells about the center, those in the middle by cells of half the width, and so on."""
    centers = (np.arange(side + 2) - (side + 1) / 2) * width
    values = shape.brightness(*np.meshgrid(centers, centers)) * width**2
    middle = values[1:-1, 1:-1]
    # The mean over a cell is the value in the middle and 1/24 of the Laplacian, to the fourth order of the width.
    around = values[2:, 1:-1] + values[:-2, 1:-1] + values[1:-1, 2:] + values[1:-1, :-2]
    cells = middle + (around - 4 * middle) / 24
    if levels:
        inner = _integrated(shape, _CORE, width / 2, levels - 1)
        core = slice(side // 2 - _CORE // 4, side // 2 + _CORE // 4)
        cells[core, core] = inner.reshape(_CORE // 2, 2, _CORE // 2, 2).sum((1, 3))
    return cells


def pixel_noise(flux: NDArray, pixel_scale: float) -> NDArray[np.float64]:
    """Return the standard deviation of pixels: sky to the depth of SDSS, and photons of the galaxy.

    Parameters
    ----------
    flux : ndarray (band, y, x)
        Free of noise [nanomaggy].
    pixel_scale : float
        Side of a pixel [arcsec].

    Returns
    -------
    ndarray (band, y, x)
        [nanomaggy]
    """
    # A point source is measured over 4 pi sigma^2 of sky.
    area = 4 * np.pi * (DEPTH_SEEING / _FWHM) ** 2
    limit = 10 ** (0.4 * (22.5 - np.array(DEPTH))) / 5
    sky = limit**2 / area * pixel_scale**2
    photons = np.clip(flux, 0, None) / np.array(ELECTRONS)[:, None, None]
    return np.sqrt(sky[:, None, None] + photons)
