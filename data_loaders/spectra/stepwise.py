"""Steps as lazy variables: what is computed for the samples that are asked for, some at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from data_loaders.layout import main_variable
from data_loaders.lazy import RowSource, lazy_variable
from data_loaders.spectra.steps import Block, Normalized, Step, Stored

__all__ = ["Norm", "in_parts", "loaded", "replaced", "stored", "variables"]

_ROWS = 256  # spectra in memory at a time, in double precision


@dataclass(frozen=True)
class Norm(RowSource):
    """What `Normalized` divides each spectrum by, times what it was divided by before."""

    step: Normalized
    length: int
    earlier: xr.Variable | None = None
    dtype = np.dtype(np.float64)

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """One number a spectrum."""
        return (self.length,)

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Norms of the samples with these numbers."""
        parts = [self.step.norm(self.step.before.block(part)) for part in in_parts(numbers)]
        norm = np.concatenate(parts)
        return norm if self.earlier is None else norm * self.earlier[numbers].values


class _Latest:
    """A step that remembers its latest block: flux, ivar and mask of the same samples are asked one after the other."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self._latest: tuple[np.ndarray, Block] | None = None

    def __call__(self, numbers: np.ndarray) -> Block:
        latest = self._latest  # one name for both: another thread may replace it
        if latest is None or not np.array_equal(latest[0], numbers):
            latest = self._latest = np.array(numbers), self.step.block(numbers)
        return latest[1]

    def __getstate__(self) -> dict[str, Any]:
        return {"step": self.step, "_latest": None}


@dataclass(frozen=True)
class _Part(RowSource):
    latest: _Latest
    which: int
    length: int
    dtype: np.dtype  # type: ignore[misc]

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return (self.length, self.latest.step.npix)

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        values = np.empty((len(numbers), self.shape[1]), self.dtype)
        start = 0
        for part in in_parts(numbers):
            values[start : start + len(part)] = self.latest(part)[self.which]
            start += len(part)
        return values


def in_parts(numbers: np.ndarray) -> list[np.ndarray]:
    """Split the numbers of samples into parts that are computed at a time."""
    return np.array_split(numbers, -(-len(numbers) // _ROWS))


def variables(step: Step, like: Mapping[str, Any]) -> dict[str, xr.Variable]:
    """Return lazy ``flux``, ``mask`` and, where `like` has one, ``ivar`` of a step.

    Parameters
    ----------
    step : Step
        The last step.
    like : mapping
        Variables ``flux`` and perhaps ``ivar`` and ``mask`` of the spectra before, for their dtypes and attributes.
    """
    dims, length, latest = ("sample", "wavelength"), like["flux"].shape[0], _Latest(step)
    made = {}
    for which, name in enumerate(("flux", "ivar", "mask")):
        given = like.get(name)
        if name != "mask" and given is None:
            continue
        attrs = {"long_name": "bad pixel"} if given is None else dict(given.attrs)
        dtype = np.dtype(bool) if name == "mask" else np.result_type(given.dtype, np.float32)  # type: ignore[union-attr]
        made[name] = lazy_variable(dims, _Part(latest, which, length, dtype), attrs)
    return made


def loaded(made: Mapping[str, xr.Variable]) -> dict[str, xr.Variable]:
    """Return variables ``(sample, ...)`` in memory, read some samples at a time: those of one step are computed once.

    Parameters
    ----------
    made : mapping of str to xarray.Variable
        Such as `variables` gives them.
    """
    values = {name: np.empty(variable.shape, variable.dtype) for name, variable in made.items()}
    for part in in_parts(np.arange(next(iter(made.values())).shape[0])):
        rows = slice(part[0], part[-1] + 1)
        for name, variable in made.items():
            values[name][rows] = variable[rows].values
    return {name: xr.Variable(variable.dims, values[name], variable.attrs) for name, variable in made.items()}


def stored(ds: xr.Dataset) -> Stored:
    """Return the first step: the spectra of a dataset."""
    ivar, mask = (ds[name].variable if name in ds.variables else None for name in ("ivar", "mask"))
    return Stored(main_variable(ds).variable, ivar, mask)


def replaced(ds: xr.Dataset, step: Step, wavelength: xr.Variable) -> xr.Dataset:
    """Return `ds` with the spectra of `step` on these wavelengths; what else lies along the old ones is left out."""
    name = str(main_variable(ds).name)
    like = {"flux": ds[name].variable, **{key: ds[key].variable for key in ("ivar", "mask") if key in ds.variables}}
    made = variables(step, like)
    kept = ds.drop_vars([key for key, variable in ds.variables.items() if "wavelength" in variable.dims])
    new = kept.assign_coords({"wavelength": wavelength, **{key: made[key] for key in made if key != "flux"}})
    new[name] = made["flux"]
    new.encoding, new.attrs = dict(ds.encoding), dict(ds.attrs)
    return new
