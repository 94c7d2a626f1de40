"""What a model needs to know of noise and bad pixels: finite values under the mask, and the error of each pixel.

The noise of a spectrum is part of what is learnt. Given the logarithm of the error of each pixel as a condition, a
model can be asked for spectra of a given noise, or, with a small error everywhere, for clean ones.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from data_loaders.errors import DataError
from data_loaders.layout import main_variable
from data_loaders.lazy import RowSource, lazy_variable
from data_loaders.spectra.steps import Block, Filled, Step
from data_loaders.spectra.stepwise import in_parts, loaded, replaced, stored

__all__ = ["filled", "held", "usable", "with_log_error"]


def filled(ds: xr.Dataset) -> xr.Dataset:
    """Return spectra with flux interpolated under the mask (`data_loaders.spectra.fill`), lazily; the mask stays.

    Examples
    --------
    >>> from data_loaders.spectra import spectra_dataset
    >>> flux, mask = np.array([[1.0, 7.0, 3.0]]), np.array([[False, True, False]])
    >>> filled(spectra_dataset(flux, np.arange(3.0) + 5000, units="", mask=mask)).flux.values.tolist()
    [[1.0, 2.0, 3.0]]
    """
    return replaced(ds, Filled(stored(ds)), ds["wavelength"].variable)


def held(ds: xr.Dataset) -> xr.Dataset:
    """Return spectra whose flux, inverse variance and mask are in memory: computed once, together.

    Examples
    --------
    >>> from data_loaders.spectra import prepare, spectra_dataset
    >>> ds = prepare(spectra_dataset(np.ones((1, 9)), np.arange(9.0) + 5000, units=""), wavelength="5001:5007:3")
    >>> held(ds).flux.values.tolist()
    [[1.0, 1.0, 1.0]]
    """
    flux = str(main_variable(ds).name)
    made = loaded({name: ds[name].variable for name in (flux, "ivar", "mask") if name in ds.variables})
    new = ds.assign({flux: made.pop(flux)}).assign_coords(made)
    new.encoding = dict(ds.encoding)
    return new


def with_log_error(ds: xr.Dataset) -> xr.Dataset:
    """Return spectra with the coordinate ``log_error`` ``(sample, wavelength)``, lazily.

    It is the decimal logarithm of the standard error of each pixel, in units of the flux [dex]; under the mask, and
    where ``ivar`` is 0, that of the median error of the spectrum. A spectrum without any known error has NaN.

    Raises
    ------
    DataError
        The spectra have no ``ivar``.

    Examples
    --------
    >>> from data_loaders.spectra import spectra_dataset
    >>> ds = spectra_dataset(np.ones((1, 3)), np.arange(3.0) + 5000, units="", ivar=np.array([[1e4, 1e4, 0]]))
    >>> with_log_error(ds)["log_error"].values.tolist()
    [[-2.0, -2.0, -2.0]]
    """
    if "ivar" not in ds.variables:
        where = ds.encoding.get("source", "spectra")
        raise DataError(where, "the error of the flux is not known (no 'ivar'); leave the condition log_error out")
    step = stored(ds)
    attrs = {"units": "dex", "long_name": "log10 of the standard error of the flux"}
    source = _LogError(step, ds.sizes["sample"])
    return ds.assign_coords(log_error=lazy_variable(("sample", "wavelength"), source, attrs))


def usable(ds: xr.Dataset) -> np.ndarray:
    """Return which spectra have a good pixel at all, bool ``(sample,)``; reads the masks, some at a time."""
    step = stored(ds)
    parts = in_parts(np.arange(ds.sizes["sample"]))
    return np.concatenate([~step.block(part)[2].all(axis=1) for part in parts])


@dataclass(frozen=True)
class _LogError(RowSource):
    step: Step
    length: int
    dtype = np.dtype(np.float32)

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return (self.length, self.step.npix)

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        return np.concatenate([_log_error(self.step.block(part)) for part in in_parts(numbers)])


def _log_error(block: Block) -> np.ndarray:
    _, ivar, mask = block
    assert ivar is not None
    known = ~mask & (ivar > 0)
    log = np.where(known, -0.5 * np.log10(np.where(known, ivar, 1.0)), np.nan)
    if known.all():
        return log.astype(np.float32)
    # The median of each row's known pixels: what is unknown is sorted to the end.
    count = known.sum(axis=1)
    middle = np.stack([np.maximum(count - 1, 0) // 2, count // 2], axis=1)
    typical = np.take_along_axis(np.sort(log, axis=1), np.minimum(middle, log.shape[1] - 1), axis=1).mean(axis=1)
    return np.where(known, log, typical[:, None]).astype(np.float32)
