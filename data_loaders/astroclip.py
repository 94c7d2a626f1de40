"""Pairs of DESI spectra and Legacy Survey images of AstroCLIP: one HDF5 file of groups.

Each group (``0`` to ``9``) has ``spectra`` (n, 7781, 1) on the grid of DESI, ``images`` (n, 152, 152, 3) in g, r, z,
``redshifts`` and ``targetids``. See Parker et al. 2024, MNRAS 531, 4990.
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
from data_loaders.spectra import spectra_dataset
from data_loaders.survey import FLUX_UNITS, exact_ids

ATTRS = {
    "source": "AstroCLIP: DESI early data release and DESI Legacy Imaging Surveys",
    "citation": "Parker et al. 2024, MNRAS 531, 4990",
    "licence": "CC BY 4.0 (DESI public data)",
}
KINDS = ("spectra", "images")
BANDS = ("g", "r", "z")
FIRST, STEP = 3600.0, 0.8
PIXEL = 0.262 / 3600  # [deg], of the cut-outs of the Legacy Surveys
_LABELS = ("redshifts", "targetids")


def _is_astroclip(path: Path, head: bytes) -> bool:
    items = hdf5_items(path) if head.startswith(MAGIC) else {}
    return any(name.endswith("/targetids") and f"{name[:-10]}/spectra" in items for name in items)


@reader("astroclip", _is_astroclip, refines=("hdf5_array", "hdf5", "netcdf"))
def read_astroclip(path: Path, dataset: str | None = None) -> xr.Dataset:
    """Spectra (``dataset="spectra"``) or images (``"images"``), the groups one after the other by their number."""
    if dataset not in KINDS:
        told = f"dataset={dataset!r}" if dataset else "the file holds spectra and images"
        raise DataError(path, f"{told}; choose one with dataset= (--dataset): {', '.join(KINDS)}")
    parts = _parts(path, hdf5_items(path), dataset)
    objects = _objects(path, [part.name.rsplit("/", 1)[0] for part in parts])
    source = _Groups(tuple(parts), dataset)
    if dataset == "spectra":
        wavelength = np.round(FIRST + STEP * np.arange(source.shape[1]), 9)
        flux = lazy_variable(("sample", "wavelength"), source)
        return spectra_dataset(flux, wavelength, units=FLUX_UNITS, objects=objects, attrs=ATTRS)
    coords: dict[str, Any] = {"channel": ("channel", np.array(BANDS))}
    for dim, n in zip("yx", source.shape[2:]):
        attrs = {"units": "deg", "long_name": "offset from the center", "boundary": "reflect"}
        coords[dim] = (dim, (np.arange(n) - (n - 1) / 2) * PIXEL, attrs)
    coords |= {name: ("sample", values) for name, values in objects.items()}
    image = lazy_variable(("sample", "channel", "y", "x"), source, {"units": "nanomaggy", "long_name": "image"})
    return xr.Dataset({"image": image}, coords, {"field": "image", **ATTRS})


def _parts(path: Path, items: Mapping[str, Item], kind: str) -> list[HDF5Array]:
    """Arrays of the groups in the order of their numbers, checked against each other."""
    names = [name[: -len("/targetids")] for name in items if name.endswith("/targetids")]
    names.sort(key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))
    parts = []
    for group in names:
        missing = [label for label in (kind, *_LABELS) if f"{group}/{label}" not in items]
        if missing:
            there = ", ".join(name for name in items if name.startswith(f"{group}/"))
            raise DataError(path, f"group {group} lacks {', '.join(missing)}; it holds: {there}")
        item = items[f"{group}/{kind}"]
        counts = {label: items[f"{group}/{label}"].shape for label in _LABELS}
        if any(shape[:1] != item.shape[:1] for shape in counts.values()):
            raise DataError(path, f"group {group}: {kind} {item.shape} and {counts} differ in their number of rows")
        dtype = np.dtype(item.dtype)
        for name, shape in {kind: item.shape[1:], **counts}.items():
            check_size(path, f"{group}/{name}", dtype.itemsize * math.prod(shape))
        parts.append(HDF5Array(path, f"{group}/{kind}", item.shape, dtype.newbyteorder("=")))
    expected = {"spectra": (3, 1), "images": (4, len(BANDS))}[kind]
    for part in parts:
        if (len(part.shape), part.shape[-1]) != expected or part.shape[1:] != parts[0].shape[1:]:
            told = "expected (n, pixel, 1)" if kind == "spectra" else f"expected (n, y, x, {len(BANDS)})"
            raise DataError(path, f"{part.name} has shape {part.shape}; {told}, alike in all groups")
    return parts


def _objects(path: Path, groups: list[str]) -> dict[str, np.ndarray]:
    with naming(path), h5py.File(path, "r") as file:
        read = {label: np.concatenate([np.asarray(file[f"{g}/{label}"]).ravel() for g in groups]) for label in _LABELS}
    if read["targetids"].dtype.kind not in "iu":
        told = f"targetids are {read['targetids'].dtype}, which does not hold them exactly"
        raise DataError(path, f"{told}; write them as int64")
    return {"object_id": exact_ids(read["targetids"]), "redshift": read["redshifts"].astype(np.float64)}


@dataclass(frozen=True)
class _Groups(RowSource):
    parts: tuple[HDF5Array, ...]
    kind: str

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        one = self.parts[0].shape
        total = sum(part.shape[0] for part in self.parts)
        return (total, one[1]) if self.kind == "spectra" else (total, one[3], one[1], one[2])

    @property
    def dtype(self) -> np.dtype:  # type: ignore[override]
        return np.result_type(*(part.dtype for part in self.parts))

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        starts = np.cumsum([0] + [part.shape[0] for part in self.parts])
        owner = np.searchsorted(starts, numbers, side="right") - 1
        blocks = []
        for i in np.unique(owner):
            rest = [slice(None)] * (len(self.parts[i].shape) - 1)
            blocks.append(self.parts[i].read((numbers[owner == i] - starts[i], *rest)))
        values = np.concatenate(blocks)
        return values[..., 0] if self.kind == "spectra" else np.moveaxis(values, -1, 1)
