"""An object that was observed twice must not be in the training set and in the test set: it is one group."""

import numpy as np
import xarray as xr
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

__all__ = ["group_objects"]


def group_objects(ds: xr.Dataset) -> xr.Dataset:
    """Return `ds` with one `group` for all samples of an `object_id`.

    Without a `group`, ids that repeat become the group. Where there is one, groups that share an object become one,
    under the smaller number. Negative ids are those of no object.

    Examples
    --------
    >>> ids, groups = ("sample", [7, 8, 7, 9]), ("sample", [0, 1, 2, 2])
    >>> group_objects(xr.Dataset(coords={"object_id": ids})).group.values
    array([7, 8, 7, 9])
    >>> group_objects(xr.Dataset(coords={"object_id": ids, "group": groups})).group.values
    array([0, 1, 0, 0])
    """
    if "object_id" not in ds.coords or ds["object_id"].dims != ("sample",):
        return ds
    ids = ds["object_id"].values
    distinct, object_ = np.unique(ids, return_inverse=True)
    if len(distinct) == len(ids):
        return ds
    told = {"long_name": "object: samples of one belong together"}
    if "group" not in ds.coords:
        numbers = ids.astype(np.int64) if ids.dtype.kind in "iu" else object_.astype(np.int64)
        return ds.assign_coords(group=("sample", numbers, told))
    group = ds["group"]
    known = ids >= 0 if ids.dtype.kind == "i" else np.ones(len(ids), bool)
    return ds.assign_coords(group=("sample", _merged(group.values, object_, known), group.attrs))


def _merged(group: np.ndarray, object_: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Groups joined by common objects: the connected parts of the graph that ties each object to its groups."""
    numbers, node = np.unique(group, return_inverse=True)
    n = len(numbers)
    size = n + int(object_.max()) + 1
    ties = coo_array((np.ones(known.sum(), bool), (node[known], n + object_[known])), shape=(size, size))
    _, part = connected_components(ties, directed=False)
    # The numbers rise, so the first of a part is its smallest.
    _, first = np.unique(part[:n], return_index=True)
    smallest = dict(zip(part[:n][first].tolist(), numbers[first].tolist()))
    return np.array([smallest[p] for p in part[node].tolist()], dtype=group.dtype)
