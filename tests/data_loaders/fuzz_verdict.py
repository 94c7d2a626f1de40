"""Is what was read from a damaged file right? It is judged by what the libraries of the formats say that it holds.

The *facts* of a file are its numbers and what its header says, read by astropy, h5py, numpy, scipy or json alone. Then:

- the facts are those of the whole file: everything that is read must be, too;
- only numbers differ: no more values of the field may differ than those made of them;
- the header says otherwise, in a key that stands for how numbers are stored, or what they are called: what is read may
  differ, and an array that is read as it lies must be the one that the library reads;
- it says otherwise in another key: labels may differ, values not;
- the library cannot read (parts of) the file: values must be those of the whole file, but for bytes that differ;
- what has a checksum is the original or nothing, if the file was not edited.
"""

import io
import json
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr
from astropy.io import fits
from fuzz_seeds import Seed

from data_loaders import main_variable

Facts = dict[tuple[str, ...], Any]
FAILED = "failed"
# Keys of headers that say how numbers are stored, which they are and what becomes of them.
_MATTERS = re.compile(
    r"(SIMPLE|XTENSION|BITPIX|NAXIS\d*|[PG]COUNT|TFIELDS|T(FORM|DIM|SCAL|ZERO|NULL|TYPE|UNIT)\d+|EXT(NAME|VER)|BSCALE|BZERO|"
    r"BLANK|Z\w+|THEAP|LAYOUT|NSIDE|ORDERING|COORDSYS|INDXSCHM|PIXTYPE|LAM_\w+|CR(PIX|VAL)\d|CD\d_\d|CTYPE\d|YUNITS|FITS|"
    r"scale_factor|add_offset|packing|_FillValue|missing_value|_Unsigned|field|CLASS|dtype|shape|fortran_order|names|"
    r"MassTable|BoxSize|NumPart_\w+|Unit\w+|\w+_varying|spatial_dims|n_trajectories|format_version|_Netcdf4Dimid)"
)


def facts(path: Path) -> Facts:
    """What a file says, by the library of its format; a key FAILED for what that cannot read."""
    store = next((each for each in path.parents if each.suffix == ".zarr"), None)
    if store is None and not path.exists():
        return {("header", "names"): "removed"}
    content = b"" if store is not None else path.read_bytes()
    read = next((read for begins, read in _READ.items() if content.startswith(begins)), _bytes)
    try:
        return read(path) if store is None else _zarr(store)
    except Exception as error:
        # A library may fail on damage in any way.
        return {(FAILED,): repr(error)}


def _fits(path: Path) -> Facts:
    found: Facts = {}
    with open(path, "rb") as stream, fits.open(stream, memmap=False, disable_image_compression=True) as hdus:
        for i, hdu in enumerate(hdus):
            where = ("header", str(i))
            for card in hdu.header.cards:
                try:
                    if card.keyword not in ("COMMENT", "HISTORY", "", "CHECKSUM", "DATASUM"):
                        found[*where, card.keyword] = card.value
                except fits.VerifyError:
                    found[*where, str(card.image)[:8].strip()] = str(card.image)
            try:
                data = hdu.data
                if isinstance(hdu, fits.BinTableHDU):
                    found |= {("data", str(i), name): _plain(data[name]) for name in hdu.columns.names or ()}
                    found["data", str(i), "heap"] = np.array(getattr(data, "_heap", np.zeros(0)))
                elif data is not None:
                    found["data", str(i)] = np.array(data)
            except Exception as error:
                found[FAILED, str(i)] = repr(error)
    return found


def _plain(values: Any) -> np.ndarray:
    """A column as an array; one of rows of unequal length as their bytes."""
    if values.dtype != object:
        return np.array(values)
    return np.frombuffer(b"".join(np.asarray(row).tobytes() for row in values), np.uint8)


def _hdf5(path: Path) -> Facts:
    found: Facts = {}

    def note(name: str, item: Any) -> None:
        found.update(
            {("header", name, key): np.asarray(value) for key, value in item.attrs.items() if "_LIST" not in key}
        )
        if isinstance(item, h5py.Dataset):
            found["header", name, "shape"], found["header", name, "dtype"] = item.shape, str(item.dtype)
            small = item.shape is not None and item.size * item.dtype.itemsize < 1 << 26
            found["data", name] = np.asarray(item[()]) if small else None

    with h5py.File(path, "r") as file:
        note("", file)
        file.visititems(note)
    return found


def _npy(path: Path) -> Facts:
    values = np.load(path, allow_pickle=False)
    found: Facts = {("header", "shape"): values.shape, ("header", "dtype"): values.dtype.str, ("data",): values}
    return found | {("header", "fortran_order"): values.flags.f_contiguous}


def _array(name: str, values: np.ndarray) -> Facts:
    dtype = str(values.dtype)
    return {("header", name, "shape"): values.shape, ("header", name, "dtype"): dtype, ("data", name): values}


def _npz(path: Path) -> Facts:
    with np.load(path, allow_pickle=False) as stored:
        found: Facts = {("header", "names"): tuple(stored.files)}
        for name in stored.files:
            values = stored[name]
            found |= {
                ("header", name, "shape"): values.shape,
                ("header", name, "dtype"): str(values.dtype),
                ("data", name): values,
            }
    return found


def _classic(path: Path) -> Facts:
    with xr.open_dataset(io.BytesIO(path.read_bytes()), engine="scipy", decode_cf=False) as ds:
        found: Facts = {("header", "", str(key)): value for key, value in ds.attrs.items()}
        for name, variable in ds.variables.items():
            found |= {("header", str(name), str(key)): value for key, value in variable.attrs.items()}
            found["header", str(name), "shape"], found["header", str(name), "dtype"] = (
                variable.shape,
                str(variable.dtype),
            )
            found["data", str(name)] = np.array(variable.values)
    return found


def _zarr(store: Path) -> Facts:
    import zarr

    group = zarr.open_group(store, mode="r", use_consolidated=False)
    found: Facts = {("header", "", key): value for key, value in group.attrs.asdict().items()}
    for name, array in group.arrays():
        found |= {("header", name, key): value for key, value in array.attrs.asdict().items()}
        found |= _array(name, np.asarray(array[...]))
    return found


def _json(path: Path) -> Facts:
    return {("header", "document"): json.dumps(json.loads(path.read_text(encoding="utf-8")), sort_keys=True)}


def _bytes(path: Path) -> Facts:
    return {("header", "content"): path.read_bytes()}


_READ = {
    b"SIMPLE": _fits, b"\x1f\x8b": _fits, b"\x89HDF": _hdf5, b"\x93NUMPY": _npy, b"PK": _npz, b"CDF": _classic,
    b"{": _json,
}  # fmt: skip


def same(a: Any, b: Any) -> bool:
    """Whether two facts are one; NaN is NaN."""
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))


def unlike(a: np.ndarray, b: np.ndarray) -> int:
    """How many elements of two arrays of one shape differ."""
    if a.dtype.names:
        return int(np.any([a[name] != b[name] for name in a.dtype.names], axis=0).sum())
    differ = a != b
    if a.dtype.kind in "fc" and b.dtype.kind in "fc":
        differ = differ & ~(np.isnan(a) & np.isnan(b))
    return int(np.count_nonzero(differ))


def judge(seed: Seed, whole: xr.Dataset, got: xr.Dataset, files: tuple[Path, Path], opened: Path, edited: bool) -> str:
    """Return "same" or "said": as the file now says. `files`: whole and damaged one; see `Damage` for `edited`.

    Raises
    ------
    AssertionError
        What was read is wrong, and nothing told.
    """
    if got.identical(whole):
        return "same"
    if seed.exact and not edited:
        wrong = seed.exact == "all" or not _same_arrays(whole, got)
        assert not wrong, f"checksums did not tell: {_difference(whole, got)}"
    before, after = facts(files[0]), facts(files[1])
    changed = [
        key
        for key in before.keys() | after.keys()
        if key not in before or key not in after or not same(before[key], after[key])
    ]
    assert changed, f"the file says the same, and is read otherwise: {_difference(whole, got)}"
    headers = [key for key in changed if key[0] == "header"]
    broken = [key for key in changed if key[0] == FAILED]
    if any(_MATTERS.fullmatch(key[-1]) for key in headers):
        _judge_array(seed, got, opened)
        return "said"
    _judge_values(seed, whole, got, _numbers(before, after, changed) if not broken else _bytes_that_differ(*files))
    return "said"


def _same_arrays(whole: xr.Dataset, got: xr.Dataset) -> bool:
    """Whether all variables that have dims have their values."""
    arrays = {name: variable for name, variable in whole.variables.items() if variable.ndim}
    return all(name in got.variables and same(array.values, got[name].values) for name, array in arrays.items())


def _judge_array(seed: Seed, got: xr.Dataset, opened: Path) -> None:
    """An array that is read as it lies is what the library of the format reads."""
    if seed.array is None:
        return
    try:
        expected = np.squeeze(seed.array(opened))
    except Exception as error:
        # A library may fail on damage in any way.
        raise AssertionError(f"is read, but the library of the format fails: {error!r}") from error
    values = np.squeeze(main_variable(got).values)
    assert expected.shape == values.shape, f"shape {values.shape}, the library of the format has {expected.shape}"
    assert unlike(expected, values) == 0, "values differ from those that the library of the format reads"


def _judge_values(seed: Seed, whole: xr.Dataset, got: xr.Dataset, numbers: int) -> None:
    """No more values of the field differ than those that are made of the numbers which differ."""
    first, second = main_variable(whole), main_variable(got)
    assert first.dims == second.dims, f"dims {second.dims}, the whole file has {first.dims}"
    if seed.spread is None and numbers:
        return
    assert first.shape == second.shape, f"shape {second.shape}, the whole file has {first.shape}"
    assert first.dtype == second.dtype, f"dtype {second.dtype}, the whole file has {first.dtype}"
    count = unlike(first.values, second.values)
    assert count <= (seed.spread or 0) * numbers, f"{count} values of the field differ for {numbers} numbers"


def _numbers(before: Facts, after: Facts, changed: list[tuple[str, ...]]) -> int:
    """How many numbers differ in arrays that the header does not say differ."""
    total = 0
    for key in changed:
        if key[0] == "data" and key in before and key in after and np.shape(before[key]) == np.shape(after[key]):
            total += unlike(np.asarray(before[key]), np.asarray(after[key]))
    return total


def _bytes_that_differ(whole: Path, damaged: Path) -> int:
    if not damaged.exists():
        return 0
    a, b = (np.frombuffer(path.read_bytes(), np.uint8) for path in (whole, damaged))
    return int(np.count_nonzero(a != b)) if len(a) == len(b) else 0


def _difference(whole: xr.Dataset, got: xr.Dataset) -> str:
    if whole.attrs.keys() != got.attrs.keys() or set(whole.variables) != set(got.variables):
        return f"{sorted(map(str, got.variables))}, {got.attrs}"
    names = [str(name) for name in whole.variables if not whole[name].variable.identical(got[name].variable)]
    return f"{', '.join(names) or 'attributes'} differ"
