"""Damage in a file shows as any error of any library, at opening or when values are read: here it gets one name.

A reader says what it expects as `DataError`; whatever else leaves it is turned into one that names the file.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from data_loaders.errors import DataError
from data_loaders.lazy import Index, lazy_variable

__all__ = ["CHECKED", "check_size", "check_sizes", "guarded", "naming"]

CHECKED = 1 << 24
"""Parts of a file of up to so many bytes are compared with their checksums when it is opened."""

# deflate shrinks at most 1032-fold; below the floor nothing is worth refusing.
_RATIO = 1100
_FLOOR = 1 << 26


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn an error of the block into a `DataError` that names the file; one that does, or a missing package, stays.

    Numbers that overflow, as damaged ones do, are judged by what comes of them, not by a warning on the way.
    """
    try:
        with np.errstate(all="ignore"):
            yield
    except (DataError, ImportError):
        raise
    except Exception as error:
        told = f"cannot be read (damaged, truncated, or not what it says): {type(error).__name__}: {error}"
        raise DataError(path, f"{told}; copy it anew") from error


def check_size(path: Path, name: str, nbytes: int) -> None:
    """Raise a `DataError` if a file says that it holds more than it can, before memory is taken for it."""
    if nbytes <= _FLOOR:
        return
    size = sum(part.stat().st_size for part in path.rglob("*")) if path.is_dir() else path.stat().st_size
    if nbytes > _RATIO * size:
        raise DataError(path, f"{name} would take {nbytes:.3g} bytes, the file has {size}: damaged; copy it anew")


def check_sizes(ds: xr.Dataset, path: Path) -> None:
    """Check what is read at once: labels as a whole, and one sample of what is larger."""
    for name, variable in ds.variables.items():
        at_once = variable.shape if variable.ndim < 2 else variable.shape[1:]
        check_size(path, f"{name!r} of shape {variable.shape}", variable.dtype.itemsize * math.prod(at_once))


@dataclass(frozen=True)
class Guarded:
    """A variable of a file whose errors name the file."""

    path: Path
    variable: xr.Variable

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole array."""
        return self.variable.shape

    @property
    def dtype(self) -> np.dtype:
        """That of the variable."""
        return self.variable.dtype

    def read(self, index: Index) -> np.ndarray:
        """Values at an outer index."""
        with naming(self.path):
            return self.variable[index].values


def guarded(ds: xr.Dataset, path: Path) -> xr.Dataset:
    """Return `ds` with each lazy variable guarded."""
    lazy = {name: variable for name, variable in ds.variables.items() if not variable._in_memory}
    return ds.assign(
        {
            name: lazy_variable(tuple(map(str, variable.dims)), Guarded(path, variable), variable.attrs)
            for name, variable in lazy.items()
        }
    )
