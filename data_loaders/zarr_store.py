"""Zarr: a folder of compressed chunks, written in the labelled layout and read from any maker, versions 2 and 3.

Ours are version 2, which specifies text of fixed width (version 3 does not yet), with consolidated metadata. A chunk
that is missing would be read as zeros and a damaged one as numbers: ours have all chunks, each with a checksum.
"""

import math
from importlib import import_module
from pathlib import Path
from typing import Any

import xarray as xr

from data_loaders.errors import DataError
from data_loaders.files import replacing_folder
from data_loaders.guard import check_sizes
from data_loaders.layout import FORMAT_VERSION, migrate, tidy
from data_loaders.netcdf import choose_variable, open_unmasked
from data_loaders.registry import reader, writer

_MARKS = (".zgroup", ".zmetadata", "zarr.json")
_CHUNK_BYTES = 1 << 20


@reader("zarr", lambda path, head: path.is_dir() and any((path / mark).is_file() for mark in _MARKS))
def read_zarr(path: Path, dataset: str | None = None) -> xr.Dataset:
    """Zarr group: with all labels if this package wrote it, else as NetCDF of other makers."""
    _need_zarr()
    options: dict[str, Any] = {"engine": "zarr", "consolidated": (path / ".zmetadata").is_file()}
    try:
        ours: dict[str, Any] = {
            "mask_and_scale": False,
            "decode_times": False,
            "decode_timedelta": False,
            "cache": False,
        }
        ds = xr.open_dataset(path, **(options | ours))
        if "format_version" not in ds.attrs:
            return choose_variable(open_unmasked(path, **options), path, dataset)
    except DataError:
        raise
    except Exception as error:
        raise DataError(path, f"does not open as Zarr (damaged or not whole): {error}") from error
    check_sizes(ds, path)
    _check_chunks(ds, path)
    for variable in ds.variables.values():
        variable.attrs.pop("_FillValue", None)
    ds = tidy(migrate(ds, ds.attrs.pop("format_version"), path))
    if dataset is not None:
        if dataset not in ds.data_vars:
            raise DataError(path, f"no dataset {dataset!r}; it holds: {', '.join(map(str, ds.data_vars))}")
        ds.attrs["field"] = dataset
    return ds


@writer("zarr", (".zarr",), folder=True)
def write_zarr(ds: xr.Dataset, path: Path, overwrite: bool) -> None:
    """Write a Zarr group in the labelled layout, chunks of whole samples."""
    _need_zarr()
    encoding = {name: _storage(ds[name]) for name in ds.variables}
    stored = ds.assign_attrs(format_version=FORMAT_VERSION)
    with replacing_folder(path, overwrite) as temporary:
        stored.to_zarr(temporary, zarr_format=2, consolidated=True, encoding=encoding, write_empty_chunks=True)


def _storage(variable: xr.DataArray) -> dict[str, Any]:
    storage: dict[str, Any] = {"filters": [import_module("numcodecs").CRC32()]}
    if variable.dtype.kind in "fiu":
        storage["_FillValue"] = None
    if variable.ndim > 1:
        rows = max(1, _CHUNK_BYTES * variable.shape[0] // max(variable.nbytes, 1))
        storage["chunks"] = (min(rows, variable.shape[0]), *variable.shape[1:])
    return storage


def _check_chunks(ds: xr.Dataset, path: Path) -> None:
    """Raise a `DataError` if a chunk of ours is not there."""
    for name, variable in ds.variables.items():
        chunks = variable.encoding.get("chunks") or variable.shape
        expected = math.prod(-(-n // chunk) for n, chunk in zip(variable.shape, chunks))
        found = sum(not each.name.startswith(".") for each in (path / str(name)).iterdir())
        if found < expected:
            raise DataError(path, f"not whole: {name!r} has {found} of its {expected} chunks; copy it anew")


def _need_zarr() -> None:
    try:
        import_module("zarr")
    except ImportError as error:
        raise ImportError("Zarr stores need the package zarr; pip install 'sciffusion[zarr]'") from error
