"""HDF5: the labelled layout as NetCDF-4, and bare arrays.

``packing="log10"`` stores a positive field as ``raw = round((log10(value) - add_offset) / scale_factor)`` in
uint16, compressed: for a range of R decades the error is at most R / 131070 dex (4.6e-5 for six decades).
"""

import json
import math
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from data_loaders.errors import DataError
from data_loaders.files import replacing
from data_loaders.guard import check_size, check_sizes
from data_loaders.layout import FORMAT_VERSION, main_variable, migrate, tidy
from data_loaders.lazy import HDF5Array, Powers, lazy_variable
from data_loaders.probe import hdf5_attributes
from data_loaders.registry import reader, writer

MAGIC = b"\x89HDF\r\n\x1a\n"
_CHUNK_BYTES = 1 << 14
_LEVELS = 65535
_JSON = "json:"


def _is_layout(path: Path, head: bytes) -> bool:
    # Other makers count the versions of their formats, too.
    return head.startswith(MAGIC) and {"format_version", "field"} <= set(hdf5_attributes(path))


@reader("hdf5", _is_layout, refines=("hdf5_array", "netcdf"))
def read_layout(path: Path, dataset: str | None = None) -> xr.Dataset:
    """HDF5 or NetCDF-4 in the labelled layout."""
    try:
        options: dict[str, Any] = {"decode_times": False, "decode_timedelta": False, "cache": False}
        file = xr.open_dataset(path, engine="h5netcdf", **options)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(path, f"does not open as NetCDF-4 (truncated, or not in the layout): {error}") from error
    check_sizes(file, path)
    ds = file.copy()
    for variable in (ds, *ds.variables.values()):
        variable.attrs = {key: _decode(value) for key, value in variable.attrs.items()}
    ds = tidy(migrate(ds, ds.attrs.pop("format_version", None), path))
    if dataset is not None:
        if dataset not in ds.data_vars:
            raise DataError(path, f"no dataset {dataset!r}; it holds: {', '.join(map(str, ds.data_vars))}")
        ds.attrs["field"] = dataset
    ds = ds.assign({name: _unpacked(variable, path) for name, variable in ds.variables.items()})
    ds.set_close(file.close)
    return ds


def _unpacked(variable: xr.Variable, path: Path) -> xr.Variable:
    packing = variable.attrs.get("packing")
    if packing is None:
        return variable
    if packing != "log10":
        raise DataError(path, f"packing {packing!r} is not known; known: log10")
    attrs = {key: value for key, value in variable.attrs.items() if key != "packing"}
    return lazy_variable(tuple(map(str, variable.dims)), Powers(variable), attrs)


@writer("hdf5", (".h5", ".hdf5", ".nc"))
def write_layout(ds: xr.Dataset, path: Path, overwrite: bool, packing: str | None = None) -> None:
    """NetCDF-4 in the labelled layout, compressed."""
    if packing not in (None, "log10"):
        raise DataError(path, f"packing {packing!r} is not known; known: log10")
    for name in ds.data_vars:
        if ds[name].dtype.kind in "fc" and ds[name].dtype not in (np.float32, np.float64):
            raise DataError(path, f"{name!r} is {ds[name].dtype}, which NetCDF lacks; convert to float32")
    stored = ds.assign({ds.attrs["field"]: _packed(main_variable(ds), path)}) if packing else ds.copy(deep=False)
    for variable in (stored, *stored.variables.values()):
        variable.attrs = {key: _encode(value) for key, value in variable.attrs.items()}
    stored.attrs["format_version"] = FORMAT_VERSION
    encoding = {name: _storage(stored[name]) for name in stored.variables}
    with replacing(path, overwrite) as temporary:
        stored.to_netcdf(temporary, engine="h5netcdf", format="NETCDF4", encoding=encoding)


def _packed(field: xr.DataArray, path: Path) -> xr.Variable:
    values = field.values
    bad = int(np.count_nonzero(~(np.isfinite(values) & (values > 0))))
    if bad:
        told = f"packing='log10' needs positive finite values; {bad} of {values.size} are not"
        raise DataError(path, f"{told}; leave packing away or mend the field")
    exponent = np.log10(values, dtype=np.float64)
    offset = float(exponent.min())
    scale = (float(exponent.max()) - offset) / _LEVELS or 1.0
    raw = np.rint((exponent - offset) / scale).astype(np.uint16)
    attrs = {**field.attrs, "packing": "log10", "scale_factor": scale, "add_offset": offset}
    return xr.Variable(field.dims, raw, attrs)


def _storage(variable: xr.DataArray) -> dict[str, Any]:
    """Chunks of whole samples, some 16 kB each, so that one sample is read without its neighbors."""
    numeric = variable.dtype.kind in "fiu"
    storage: dict[str, Any] = {"_FillValue": None} if numeric else {}
    if numeric and variable.ndim > 0:
        storage["fletcher32"] = True  # A flipped bit is an error, not another value.
    if variable.dtype.kind in "fiub" and variable.ndim > 1:
        rows = max(1, _CHUNK_BYTES * variable.shape[0] // max(variable.nbytes, 1))
        chunks = (min(rows, variable.shape[0]), *variable.shape[1:])
        storage |= {"zlib": True, "complevel": 4, "shuffle": True, "chunksizes": chunks}
    return storage


def _encode(value: Any) -> Any:
    """Text and numbers as they are; what NetCDF would alter (lists, booleans, None, odd text) as JSON."""
    if type(value) is float or (type(value) is int and -(2**63) <= value < 2**63):
        return value
    if type(value) is str and value.isprintable() and value and not value.startswith(_JSON):
        return value
    return _JSON + json.dumps(value)


def _decode(value: Any) -> Any:
    return json.loads(value[len(_JSON) :]) if isinstance(value, str) and value.startswith(_JSON) else value


@reader("hdf5_array", lambda path, head: head.startswith(MAGIC))
def read_array(path: Path, dataset: str | None = None, coords: str | Sequence[str] | None = None) -> xr.Dataset:
    """HDF5 file with a bare array.

    Parameters
    ----------
    path : Path
        Any HDF5 file.
    dataset : str, optional
        Path of the array, such as ``"maps/density"``; not needed for the only one of two or more axes.
    coords : str or sequence of str, optional
        Paths of datasets with one value a sample that become coordinates, by the last part of their path; those
        beside the array need no folder.
    """
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DataError(path, f"does not open as HDF5 (truncated or damaged): {error}") from error
    with file:
        datasets = _datasets(file)
        name = _choose(path, datasets, dataset)
        array = datasets[name]
        need_filters(path, array)
        check_size(path, f"one sample of {name}", array.dtype.itemsize * math.prod(array.shape[1:]))
        source = HDF5Array(path, name, array.shape, array.dtype.newbyteorder("="))
        folder = name.rpartition("/")[0]
        labels = [_find_label(path, datasets, folder, key, source.shape[0]) for key in _as_list(coords)]
        found = {label.rsplit("/", 1)[-1]: ("sample", _read_label(path, datasets[label])) for label in labels}
    short = name.rsplit("/", 1)[-1]
    dims = ("sample" if found else "dim_0", *(f"dim_{i}" for i in range(1, len(source.shape))))
    return xr.Dataset({short: lazy_variable(dims, source, {"long_name": short})}, found, attrs={"field": short})


def need_filters(path: Path, dataset: h5py.Dataset) -> None:
    """Make the filters known that a dataset was compressed with; those beyond HDF5's own are in hdf5plugin.

    Raises
    ------
    ImportError
        There is no such filter.
    """
    plist = dataset.id.get_create_plist()
    filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
    if all(map(h5py.h5z.filter_avail, filters)):
        return
    try:
        import_module("hdf5plugin")
    except ImportError as error:
        told = f"{path}: {dataset.name} is compressed with a filter that HDF5 lacks"
        raise ImportError(f"{told}; pip install 'sciffusion[hdf5plugin]'") from error


def _as_list(names: str | Sequence[str] | None) -> list[str]:
    return [names] if isinstance(names, str) else list(names or ())


def _find_label(path: Path, found: dict[str, h5py.Dataset], folder: str, wanted: str, samples: int) -> str:
    candidates = [name for name in (f"{folder}/{wanted}".strip("/"), wanted.strip("/")) if name in found]
    if not candidates or found[candidates[0]].shape != (samples,):
        fits = ", ".join(name for name, item in found.items() if item.shape == (samples,)) or "none"
        raise DataError(path, f"coords: {wanted!r} has not one value for each of {samples} samples; there is: {fits}")
    return candidates[0]


def _read_label(path: Path, dataset: h5py.Dataset) -> np.ndarray:
    check_size(path, str(dataset.name), dataset.dtype.itemsize * dataset.size)
    text = h5py.check_string_dtype(dataset.dtype) is not None
    values = np.asarray(dataset.asstr()[()] if text else dataset[()])
    return values.astype(str) if values.dtype.kind in "OS" else values.astype(values.dtype.newbyteorder("="))


def _datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    found = {}
    file.visititems(lambda name, item: found.update({name: item}) if isinstance(item, h5py.Dataset) else None)
    return found


def _choose(path: Path, found: dict[str, h5py.Dataset], wanted: str | None) -> str:
    listing = ", ".join(f"{name} {item.shape} {item.dtype}" for name, item in found.items()) or "nothing"
    arrays = [name for name, item in found.items() if item.dtype.kind in "fiu" and item.ndim >= 2]
    if wanted is not None:
        name = wanted.strip("/")
        if name not in found:
            raise DataError(path, f"no dataset {wanted!r}; it holds: {listing}")
        if name not in arrays:
            raise DataError(path, f"dataset {wanted!r} is no array of numbers with a sample axis; it holds: {listing}")
        return name
    if len(arrays) != 1:
        told = "expected one array of numbers" if not arrays else f"{len(arrays)} arrays of numbers"
        raise DataError(path, f"{told}; name one with dataset= (--dataset); it holds: {listing}")
    return arrays[0]
