"""NumPy's npy: an array through a memory map, its labels in ``<name>.npy.json`` beside it.

Coordinates of its pixels (`mask`, `ivar`) are arrays of their own beside it, ``<name>.npy.mask``.
"""

import math
from contextlib import ExitStack
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import xarray as xr

from data_loaders.description import assemble, describe, inline
from data_loaders.errors import DataError
from data_loaders.files import replacing
from data_loaders.layout import main_variable
from data_loaders.lazy import MappedArray, lazy_variable
from data_loaders.registry import reader, writer

MAGIC = b"\x93NUMPY"
FIELD_NAME = "field"


def sidecar(path: Path) -> Path:
    """Return where the labels of an npy file are."""
    return path.with_name(path.name + ".json")


def companion(path: Path, name: str) -> Path:
    """Return where a coordinate of the pixels of an npy file is."""
    return path.with_name(f"{path.name}.{name}")


class Header(NamedTuple):
    """What the head of an npy file says, and where its numbers begin."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    offset: int


def read_header(stream: IO[bytes], path: Path) -> Header:
    """Read the head of an array in npy format.

    Raises
    ------
    DataError
        It is none.
    """
    try:
        version = np.lib.format.read_magic(stream)
        older = version == (1, 0)
        read = np.lib.format.read_array_header_1_0 if older else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
    except ValueError as error:
        raise DataError(path, f"expected an array in npy format; {error}") from error
    if any(length < 0 for length in shape):
        raise DataError(path, f"expected an array in npy format; its shape is {shape}")
    return Header(shape, dtype, fortran, stream.tell())


def map_array(path: Path, kinds: str = "fiu") -> MappedArray:
    """Map the array of an npy file without reading it; `kinds` of numpy's dtypes are allowed.

    Raises
    ------
    DataError
        The file is no npy file, truncated, or holds something else than numbers.
    """
    with open(path, "rb") as stream:
        shape, dtype, fortran, offset = read_header(stream, path)
    if dtype.hasobject:
        told = "holds Python objects, which only pickle reads, and pickle runs any code it is given"
        raise DataError(path, f"{told}; load it where you trust it and save np.asarray(list, dtype='float32')")
    if dtype.kind not in kinds:
        raise DataError(path, f"expected numbers, found dtype {dtype}; save it as float32")
    expected = offset + dtype.itemsize * math.prod(shape)
    if path.stat().st_size < expected:
        raise DataError(path, f"truncated: shape {shape} needs {expected} bytes, the file has {path.stat().st_size}")
    native = dtype.newbyteorder("=")
    return MappedArray(path, shape, dtype, native, offset, "F" if fortran else "C")


@reader("npy", lambda path, head: head.startswith(MAGIC))
def read_npy(path: Path) -> xr.Dataset:
    """Array of numbers, with its labels if they lie beside it."""
    source = map_array(path)
    labels = sidecar(path)
    if not labels.exists():
        dims = tuple(f"dim_{i}" for i in range(len(source.shape)))
        return xr.Dataset(
            {FIELD_NAME: lazy_variable(dims, source, {"long_name": path.stem})}, attrs={"field": FIELD_NAME}
        )

    def fetch(entry) -> xr.Variable:
        beside = companion(path, entry["companion"]) if "companion" in entry else path
        found = source if beside == path else map_array(beside, "fiub")
        if (has := (list(found.shape), found.dtype.str)) != (expected := (entry["shape"], entry["dtype"])):
            told = f"describes shape and dtype {expected} of {beside.name}, the array has {has}"
            raise DataError(labels, f"{told}; it belongs to another array: write both anew, or remove it")
        return lazy_variable(tuple(entry["dims"]), found, entry["attrs"])

    return assemble(labels.read_text(encoding="utf-8"), fetch, labels)


@writer("npy", (".npy",))
def write_npy(ds: xr.Dataset, path: Path, overwrite: bool) -> None:
    """Write the array alone, and beside it the labels and the coordinates of its pixels."""
    field = main_variable(ds)
    arrays = {path: field}

    def store(name: str, variable: xr.DataArray) -> dict:
        if name == field.name:
            return {"shape": list(variable.shape)}
        if name in ds.data_vars and variable.ndim > 1:
            raise DataError(path, f"npy holds one array, and {name!r} is a second; write .h5, .nc, .zarr or .fits")
        if variable.ndim < 2 or variable.dtype.kind not in "fiub":
            return inline(variable)
        arrays[companion(path, name)] = variable
        return {"shape": list(variable.shape), "companion": name}

    document = describe(ds, store)
    with ExitStack() as stack:
        put = {target: stack.enter_context(replacing(target, overwrite)) for target in (*arrays, sidecar(path))}
        for target, variable in arrays.items():
            with open(put[target], "wb") as stream:
                np.save(stream, variable.values, allow_pickle=False)
        put[sidecar(path)].write_text(document, encoding="utf-8")
