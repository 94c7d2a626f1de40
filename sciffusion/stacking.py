"""Several draws for each real sample as one set of samples, and back; both are read when they are indexed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from data_loaders.lazy import Index, lazy_variable

__all__ = ["CANDIDATE", "check_pairs", "stacked", "unstacked"]

CANDIDATE = "candidate"
"""Dim of the draws for one sample."""
_LABELS = ("group", "object_id")


def check_pairs(real: xr.DataArray, generated: xr.DataArray, group: str | None = "group") -> int:
    """Return the number of draws for each real sample.

    Parameters
    ----------
    real : DataArray (sample, ...)
    generated : DataArray (sample, candidate, ...)
    group : str, optional
        Coordinate of the groups, which must be the same where both sets have it; so must be ``object_id``.

    Raises
    ------
    ValueError
        If the sets have different numbers of samples or are of different objects, there is one draw alone, or the real
        set has draws too.
    """
    if CANDIDATE in real.dims:
        raise ValueError(f"the real set has the dim {CANDIDATE!r} too; expected one truth for each sample")
    truths, objects, draws = real.sizes.get("sample", 0), generated.sizes.get("sample", 0), generated.sizes[CANDIDATE]
    if truths != objects:
        raise ValueError(
            f"the generated set holds draws for {objects} samples, the real set has {truths}; draws are judged beside "
            "the truth of the same objects in the same order: choose the real samples that they were drawn for"
        )
    if draws < 2:
        raise ValueError(
            f"the generated set holds {draws} draw for each sample, calibration needs at least 2; with one alone drop "
            f"the dim by isel({CANDIDATE}=0)"
        )
    for name in dict.fromkeys((*_LABELS, group)):
        if name is None or name not in real.coords or name not in generated.coords:
            continue
        ours, theirs = (np.asarray(each[name].values) for each in (real, generated))
        if ours.shape == theirs.shape and (differing := np.flatnonzero(ours != theirs)).size:
            first = int(differing[0])
            raise ValueError(
                f"the draws are of other objects than the truth: {name!r} of sample {first} is {ours[first]} in the "
                f"real set and {theirs[first]} in the generated one; bring both into one order"
            )
    return draws


def stacked(generated: xr.DataArray) -> xr.DataArray:
    """Return draws as samples of their own, object after object; they are read when they are indexed.

    Parameters
    ----------
    generated : DataArray (sample, candidate, ...)

    Returns
    -------
    DataArray (sample, ...)
        Candidate j of N of object i is sample i N + j. Coordinates along ``sample`` are repeated.

    Examples
    --------
    >>> draws = xr.DataArray(np.arange(6).reshape(2, 3, 1), dims=("sample", "candidate", "x"))
    >>> flat = stacked(draws.assign_coords(group=("sample", ["a", "b"])))
    >>> flat.values.ravel().tolist(), flat["group"].values.tolist()
    ([0, 1, 2, 3, 4, 5], ['a', 'a', 'a', 'b', 'b', 'b'])
    """
    generated = generated.drop_vars(["sample", CANDIDATE], errors="ignore")
    objects, draws = generated.sizes["sample"], generated.sizes[CANDIDATE]
    number, candidate = np.divmod(np.arange(objects * draws), draws)

    def flat(one: xr.Variable) -> xr.Variable:
        if {"sample", CANDIDATE} <= set(one.dims):
            one = one.transpose("sample", CANDIDATE, ...)
            return lazy_variable(("sample", *map(str, one.dims[2:])), _Flat(one), one.attrs)
        if CANDIDATE in one.dims:
            return one.isel({CANDIDATE: candidate}).swap_dims({CANDIDATE: "sample"})
        return one.isel(sample=number) if "sample" in one.dims else one

    coords = {name: flat(each.variable) for name, each in generated.coords.items()}
    return xr.DataArray(flat(generated.variable), coords, name=generated.name)


def unstacked(flat: xr.DataArray, samples: int) -> xr.DataArray:
    """Return the samples that `stacked` made as draws again, with the coordinates of their grid alone.

    Parameters
    ----------
    flat : DataArray (sample, ...)
    samples : int
        How many they are draws of.

    Returns
    -------
    DataArray (sample, candidate, ...)

    Examples
    --------
    >>> unstacked(xr.DataArray(np.arange(6).reshape(6, 1), dims=("sample", "x")), 2).values[..., 0].tolist()
    [[0, 1, 2], [3, 4, 5]]
    """
    one = flat.transpose("sample", ...).variable
    shape = (samples, len(one) // samples, *one.shape[1:])
    dims = ("sample", CANDIDATE, *map(str, one.dims[1:]))
    coords = {str(dim): flat[dim].variable for dim in one.dims[1:] if dim in flat.coords}
    return xr.DataArray(lazy_variable(dims, _Split(one, shape), one.attrs), coords, name=flat.name)


@dataclass(frozen=True)
class _Flat:
    """Samples and candidates of a variable as one axis, read where they are indexed."""

    of: xr.Variable

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.of.shape[0] * self.of.shape[1], *self.of.shape[2:])

    @property
    def dtype(self) -> np.dtype:
        return self.of.dtype

    def read(self, index: Index) -> np.ndarray:
        rows = np.arange(self.shape[0])[index[0]]
        place = np.divmod(np.atleast_1d(rows), self.of.shape[1])
        (number, back), (candidate, which) = (np.unique(each, return_inverse=True) for each in place)
        values = self.of[(_slice(number), _slice(candidate), *index[1:])].values[back, which]
        return values if np.ndim(rows) else values[0]


@dataclass(frozen=True)
class _Split:
    """The first axis of a variable as samples and candidates, read where they are indexed."""

    of: xr.Variable
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype:
        return self.of.dtype

    def read(self, index: Index) -> np.ndarray:
        rows = np.arange(len(self.of)).reshape(self.shape[:2])[index[0]][..., index[1]]
        values = self.of[(_slice(rows.ravel()), *index[2:])].values
        return values.reshape(*rows.shape, *values.shape[1:])


def _slice(numbers: np.ndarray) -> np.ndarray | slice:
    """Return a run of numbers as a slice, which a file reads at once."""
    run = numbers.size and np.all(np.diff(numbers) == 1)
    return slice(int(numbers[0]), int(numbers[-1]) + 1) if run else numbers
