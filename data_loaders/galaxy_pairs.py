"""Images with spectra of SDSS galaxies, as the published code that generates one from the other keeps them.

A folder of ``images/{i}.npy`` (64, 64, 5: u, g, r, i, z), ``spectra/{i}.npy`` (3598 pixels, log10 wavelength 3.5901 to
3.9498, vacuum) and ``indices/{i}.npy`` [specObjID, redshift] (Doorenbos et al. 2022, arXiv:2211.05556); or ``sdss.npz``
with all images in ``cube`` and their ``labels`` (Doorenbos et al. 2024, arXiv:2406.18175). Files pair by their number:
sorted as text, ``10.npy`` comes before ``2.npy``.
"""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from data_loaders import npz
from data_loaders.errors import DataError
from data_loaders.lazy import Index, RowSource, Source, lazy_variable
from data_loaders.npy import map_array
from data_loaders.registry import reader
from data_loaders.sdss import BANDS
from data_loaders.spectra import spectra_dataset
from data_loaders.survey import FLUX_UNITS, exact_ids, log_wavelength

ATTRS = {
    "source": "galaxies of the Sloan Digital Sky Survey",
    "citation": "Doorenbos et al. 2022, arXiv:2211.05556; York et al. 2000, AJ 120, 1579",
}
KINDS = ("images", "spectra")
PIXEL = 0.396 / 3600  # [deg], of SDSS
_FIRST = 3.5901
_PIXELS = 3598
_EXACT = 2**53


def _is_folder(path: Path, head: bytes) -> bool:
    return path.is_dir() and all(next((path / kind).glob("*.npy"), None) for kind in KINDS)


@reader("galaxy_pairs", _is_folder)
def read_galaxy_pairs(path: Path, dataset: str | None = None) -> xr.Dataset:
    """Images (``dataset="images"``) or spectra (``"spectra"``) in the order of their numbers."""
    if dataset not in KINDS:
        told = f"dataset={dataset!r}" if dataset else "the folder holds images and spectra"
        raise DataError(path, f"{told}; choose one with dataset= (--dataset): {', '.join(KINDS)}")
    numbers = _numbers(path)
    first = map_array(path / dataset / f"{numbers[0]}.npy")
    source = _Files(path / dataset, numbers, first.shape, first.dtype)
    objects, notes = _objects(path, numbers)
    if dataset == "images":
        return _images(path, source, objects, ATTRS | notes)
    if first.shape != (_PIXELS,):
        raise DataError(first.path, f"expected a spectrum of {_PIXELS} pixels, found shape {first.shape}")
    wavelength = log_wavelength(_FIRST + 1e-4 * np.arange(_PIXELS))
    flux = lazy_variable(("sample", "wavelength"), source)
    return spectra_dataset(flux, wavelength, units=FLUX_UNITS, objects=objects, attrs=ATTRS | notes)


def _numbers(path: Path) -> np.ndarray:
    """Numbers that every subfolder has.

    Raises
    ------
    DataError
        A file has no partner, or its name is no number.
    """
    kinds = [kind for kind in (*KINDS, "indices") if (path / kind).is_dir()]
    stems = {kind: {each.stem for each in (path / kind).glob("*.npy")} for kind in kinds}
    for kind, names in stems.items():
        odd = sorted(name for name in names if not (name.isascii() and name.isdigit()))
        if odd:
            raise DataError(path / kind / f"{odd[0]}.npy", "expected a number as the name, by which files are paired")
        for other in kinds:
            alone = sorted(names - stems[other], key=int)
            if alone:
                told = f"{len(alone)} files have no partner in {other}/: {', '.join(f'{i}.npy' for i in alone[:5])}"
                raise DataError(path / kind, f"{told}; remove them, or add what is missing")
    return np.array(sorted(map(int, stems[KINDS[0]])), np.int64)


def _objects(path: Path, numbers: np.ndarray) -> tuple[dict[str, Any], dict[str, str]]:
    """What `indices` says of each object, and what has to be said of its identifiers."""
    objects: dict[str, Any] = {"number": numbers}
    if not (path / "indices").is_dir():
        return objects, {}
    rows = []
    for number in tqdm(numbers, "indices", delay=2, leave=False):
        source = map_array(path / "indices" / f"{number}.npy")
        if source.shape != (2,):
            raise DataError(source.path, f"expected [specObjID, redshift], found shape {source.shape}")
        rows.append(source.read((slice(None),)))
    values = np.array(rows)
    ids = values[:, 0]
    objects |= {"object_id": exact_ids([int(each) for each in ids]), "redshift": values[:, 1].astype(np.float64)}
    rounded = values.dtype.kind == "f" and bool(np.any(np.abs(ids) > _EXACT))
    if not rounded:
        return objects, {}
    step = int(np.spacing(np.abs(ids).max()))
    told = f"object_id was stored as {values.dtype}, which holds integers above 2**53 rounded to multiples of {step}"
    return objects, {"note": told}


def _images(path: Path, source: Source, objects: Mapping[str, Any], attrs: Mapping[str, Any]) -> xr.Dataset:
    shape = source.shape
    if len(shape) != 4 or shape[3] != len(BANDS):
        raise DataError(path, f"expected images (y, x, {len(BANDS)}), found shape {shape[1:]}")
    coords: dict[str, Any] = {"channel": ("channel", np.array(list(BANDS)))}
    for dim, n in zip("yx", shape[1:3]):
        labels = {"units": "deg", "long_name": "offset from the center", "boundary": "reflect"}
        coords[dim] = (dim, (np.arange(n) - (n - 1) / 2) * PIXEL, labels)
    coords |= {name: ("sample", values) for name, values in objects.items()}
    labels = {"units": "nanomaggy", "long_name": "image"}
    image = lazy_variable(("sample", "channel", "y", "x"), _BandsFirst(source), labels)
    return xr.Dataset({"image": image}, coords, {"field": "image", **attrs})


def _is_npz(path: Path, head: bytes) -> bool:
    if not head.startswith(npz.MAGIC):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return {"cube.npy", "labels.npy"} <= set(archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


@reader("galaxy_cube", _is_npz, refines=("npz",))
def read_galaxy_cube(path: Path) -> xr.Dataset:
    """All images of ``sdss.npz``, mapped where they lie in the file, with the fields of its labels."""
    with zipfile.ZipFile(path) as archive:
        cube, labels = (npz._header(path, archive, f"{name}.npy") for name in ("cube", "labels"))
        for name, header in (("cube", cube), ("labels", labels)):
            if header.dtype.hasobject:
                told = f"{name} holds Python objects, which only pickle reads, and pickle runs any code it is given"
                how = "load it where you trust it and save the cube as float32, the labels as a structured array"
                raise DataError(path, f"{told}; {how} of numbers and text")
        if labels.shape != cube.shape[:1]:
            raise DataError(path, f"expected one label an image, found shapes {labels.shape} and {cube.shape}")
        source = npz._map(path, archive, "cube.npy", cube)
        values = npz._load(path, archive, "labels.npy", labels)
    objects = {name: _plain(values[name]) for name in values.dtype.names or ()}
    ids = next((name for name in objects if name.lower() in ("specobjid", "object_id", "objid")), None)
    redshift = next((name for name in objects if name.lower() in ("z", "redshift")), None)
    if ids:
        objects["object_id"] = exact_ids(objects.pop(ids))
    if redshift:
        objects["redshift"] = objects.pop(redshift)
    citation = f"Doorenbos et al. 2024, arXiv:2406.18175; {ATTRS['citation']}"
    return _images(path, source, objects, ATTRS | {"citation": citation})


def _plain(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "S":
        return np.char.decode(values, "utf-8", "replace")
    return np.ascontiguousarray(values).astype(values.dtype.newbyteorder("="))


@dataclass(frozen=True)
class _Files(RowSource):
    """One npy file a sample."""

    folder: Path
    numbers: np.ndarray
    one: tuple[int, ...]
    dtype: np.dtype

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return len(self.numbers), *self.one

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        return np.stack([self._one(self.folder / f"{self.numbers[i]}.npy") for i in numbers])

    def _one(self, path: Path) -> np.ndarray:
        source = map_array(path)
        if source.shape != self.one:
            raise DataError(path, f"has shape {source.shape}, the first file {self.one}")
        return source.read((slice(None),) * len(self.one))


@dataclass(frozen=True)
class _BandsFirst:
    """Images ``(sample, y, x, band)`` as ``(sample, band, y, x)``."""

    images: Source

    @property
    def shape(self) -> tuple[int, ...]:
        n, ny, nx, bands = self.images.shape
        return n, bands, ny, nx

    @property
    def dtype(self) -> np.dtype:
        return self.images.dtype

    def read(self, index: Index) -> np.ndarray:
        sample, band, y, x = index
        one = isinstance(band, int | np.integer)
        values = self.images.read((sample, y, x, np.atleast_1d(band) if one else band))
        first = 0 if isinstance(sample, int | np.integer) else 1
        values = np.moveaxis(values, -1, first)
        return np.take(values, 0, axis=first) if one else values
