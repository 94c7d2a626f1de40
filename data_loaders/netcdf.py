"""NetCDF of other makers, classic and NetCDF-4: its variables as they are, completed by labels given by hand."""

import traceback
import warnings
from pathlib import Path
from typing import Any

import h5py
import xarray as xr

from data_loaders.errors import DataError
from data_loaders.guard import check_sizes
from data_loaders.hdf5 import MAGIC as HDF5_MAGIC
from data_loaders.layout import RESERVED, tidy
from data_loaders.registry import reader

_CLASSIC = (b"CDF\x01", b"CDF\x02")


def _matches(path: Path, head: bytes) -> bool:
    if head.startswith(_CLASSIC):
        return True
    if not head.startswith(HDF5_MAGIC):
        return False
    try:
        with h5py.File(path, "r") as file:
            return "_NCProperties" in file.attrs or any(item.attrs.get("CLASS") == _SCALE for item in file.values())
    except OSError:
        return False


_SCALE = b"DIMENSION_SCALE"


@reader("netcdf", _matches, refines=("hdf5_array",))
def read_netcdf(path: Path, dataset: str | None = None) -> xr.Dataset:
    """NetCDF variable of two or more axes: the only one, or the one named; the first axis is the samples.

    Variables of one axis along the samples become coordinates; 64-bit integers stay integers, whatever fill value
    they declare.
    """
    with open(path, "rb") as stream:
        classic = stream.read(4) in _CLASSIC
    options: dict[str, Any] = {"engine": "scipy"} if classic else {"engine": "h5netcdf", "phony_dims": "access"}
    with warnings.catch_warnings():
        # What scipy had mapped when it gave up is held by the frames of the error.
        warnings.filterwarnings("ignore", "Cannot close a netcdf_file", RuntimeWarning)
        try:
            ds = open_unmasked(path, **options)
        except Exception as error:
            traceback.clear_frames(error.__traceback__)
            raise DataError(path, f"does not open as NetCDF (truncated or damaged): {error}") from error
    return choose_variable(ds, path, dataset)


def open_unmasked(path: Path, **options: Any) -> xr.Dataset:
    """Open with xarray; 64-bit integers, such as identifiers, are not turned into floats for a fill value's sake."""
    options |= {"decode_times": False, "decode_timedelta": False, "cache": False}
    with xr.open_dataset(path, mask_and_scale=False, **options) as raw:
        scaled = {
            str(name): not (variable.dtype.kind in "iu" and variable.dtype.itemsize == 8 and not _is_packed(variable))
            for name, variable in raw.variables.items()
        }
    ds = xr.open_dataset(path, mask_and_scale=scaled, **options)
    for name in (name for name, masked in scaled.items() if not masked):
        ds[name].attrs = {key: value for key, value in ds[name].attrs.items() if key not in RESERVED}
    return ds


def _is_packed(variable: xr.Variable) -> bool:
    return "scale_factor" in variable.attrs or "add_offset" in variable.attrs


def choose_variable(ds: xr.Dataset, path: Path, dataset: str | None) -> xr.Dataset:
    """Return the array that is wanted, or the only one, with its coordinates and those along its first axis.

    Raises
    ------
    DataError
        There is none, or several and none is named.
    """
    check_sizes(ds, path)
    listing = ", ".join(f"{name} {item.shape} {item.dtype}" for name, item in ds.data_vars.items()) or "nothing"
    arrays = [str(name) for name, item in ds.data_vars.items() if item.ndim >= 2 and item.dtype.kind in "fiu"]
    wanted = dataset or ds.attrs.get("field")
    if wanted is not None:
        arrays = [name for name in arrays if name == wanted]
    if len(arrays) != 1:
        told = f"expected one array of numbers, found {len(arrays)}" if wanted is None else f"no array {wanted!r}"
        raise DataError(path, f"{told}; name one with dataset= (--dataset); it holds: {listing}")
    first = ds[arrays[0]].dims[0]
    labels = [name for name, item in ds.data_vars.items() if item.dims == (first,) and item.dtype.kind in "fiubUSTO"]
    kept = ds[[*arrays, *labels]].set_coords(labels)
    kept.attrs["field"] = arrays[0]
    kept = tidy(kept)
    kept.set_close(ds.close)
    return kept
