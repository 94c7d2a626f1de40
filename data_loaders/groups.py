"""Numbers of groups in several files: each file counts its simulations from 0, and some hold the same ones."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from data_loaders.errors import DataError

__all__ = ["PHASES", "agree", "numbered"]

PHASES = "initial_conditions"
"""Attribute of sets of a suite whose simulations of one number start from the same random phases."""


def numbered(datasets: Sequence[xr.Dataset], paths: Sequence[Path]) -> np.ndarray:
    """Group of every sample: one shift for all files that hold the same simulations, none for objects and places."""
    groups = [ds["group"].values for ds in datasets]
    if all(_is_object(ds) for ds in datasets) or all({"glon", "glat"} <= set(ds.coords) for ds in datasets):
        return np.concatenate(groups)
    shifts = [0] * len(datasets)
    begin: int | None = None
    for family in _families(datasets):
        low = min(int(groups[i].min()) for i in family)
        high = max(int(groups[i].max()) for i in family)
        shift = 0 if begin is None else begin - low
        if high + shift > np.iinfo(groups[0].dtype).max:
            told = "the numbers in group are too large to be shifted; number them from 0"
            raise DataError(paths[family[0]], told)
        for i in family:
            shifts[i] = shift
        begin = high + shift + 1
    return np.concatenate([group + shift for group, shift in zip(groups, shifts)])


def _is_object(ds: xr.Dataset) -> bool:
    return "object_id" in ds.coords and np.array_equal(ds["object_id"], ds["group"])


def agree(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Whether labels are equal, one by one; numbers to the digits that a table of parameters prints."""
    if a.dtype.kind == b.dtype.kind == "f":
        return np.isclose(a, b, rtol=1e-4, atol=0, equal_nan=True)
    return np.asarray(a == b)


def _families(datasets: Sequence[xr.Dataset]) -> list[list[int]]:
    """Sets of files that hold the same simulations, directly or by way of a third; in the order of the files."""
    ties = _ties(datasets)
    files = len(datasets)
    a, b = np.array(ties, int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(a), bool), (a, b)), shape=(files, files))
    _, family = connected_components(graph, directed=False)
    order = np.argsort(family, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(family[order])) + 1)
    return sorted((part.tolist() for part in parts), key=min)


def _ties(datasets: Sequence[xr.Dataset]) -> list[tuple[int, int]]:
    """Pairs of files whose common numbers stand for the same simulations, by all that the files say of them.

    All groups of all files lie in one table sorted by number, so that thousands of files are compared in one pass.
    """
    names = _labels_of_groups(datasets)
    if not names:
        return []
    first = [np.unique(ds["group"].values, return_index=True) for ds in datasets]
    number = np.concatenate([numbers for numbers, _ in first])
    owner = np.repeat(np.arange(len(datasets)), [len(numbers) for numbers, _ in first])
    labels = [np.concatenate([ds[name].values[rows] for ds, (_, rows) in zip(datasets, first)]) for name in names]
    kinds = {kind: i for i, kind in enumerate(dict.fromkeys(map(_suite, datasets)))}
    suite = np.array([kinds[_suite(ds)] for ds in datasets])
    order = np.argsort(number, kind="stable")
    by_number, ties = number[order], []
    for i in range(1, len(datasets)):
        mine = np.arange(*np.searchsorted(owner, [i, i + 1]))
        low, high = (np.searchsorted(by_number, number[mine], side) for side in ("left", "right"))
        mine = np.repeat(mine, high - low)
        theirs = order[np.repeat(low, high - low) + _counts(high - low)]
        earlier = (owner[theirs] < i) & (suite[owner[theirs]] == suite[i])
        mine, theirs = mine[earlier], theirs[earlier]
        same = np.logical_and.reduce([agree(label[theirs], label[mine]) for label in labels])
        same |= bool(datasets[i].attrs.get(PHASES))  # the numbers say it all
        agreeing = set(owner[theirs].tolist()) - set(owner[theirs[~same]].tolist())
        ties += [(j, i) for j in agreeing]
    return ties


def _counts(lengths: np.ndarray) -> np.ndarray:
    """Return 0, 1, ..., n - 1 for each length n, one after the other."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def _suite(ds: xr.Dataset) -> tuple[str, str]:
    return repr(ds.attrs.get("suite")), repr(ds.attrs.get(PHASES, ds.attrs.get("set")))


def _labels_of_groups(datasets: Sequence[xr.Dataset]) -> list[str]:
    """Names of the per-sample coordinates with one value for each group, in all files."""
    names = [
        name for name, coord in datasets[0].coords.items() if coord.dims == ("sample",) and coord.variable._in_memory
    ]
    names = [name for name in names if name not in ("group", "redshift", "split")]
    for ds in datasets:
        _, first, inverse = np.unique(ds["group"].values, return_index=True, return_inverse=True)
        of_group = first[inverse]
        names = [name for name in names if agree(ds[name].values, ds[name].values[of_group]).all()]
    return [str(name) for name in names]
