"""Snapshots of GADGET and AREPO in HDF5: their parts, what the header says, and their particles block by block.

The layout is that of IllustrisTNG (https://www.tng-project.org/data/docs/specifications/), CAMELS and Quijote: a group
``Header``, a group ``PartType{i}`` a kind of particles (0 gas, 1 dark matter, 4 stars, 5 black holes) with
``Coordinates`` [comoving kpc/h, if the header says nothing else] and ``Masses`` [1e10 Msun/h], one value for all in
``MassTable`` instead; one file, or parts ``snap_090.0.hdf5``, ``snap_090.1.hdf5``, ...
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from data_loaders.errors import DataError
from data_loaders.hdf5 import need_filters

__all__ = ["Snapshot", "find_parts", "read_header"]

_PART = re.compile(r"(?P<stem>.+)\.(?P<part>\d+)\.(hdf5|h5)")
_BLOCK = 1 << 19  # particles in memory at a time
_CM_PER_MPC, _GRAMS_PER_MSUN = 3.0856775814913673e24, 1.988409870698051e33
_LENGTHS = {"kpc/h": 1e-3, "Mpc/h": 1.0}  # in Mpc/h
_MASS = 1e10  # Msun/h
_PARAMETERS = {"Omega_m": "Omega0", "Omega_b": "OmegaBaryon", "h": "HubbleParam"}
_REQUIRED = object()


@dataclass(frozen=True)
class Snapshot:
    """What the header of a snapshot says, and the files that it is in.

    Attributes
    ----------
    files : tuple of pathlib.Path
    modified : tuple of int
        Their times: a file that was written anew is assigned anew.
    box_size : float
        Side of the box [Mpc/h].
    length, mass : float
        Units of the file [Mpc/h], [Msun/h].
    counts : tuple of int
        Particles of each kind, in all files.
    table : tuple of float
        Mass of a particle of each kind [`mass`]; 0 where each has its own.
    redshift : float
    parameters : tuple of (str, float)
        Omega_m, Omega_b and h, as far as the header has them.
    """

    files: tuple[Path, ...]
    modified: tuple[int, ...]
    box_size: float
    length: float
    mass: float
    counts: tuple[int, ...]
    table: tuple[float, ...]
    redshift: float
    parameters: tuple[tuple[str, float], ...]

    def blocks(self, kind: int) -> Iterator[tuple[np.ndarray, Any]]:
        """Yield positions ``(p, 3)`` [Mpc/h] and masses [Msun/h] of one kind of particles, some at a time.

        Raises `DataError` if the files do not hold what the header counts, or something else than finite coordinates
        in the box.
        """
        found, group = 0, f"PartType{kind}"
        for path in self.files:
            with h5py.File(path, "r") as file:
                if f"{group}/Coordinates" not in file:
                    continue
                coordinates = _dataset(file, f"{group}/Coordinates", path)
                masses = None if self.table[kind] else _dataset(file, f"{group}/Masses", path)
                found += len(coordinates)
                for start in range(0, len(coordinates), _BLOCK):
                    chosen = slice(start, start + _BLOCK)
                    position = _checked(coordinates[chosen].astype(np.float64) * self.length, self.box_size, path)
                    own = self.table[kind] if masses is None else _finite(masses[chosen], len(position), path)
                    yield position, own * self.mass
        if found != self.counts[kind]:
            told = f"the header counts {self.counts[kind]} particles of kind {kind}, the files hold {found}"
            raise DataError(self.files[0], f"{told}: damaged or incomplete; copy it anew")


def _finite(masses: np.ndarray, number: int, path: Path) -> np.ndarray:
    if masses.shape != (number,) or not np.isfinite(masses).all():
        raise DataError(path, f"expected {number} finite masses, found shape {masses.shape}, or others; copy it anew")
    return masses.astype(np.float64)


def _checked(position: np.ndarray, box_size: float, path: Path) -> np.ndarray:
    if position.shape[1:] != (3,):
        raise DataError(path, f"expected coordinates of shape (particles, 3), found {position.shape}")
    bad = ~np.isfinite(position).all(axis=1)
    if bad.any():
        raise DataError(path, f"{np.count_nonzero(bad)} particles have no finite coordinates; copy it anew")
    low, high = position.min(), position.max()
    if low < -0.01 * box_size or high > 1.01 * box_size:
        told = f"coordinates from {low:g} to {high:g} Mpc/h do not fit a box of {box_size:g} Mpc/h"
        raise DataError(path, f"{told}: say the unit of length with unit_length=")
    return position


def _dataset(file: h5py.File, name: str, path: Path) -> Any:
    """Return a dataset that can be read: its compression is known, or comes with an extra."""
    if name not in file:
        raise DataError(path, f"no {name}, and MassTable has no mass for these particles; choose others (particles=)")
    dataset: Any = file[name]
    need_filters(path, dataset)
    return dataset


def find_parts(path: Path) -> tuple[Path, ...]:
    """Return all files of a snapshot, in order."""
    if path.is_dir():
        stems = sorted({match["stem"] for file in path.iterdir() if (match := _PART.fullmatch(file.name))})
        if len(stems) != 1:
            raise DataError(
                path, f"expected the parts of one snapshot, found {', '.join(stems) or 'none'}; name a file"
            )
        path = next(iter(sorted(path.glob(f"{stems[0]}.0.*"))), path)
    name = _PART.fullmatch(path.name)
    if name is None:
        return (path,)
    if int(name["part"]):
        told = "this is one part of a snapshot"
        raise DataError(path, f"{told}; name its first part, or its folder, and the others are read with it")
    suffix = path.suffix
    with h5py.File(path, "r") as file:
        number = int(np.ravel(_attribute(file, "NumFilesPerSnapshot", path))[0])
    files = tuple(path.with_name(f"{name['stem']}.{i}{suffix}") for i in range(number))
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        told = f"the snapshot has {number} parts, {len(missing)} are missing: {', '.join(missing[:5])}"
        raise DataError(path, f"{told}; copy them here")
    return files


def read_header(files: tuple[Path, ...], kinds: Sequence[int], unit_length: str | None = None) -> Snapshot:
    """Read what the header of a snapshot says.

    Parameters
    ----------
    files : tuple of Path
        Of `find_parts`.
    kinds : sequence of int
        Particles that are wanted.
    unit_length : str, optional
        ``"kpc/h"`` or ``"Mpc/h"``, where the header does not say it.

    Raises
    ------
    DataError
        It is no such header, or has no particles of these kinds.
    """
    path = files[0]
    with h5py.File(path, "r") as file:
        if "SWIFT" in str(np.ravel(_attribute(file, "Code", path, ""))):
            raise DataError(path, "is a snapshot of SWIFT, whose units have no h; expected GADGET's or AREPO's layout")
        low = np.ravel(_attribute(file, "NumPart_Total", path)).astype(np.uint64)
        high = np.ravel(_attribute(file, "NumPart_Total_HighWord", path, np.zeros_like(low))).astype(np.uint64)
        counts = tuple(int(a) + (int(b) << 32) for a, b in zip(low, high))
        absent = [kind for kind in kinds if not (0 <= kind < len(counts) and counts[kind])]
        if absent or not kinds:
            there = ", ".join(f"{i} ({count})" for i, count in enumerate(counts) if count)
            raise DataError(path, f"no particles of kind {', '.join(map(str, absent))}; it has kind (number): {there}")
        length, mass = _units(file, path, unit_length)
        box = float(np.ravel(_attribute(file, "BoxSize", path))[0])
        table = tuple(float(m) for m in np.ravel(_attribute(file, "MassTable", path)))
        redshift = float(np.ravel(_attribute(file, "Redshift", path))[0])
        said = {key: _attribute(file, name, path, None) for key, name in _PARAMETERS.items()}
    if not (np.isfinite(box) and box > 0):
        raise DataError(path, f"Header BoxSize is {box}; expected a positive length")
    parameters = {key: float(np.ravel(value)[0]) for key, value in said.items() if value is not None}
    known = tuple((key, value) for key, value in parameters.items() if value)
    modified = tuple(file.stat().st_mtime_ns for file in files)
    return Snapshot(files, modified, box * length, length, mass, counts, table, redshift, known)


def _attribute(file: h5py.File, name: str, path: Path, default: Any = _REQUIRED) -> Any:
    """Return an attribute of the header; newer codes keep some of them with their parameters."""
    for group in ("Header", "Parameters", "Units"):
        if group in file and name in file[group].attrs:
            return file[group].attrs[name]
    if default is _REQUIRED:
        raise DataError(path, f"no {name} in its Header; expected a snapshot of GADGET or AREPO")
    return default


def _units(file: h5py.File, path: Path, unit_length: str | None) -> tuple[float, float]:
    """Units of length [Mpc/h] and mass [Msun/h]; constants that codes round differently are taken as one."""
    if unit_length is not None and unit_length not in _LENGTHS:
        raise DataError(path, f"unit_length={unit_length!r}: expected {' or '.join(_LENGTHS)}")
    centimeters = _attribute(file, "UnitLength_in_cm", path, None)
    grams = _attribute(file, "UnitMass_in_g", path, None)
    length = _LENGTHS[unit_length or "kpc/h"]
    if centimeters is not None:
        said = _snapped(float(np.ravel(centimeters)[0]) / _CM_PER_MPC, tuple(_LENGTHS.values()), 1e-4)
        if unit_length is not None and said != length:
            raise DataError(path, f"the header says a unit of {said:g} Mpc/h, given was {unit_length}; leave it out")
        length = said
    return length, _MASS if grams is None else _snapped(float(np.ravel(grams)[0]) / _GRAMS_PER_MSUN, (_MASS,), 1e-3)


def _snapped(value: float, choices: Sequence[float], tolerance: float) -> float:
    return next((choice for choice in choices if abs(value / choice - 1) < tolerance), value)
