"""The Multimodal Universe: spectra and images of many surveys as flat datasets of HDF5, a row an object.

``object_id``, ``ra``, ``dec``, ``Z``, ... and ``spectrum_flux``, ``_ivar``, ``_mask``, ``_lambda`` (n, pixel), each row
with wavelengths of its own, padded with -1 at the end; or ``image_array`` (n, band, y, x) with ``image_band``,
``image_ivar``. See The Multimodal Universe Collaboration 2024, arXiv:2412.02527.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from data_loaders.errors import DataError
from data_loaders.guard import check_size, naming
from data_loaders.hdf5 import MAGIC
from data_loaders.lazy import HDF5Array, RowSource, lazy_variable
from data_loaders.probe import Item, hdf5_items
from data_loaders.registry import reader
from data_loaders.spectra import common_grid, parse_grid, prepare, spectra_dataset
from data_loaders.spectra.dataset import FRAMES, MEDIA
from data_loaders.survey import FLUX_UNITS, PARTS, Triplet, clean, exact_ids, lazy_spectra, rising

ATTRS = {
    "source": "Multimodal Universe",
    "citation": "The Multimodal Universe Collaboration 2024, arXiv:2412.02527; cite the survey as well",
}
KINDS = {"spectrum": "spectrum_flux", "image": "image_array"}
_RENAMED = {"Z": "redshift", "ZERR": "redshift_error", "Z_ERR": "redshift_error"}
_UNITS = {"ra": "deg", "dec": "deg"}
_SAMPLED_ROWS = 64


def _is_multimodal(path: Path, head: bytes) -> bool:
    items = hdf5_items(path) if head.startswith(MAGIC) else {}
    return "object_id" in items and any(name in items for name in KINDS.values())


@reader("multimodal_universe", _is_multimodal, refines=("hdf5_array", "hdf5", "netcdf"))
def read_multimodal(
    path: Path,
    dataset: str | None = None,
    wavelength: Any = None,
    frame: str | None = None,
    medium: str | None = None,
) -> xr.Dataset:
    """Spectra (``dataset="spectrum"``) or images (``"image"``) with all that the file says of each object.

    Spectra on parts of one grid need no `wavelength`; others are rebinned to it. `wavelength`, `frame` and `medium` are
    those of `data_loaders.spectra.prepare`.
    """
    items = hdf5_items(path)
    kind = _kind(path, items, dataset)
    n = items[KINDS[kind]].shape[0]
    wrong = [name for name, item in items.items() if name.startswith(kind) and item.shape[:1] != (n,)]
    if wrong:
        raise DataError(path, f"{wrong[0]} has shape {items[wrong[0]].shape}, {KINDS[kind]} has {n} rows")
    objects = _objects(path, items, n)
    if kind == "image":
        if (wavelength, frame, medium) != (None, None, None):
            raise DataError(path, "wavelength=, frame= and medium= are for spectra; leave them out for images")
        return _images(path, items, objects)
    if wavelength is None:
        ds = _spectra(path, items, objects)
        return prepare(ds, frame=frame, medium=medium)
    return _rebinned(path, items, objects, wavelength, frame or "observed", medium or "vacuum")


def _kind(path: Path, items: Mapping[str, Item], wanted: str | None) -> str:
    there = [kind for kind, name in KINDS.items() if name in items]
    if wanted is None and len(there) == 1:
        return there[0]
    if wanted not in there:
        told = f"dataset={wanted!r}" if wanted else "the file holds spectra and images"
        raise DataError(path, f"{told}; choose one with dataset= (--dataset): {', '.join(there)}")
    return str(wanted)


def _objects(path: Path, items: Mapping[str, Item], n: int) -> dict[str, tuple[np.ndarray, dict[str, str]]]:
    """Every dataset of one value a row, under its own name; the redshift is called that."""
    objects = {}
    with naming(path), h5py.File(path, "r") as file:
        for name, item in items.items():
            if item.shape != (n,) or "/" in name:
                continue
            check_size(path, name, np.dtype(item.dtype).itemsize * n)
            values = np.asarray(file[name])  # type: ignore[arg-type]
            if name == "object_id":
                values = exact_ids(values)
            elif values.dtype.kind in "OS":
                values = np.array([text.decode() if isinstance(text, bytes) else str(text) for text in values])
            objects[_RENAMED.get(name, name)] = (values, {"units": _UNITS[name]} if name in _UNITS else {})
    return objects


def _array(path: Path, items: Mapping[str, Item], name: str) -> HDF5Array:
    if name not in items:
        raise DataError(path, f"expected a dataset {name}; the file holds: {', '.join(items)}")
    shape, dtype = items[name].shape, np.dtype(items[name].dtype)
    check_size(path, f"one row of {name}", dtype.itemsize * math.prod(shape[1:]))
    return HDF5Array(path, name, shape, dtype.newbyteorder("="))


def _arrays(path: Path, items: Mapping[str, Item]) -> dict[str, HDF5Array]:
    arrays = {name: _array(path, items, f"spectrum_{name}") for name in ("flux", "ivar", "mask", "lambda")}
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) != 1 or len(arrays["flux"].shape) != 2:
        told = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise DataError(path, f"expected spectra (n, pixel) of one shape, found {told}")
    return arrays


def _spectra(path: Path, items: Mapping[str, Item], objects: dict[str, Any]) -> xr.Dataset:
    arrays = _arrays(path, items)
    grid = _common_axis(path, arrays["lambda"])
    return lazy_spectra(_OneGrid(path, arrays, grid), grid, units=FLUX_UNITS, objects=objects, attrs=ATTRS)


def _rebinned(
    path: Path, items: Mapping[str, Item], objects: dict[str, Any], wavelength: Any, frame: str, medium: str
) -> xr.Dataset:
    if frame not in FRAMES or medium not in MEDIA:
        told = f"frame must be one of {', '.join(FRAMES)}, medium one of {', '.join(MEDIA)}"
        raise DataError(path, f"{told}; given: {frame!r}, {medium!r}")
    if frame == "rest" and "redshift" not in objects:
        raise DataError(path, "the rest frame needs the redshift Z, which the file lacks; leave --frame out")
    arrays = _arrays(path, items)
    own = lazy_variable(("sample", "wavelength"), arrays["lambda"])
    rows = {name: lazy_variable(("sample", "wavelength"), array) for name, array in arrays.items()}
    parts = (rows["flux"], rows["ivar"], rows["mask"], own, wavelength, path)
    redshift = objects["redshift"][0] if frame == "rest" else None
    made = common_grid(*parts, redshift=redshift, medium=medium)
    labels: dict[str, Any] = {"units": FLUX_UNITS, "objects": objects, "attrs": ATTRS, "frame": frame, "medium": medium}
    return spectra_dataset(made["flux"], parse_grid(wavelength, path), ivar=made["ivar"], mask=made["mask"], **labels)


def _common_axis(path: Path, wavelengths: HDF5Array) -> np.ndarray:
    """Wavelengths of the longest of some rows spread over the file, if those of the others are its beginning."""
    n = wavelengths.shape[0]
    chosen = np.unique(np.linspace(0, n - 1, min(n, _SAMPLED_ROWS)).astype(np.int64))
    with naming(path):
        rows = wavelengths.read((chosen, slice(None)))
    counts = np.array([_pixels(row) for row in rows])
    grid = rows[np.argmax(counts), : counts.max()].astype(np.float64)
    for number, row, count in zip(chosen, rows, counts):
        _check_row(path, int(number), row[:count], grid)
    if len(grid) < 2:
        raise DataError(path, "no row has wavelengths above 0; the file is damaged")
    return rising(path, grid)


def _pixels(row: np.ndarray) -> int:
    """How many pixels come before the padding."""
    padding = ~(np.isfinite(row) & (row > 0))
    return int(np.argmax(padding)) if padding.any() else len(row)


def _check_row(path: Path, number: int, row: np.ndarray, grid: np.ndarray) -> None:
    here = grid[: len(row)]
    if len(row) > len(grid) or np.any(np.abs(row - here) > 1e-6 * here):
        told = f"row {number} has {len(row)} pixels of other wavelengths than the {len(grid)} of the longest row seen"
        raise DataError(path, f"{told}; give wavelength= (--wavelength) LOW:HIGH:STEP to rebin all to one grid")


@dataclass(frozen=True)
class _OneGrid:
    path: Path
    arrays: Mapping[str, HDF5Array]
    grid: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.arrays["flux"].shape[0], len(self.grid)

    def spectra(self, numbers: np.ndarray) -> Triplet:
        index = (numbers, slice(0, len(self.grid)))
        flux, ivar, mask, own = (self.arrays[name].read(index) for name in ("flux", "ivar", "mask", "lambda"))
        for number, row in zip(numbers, own):
            _check_row(self.path, int(number), row[: _pixels(row)], self.grid)
        return clean(flux, ivar, mask.astype(bool) | ~(own > 0))


def _images(path: Path, items: Mapping[str, Item], objects: dict[str, Any]) -> xr.Dataset:
    array = _array(path, items, "image_array")
    if len(array.shape) != 4:
        raise DataError(path, f"image_array: expected (n, band, y, x), found shape {array.shape}")
    dims = ("sample", "channel", "y", "x")
    coords: dict[str, Any] = {"channel": ("channel", _bands(path, items, array.shape[1]))}
    side, units = _pixel(path, items)
    for dim, n in zip(dims[2:], array.shape[2:]):
        attrs = {"units": units, "long_name": "offset from the center", "boundary": "reflect"}
        coords[dim] = (dim, (np.arange(n) - (n - 1) / 2) * side, attrs)
    coords |= {name: ("sample", *value) for name, value in objects.items()}
    if "image_ivar" in items:
        ivar = _array(path, items, "image_ivar")
        if ivar.shape != array.shape:
            raise DataError(path, f"image_ivar has shape {ivar.shape}, image_array {array.shape}")
        labels = {"ivar": "inverse variance", "mask": "bad pixel"}
        sources = {
            name: lazy_variable(dims, _Pixels(array, ivar, name), {"long_name": labels[name]}) for name in labels
        }
        coords |= sources
        image = lazy_variable(dims, _Pixels(array, ivar, "flux"), {"units": "nanomaggy", "long_name": "image"})
    else:
        image = lazy_variable(dims, array, {"units": "nanomaggy", "long_name": "image"})
    return xr.Dataset({"image": image}, coords, {"field": "image", **ATTRS})


def _pixel(path: Path, items: Mapping[str, Item]) -> tuple[float, str]:
    """Side of a pixel and its unit: of `image_scale` [arcsec], where that is one for all; else a pixel is 1 pixel."""
    if "image_scale" not in items:
        return 1.0, "pixel"
    item = items["image_scale"]
    check_size(path, "image_scale", np.dtype(item.dtype).itemsize * math.prod(item.shape))
    with naming(path), h5py.File(path, "r") as file:
        scales = np.unique(np.asarray(file["image_scale"], np.float64).round(6))
    return (float(scales[0]) / 3600, "deg") if len(scales) == 1 and scales[0] > 0 else (1.0, "pixel")


def _bands(path: Path, items: Mapping[str, Item], n: int) -> np.ndarray:
    """Names of the bands, which must be the same in all rows."""
    names = _array(path, items, "image_band")
    if names.shape[1:] != (n,):
        raise DataError(path, f"image_band has shape {names.shape}, image_array {n} bands")
    with naming(path), h5py.File(path, "r") as file:
        texts = np.asarray(file["image_band"])
    texts = np.array([[t.decode() if isinstance(t, bytes) else str(t) for t in row] for row in texts])
    if np.any(texts != texts[0]):
        other = int(np.argmax(np.any(texts != texts[0], axis=1)))
        raise DataError(path, f"the bands of row {other}, {list(texts[other])}, differ from {list(texts[0])} of row 0")
    return texts[0]


@dataclass(frozen=True)
class _Pixels(RowSource):
    image: HDF5Array
    variance: HDF5Array
    name: str

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return self.image.shape

    @property
    def dtype(self) -> np.dtype:  # type: ignore[override]
        return np.dtype(bool if self.name == "mask" else np.float32)

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        index = (numbers, *[slice(None)] * 3)
        flux, ivar = self.image.read(index), self.variance.read(index)
        return clean(flux, ivar, np.zeros(flux.shape, bool))[PARTS.index(self.name)]
