"""NumPy's npz, a zip file of arrays: one of them is the field, arrays of one value a sample are what is known of it.

A member that is stored as it is (`numpy.savez`) is mapped where it lies in the file. One that is compressed
(`numpy.savez_compressed`) is inflated when its values are first asked for, and kept. Pickled objects are refused.
"""

import math
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import xarray as xr

from data_loaders.errors import DataError
from data_loaders.guard import CHECKED, check_size
from data_loaders.inflate import refuse_large
from data_loaders.lazy import MappedArray, lazy_variable
from data_loaders.npy import Header, read_header
from data_loaders.registry import reader

MAGIC = b"PK\x03\x04"
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_TAKEN = ("sample", "channel", "x", "y", "z")


def _matches(path: Path, head: bytes) -> bool:
    if not head.startswith(MAGIC):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return bool(names := archive.namelist()) and all(name.endswith(".npy") for name in names)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return path.suffix == ".npz"


@reader("npz", _matches)
def read_npz(path: Path, dataset: str | None = None) -> xr.Dataset:
    """Array of an npz file.

    Parameters
    ----------
    path : Path
        Made by `numpy.savez` or `numpy.savez_compressed`.
    dataset : str, optional
        Name of the array; not needed for the only one of two or more axes. Arrays of one axis and of the same
        length are coordinates along `sample`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name.removesuffix(".npy"): _header(path, archive, name) for name in archive.namelist()}
            name = _choose(path, members, dataset)
            source = _map(path, archive, f"{name}.npy", members[name])
            labels = {
                key: _load(path, archive, f"{key}.npy", header)
                for key, header in members.items()
                if key != name and _is_label(key, header, source.shape[0])
            }
    except zipfile.BadZipFile as error:
        raise DataError(path, f"does not open as npz (truncated or damaged): {error}") from error
    dims = ("sample", *(f"dim_{i}" for i in range(1, len(source.shape)))) if len(source.shape) > 1 else ("dim_0",)
    field = {name: lazy_variable(dims, source, {"long_name": name})}
    coords = {f"row_{key}" if key in _TAKEN else key: ("sample", values) for key, values in labels.items()}
    return xr.Dataset(field, coords, {"field": name})


def _header(path: Path, archive: zipfile.ZipFile, name: str) -> Header:
    with archive.open(name) as stream:
        return read_header(stream, path)


def _choose(path: Path, members: dict[str, Header], wanted: str | None) -> str:
    listing = ", ".join(f"{name} {header.shape} {header.dtype}" for name, header in members.items()) or "nothing"
    if wanted is not None and wanted not in members:
        raise DataError(path, f"no array {wanted!r}; it holds: {listing}")
    fits = [name for name, header in members.items() if len(header.shape) >= 2 and header.dtype.kind in "fiuO"]
    chosen = [wanted] if wanted is not None else fits or list(members)
    if len(chosen) != 1:
        raise DataError(
            path, f"{len(chosen)} arrays of numbers; name one with dataset= (--dataset); it holds: {listing}"
        )
    header = members[chosen[0]]
    if header.dtype.hasobject:
        told = f"{chosen[0]!r} holds Python objects, which only pickle reads, and pickle runs any code it is given"
        raise DataError(path, f"{told}; load it where you trust it and save np.asarray(list, dtype='float32')")
    if header.dtype.kind not in "fiu" or not header.shape:
        raise DataError(path, f"{chosen[0]!r} is no array of numbers with a sample axis; it holds: {listing}")
    return chosen[0]


def _map(path: Path, archive: zipfile.ZipFile, name: str, header: Header) -> MappedArray:
    """Map a member: where it lies in the file if it is stored, inflated otherwise."""
    info = archive.getinfo(name)
    nbytes = header.dtype.itemsize * math.prod(header.shape)
    if header.offset + nbytes > info.file_size:
        raise DataError(path, f"truncated: {name} needs {header.offset + nbytes} bytes, it has {info.file_size}")
    native, order = header.dtype.newbyteorder("="), "F" if header.fortran else "C"
    if info.compress_type != zipfile.ZIP_STORED:
        check_size(path, name, nbytes)
        refuse_large(path, nbytes, f"unpack it: python -m zipfile -e {path.name} folder, and open folder/{name}")
        return MappedArray(path, header.shape, header.dtype, native, header.offset, order, inside=name)
    if info.file_size <= CHECKED:
        archive.read(name)  # compares the checksum, which a map does not
    with open(path, "rb") as stream:
        stream.seek(info.header_offset)
        *_, name_length, extra_length = _LOCAL_HEADER.unpack(stream.read(_LOCAL_HEADER.size))
    begin = info.header_offset + _LOCAL_HEADER.size + name_length + extra_length
    if begin + header.offset + nbytes > path.stat().st_size:
        raise DataError(path, f"truncated: {name} ends after the file does; copy it anew")
    return MappedArray(path, header.shape, header.dtype, native, begin + header.offset, order)


def _is_label(key: str, header: Header, samples: int) -> bool:
    if header.shape != (samples,):
        return False
    if header.dtype.kind in "fiubUS":
        return True
    warnings.warn(f"{key!r} holds {header.dtype}, no numbers or text, and is left out", UserWarning, stacklevel=4)
    return False


def _load(path: Path, archive: zipfile.ZipFile, name: str, header: Header) -> np.ndarray:
    check_size(path, name, header.dtype.itemsize * math.prod(header.shape))
    with archive.open(name) as stream:
        values = np.lib.format.read_array(stream, allow_pickle=False)
    return values.astype(str) if values.dtype.kind == "S" else values.astype(values.dtype.newbyteorder("="))
