"""Steps from spectra as they are stored to spectra as a model sees them, taken for the samples that are asked for.

A step gives ``block(numbers) -> (flux, ivar, mask)`` of some samples, each ``(len(numbers), wavelength)``; it holds the
step before it, the first one lazy variables. `data_loaders.spectra.stepwise` turns the last one into lazy variables.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import xarray as xr

from data_loaders.errors import DataError
from data_loaders.spectra.masks import fill
from data_loaders.spectra.rebinning import rebin
from data_loaders.spectra.wavelengths import convert

__all__ = ["Block", "Filled", "Normalized", "Padded", "Resampled", "Scaled", "Step", "Stored"]

Block = tuple[np.ndarray, np.ndarray | None, np.ndarray]


class Step(ABC):
    """Spectra of a known number, computed some at a time."""

    npix: int

    @abstractmethod
    def block(self, numbers: np.ndarray) -> Block:
        """Flux, inverse variance (None if unknown to the file) and mask of the samples with these numbers."""


@dataclass(frozen=True)
class Stored(Step):
    """Spectra as a reader gives them; without a mask pixels are bad where the inverse variance is 0."""

    flux: xr.Variable
    ivar: xr.Variable | None
    mask: xr.Variable | None

    @property
    def npix(self) -> int:
        """Pixels of a spectrum."""
        return self.flux.shape[1]

    def block(self, numbers: np.ndarray) -> Block:
        """Read the samples with these numbers; what is not finite is bad."""
        flux = self.flux[numbers].values.astype(np.float64)
        ivar = None if self.ivar is None else self.ivar[numbers].values.astype(np.float64)
        bad = ~np.isfinite(flux)
        if self.mask is not None:
            bad |= self.mask[numbers].values.astype(bool)
        elif ivar is not None:
            bad |= ~(ivar > 0)
        if ivar is not None:
            ivar = np.where(~bad & np.isfinite(ivar), np.maximum(ivar, 0), 0.0)
        return np.where(bad, 0.0, flux), ivar, bad


@dataclass(frozen=True)
class Scaled(Step):
    """Spectra times a factor each, such as ``1 + z`` from observed to rest frame."""

    before: Step
    factor: np.ndarray

    @property
    def npix(self) -> int:
        """Pixels of a spectrum."""
        return self.before.npix

    def block(self, numbers: np.ndarray) -> Block:
        """Scale the samples with these numbers."""
        flux, ivar, mask = self.before.block(numbers)
        factor = self.factor[numbers, None]
        return flux * factor, None if ivar is None else ivar / factor**2, mask


@dataclass(frozen=True)
class Resampled(Step):
    """Spectra on another grid, by `rebin`.

    `wavelength` is one grid for all, or a variable ``(sample, wavelength)``, where pixels that are not finite or not
    positive hold nothing. `factor` of each sample and the media go from its wavelengths to those of `grid`.
    """

    before: Step
    wavelength: np.ndarray | xr.Variable
    grid: np.ndarray
    factor: np.ndarray
    media: tuple[str, str] = ("vacuum", "vacuum")
    where: str = "spectra"

    @property
    def npix(self) -> int:
        """Pixels of the new grid."""
        return len(self.grid)

    def block(self, numbers: np.ndarray) -> Block:
        """Rebin the samples with these numbers."""
        flux, ivar, mask = self.before.block(numbers)
        factors = self.factor[numbers]
        if isinstance(self.wavelength, np.ndarray) and np.all(factors == factors[0]):
            new = rebin(convert(self.wavelength, factors[0], *self.media), self.grid, flux, ivar, mask)
            return new[0], None if ivar is None else new[1], new[2]
        shape = (len(numbers), self.npix)
        new = np.empty(shape), np.empty(shape), np.empty(shape, bool)
        for i, number in enumerate(numbers):
            row = self._row(number, factors[i], flux[i], None if ivar is None else ivar[i], mask[i])
            for whole, part in zip(new, row):
                whole[i] = part
        return new[0], None if ivar is None else new[1], new[2]

    def _row(self, number: int, factor: float, flux: np.ndarray, ivar: np.ndarray | None, mask: np.ndarray):
        old = self.wavelength if isinstance(self.wavelength, np.ndarray) else self.wavelength[number].values
        there = np.isfinite(old) & (old > 0)
        try:
            wavelength = convert(old[there], factor, *self.media)
            return rebin(wavelength, self.grid, flux[there], None if ivar is None else ivar[there], mask[there])
        except ValueError as error:
            raise DataError(self.where, f"sample {number}: {error}") from error


@dataclass(frozen=True)
class Padded(Step):
    """Spectra as a part of a longer grid: what lies outside is masked."""

    before: Step
    start: int
    npix: int  # type: ignore[assignment]

    def block(self, numbers: np.ndarray) -> Block:
        """Pad the samples with these numbers."""
        flux, ivar, mask = self.before.block(numbers)
        width = ((0, 0), (self.start, self.npix - self.start - self.before.npix))
        return (
            np.pad(flux, width),
            None if ivar is None else np.pad(ivar, width),
            np.pad(mask, width, constant_values=True),
        )


@dataclass(frozen=True)
class Filled(Step):
    """Spectra with the flux of bad pixels interpolated, which stay masked."""

    before: Step

    @property
    def npix(self) -> int:
        """Pixels of a spectrum."""
        return self.before.npix

    def block(self, numbers: np.ndarray) -> Block:
        """Fill the samples with these numbers."""
        flux, ivar, mask = self.before.block(numbers)
        return fill(flux, mask), ivar, mask


@dataclass(frozen=True)
class Normalized(Step):
    """Spectra over the mean or median of their good pixels in a window.

    Without a good pixel there, or where that is not positive, the whole spectrum is masked and its norm is NaN: a sign
    or a huge factor would be an invention.
    """

    before: Step
    window: slice
    statistic: str

    @property
    def npix(self) -> int:
        """Pixels of a spectrum."""
        return self.before.npix

    def norm(self, block: Block) -> np.ndarray:
        """Factor of each spectrum of a block ``(n,)``."""
        flux, _, mask = block
        values = np.ma.masked_array(flux[:, self.window], mask[:, self.window])
        found = np.ma.filled((np.ma.median if self.statistic == "median" else np.ma.mean)(values, axis=1), np.nan)
        return np.where(found > 0, found, np.nan).astype(np.float64)

    def block(self, numbers: np.ndarray) -> Block:
        """Normalize the samples with these numbers."""
        flux, ivar, mask = block = self.before.block(numbers)
        norm = self.norm(block)[:, None]
        bad = mask | np.isnan(norm)
        ivar = None if ivar is None else np.where(bad, 0.0, ivar * norm**2)
        return np.where(bad, 0.0, flux / norm), ivar, bad
