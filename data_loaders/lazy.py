"""Arrays that stay in their file: known by shape and dtype, read where they are indexed.

Each source holds a path, never an open file, so that a dataset can be pickled and read in worker processes.
An index is a tuple with an integer, a slice or a vector of integers for each axis; vectors act axis by axis
(outer indexing, as in xarray).
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from data_loaders.inflate import inflated

Index = tuple[Any, ...]


class Source(Protocol):
    """Where the numbers of a lazy array come from."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole array."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """Native dtype of what `read` returns."""
        ...

    def read(self, index: Index) -> np.ndarray:
        """Values at an outer index."""
        ...


class _LazyArray(BackendArray):
    def __init__(self, source: Source):
        self.source = source
        self.shape = source.shape
        self.dtype = source.dtype

    def __getitem__(self, key):
        support = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, support, self.source.read)


def lazy_variable(dims: tuple[str, ...], source: Source, attrs: dict | None = None) -> xr.Variable:
    """Variable over `source` that reads what it is indexed with, when it is asked for values."""
    return xr.Variable(dims, indexing.LazilyIndexedArray(_LazyArray(source)), attrs)


def outer(array, index: Index) -> np.ndarray:
    """Outer index into anything that slices: slices first, which keep a memory map a view, then vectors."""
    sliced = array[tuple(slice(None) if isinstance(i, np.ndarray) else i for i in index)]
    axis = 0
    for i in index:
        if isinstance(i, np.ndarray):
            # Not numpy.take: it copies an array whole that is not contiguous or not aligned.
            sliced = sliced[(slice(None),) * axis + (i,)]
        axis += not isinstance(i, int | np.integer)
    return np.asarray(sliced)


@dataclass(frozen=True)
class Scaling:
    """How stored numbers stand for values, as FITS has it: ``value = scale * stored + zero``.

    `flip` is the sign bit of its convention for unsigned integers, `blank` the integer that stands for no value.
    """

    scale: float = 1.0
    zero: float = 0.0
    flip: bool = False
    blank: int | None = None

    def __call__(self, raw: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Values in the native dtype; a new array."""
        values = raw
        if self.flip:
            unsigned = np.dtype(f"u{raw.itemsize}")
            values = raw.astype(unsigned) ^ unsigned.type(1 << (8 * raw.itemsize - 1))
        elif (self.scale, self.zero) != (1.0, 0.0):
            values = raw * self.scale + self.zero
        values = np.array(values, dtype=dtype)
        if self.blank is not None:
            values[raw == self.blank] = np.nan
        return values


@dataclass(frozen=True)
class MappedArray:
    """A block of numbers at `offset` bytes in a file, through a memory map.

    `stride` is the distance in bytes from one row to the next where rows hold more than these numbers (a column of a
    table). `inside` names a part of the file that has to be inflated first, and stays in memory once it is: a member
    of a zip file, or ``""`` for a file that is gzipped.
    """

    path: Path
    shape: tuple[int, ...]
    stored: np.dtype
    dtype: np.dtype
    offset: int
    order: Any = "C"
    scaling: Scaling = Scaling()
    stride: int | None = None
    inside: str | None = None

    def read(self, index: Index) -> np.ndarray:
        """Values at an outer index, in the native dtype."""
        return self.scaling(outer(self._stored(), index), self.dtype)

    def _stored(self) -> np.ndarray:
        row = self.stored.itemsize * math.prod(self.shape[1:])
        nbytes = (self.shape[0] - 1) * self.stride + row if self.stride else row * self.shape[0]
        if self.inside is None:
            block = np.memmap(self.path, np.uint8, "r", self.offset, (nbytes,))
        else:
            block = inflated(self.path, self.inside, self.offset, nbytes)
        if self.stride is None:
            return np.ndarray(self.shape, self.stored, block, order=self.order)
        inner = np.empty((1, *self.shape[1:]), self.stored).strides[1:]
        return np.ndarray(self.shape, self.stored, block, strides=(self.stride, *inner))


@dataclass(frozen=True)
class HDF5Array:
    """A dataset of an HDF5 file, opened anew for each read."""

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype

    def read(self, index: Index) -> np.ndarray:
        """Values at an outer index, in the native dtype; of a vector, each distinct row is read once."""
        first, inverse = index[0], None
        if isinstance(first, np.ndarray):
            first, inverse = np.unique(first, return_inverse=True)
        later = tuple(slice(None) if isinstance(i, np.ndarray) else i for i in index[1:])
        kept = tuple(i if isinstance(i, np.ndarray) else slice(None) for i in index[1:] if not _is_integer(i))
        with h5py.File(self.path, "r") as file:
            dataset = file[self.name]
            assert isinstance(dataset, h5py.Dataset)
            values = np.asarray(dataset[(first, *later)])
        head = () if _is_integer(first) else (slice(None) if inverse is None else inverse,)
        return np.asarray(outer(values, (*head, *kept)), dtype=self.dtype)


class RowSource(ABC):
    """A source that knows how to read whole samples: a subclass gives `shape`, `dtype` and `rows`."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @abstractmethod
    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Values of the samples with these numbers ``(len(numbers), *shape[1:])``; each is asked once, in order."""

    def read(self, index: Index) -> np.ndarray:
        """Values at an outer index, in the native dtype."""
        first, *rest = index
        asked, inverse = np.unique(positions(first, self.shape[0]), return_inverse=True)
        shape = (len(asked), *self.shape[1:])
        values = self.rows(asked) if len(asked) else np.empty(shape, self.dtype)
        if values.shape != shape:
            raise ValueError(f"{type(self).__name__}: read an array of shape {values.shape}, expected {shape}")
        values = np.asarray(outer(values[inverse], (slice(None), *rest)), dtype=self.dtype)
        return values[0] if _is_integer(first) else values


@dataclass(frozen=True)
class Powers:
    """Ten to the power of a variable, float32: the inverse of packing as log10."""

    exponent: xr.Variable

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole array."""
        return self.exponent.shape

    @property
    def dtype(self) -> np.dtype:
        """Always float32."""
        return np.dtype(np.float32)

    def read(self, index: Index) -> np.ndarray:
        """Values at an outer index."""
        with np.errstate(over="ignore"):
            values = np.exp(self.exponent[index].values * np.log(10.0)).astype(np.float32)
        if not np.isfinite(values).all():
            raise ValueError("packed exponents are beyond the range of float32")
        return values


@dataclass(frozen=True)
class Single:
    """One array as one sample: a first axis of length one before those of a variable."""

    variable: xr.Variable

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape with the axis of samples."""
        return (1, *self.variable.shape)

    @property
    def dtype(self) -> np.dtype:
        """That of the variable."""
        return self.variable.dtype

    def read(self, index: Index) -> np.ndarray:
        """Values at an outer index."""
        first, *rest = index
        return outer(self.variable[tuple(rest)].values[None], (first, *[slice(None)] * (self.variable.ndim)))


@dataclass(frozen=True)
class Joined:
    """Variables one after the other along their first axis."""

    parts: tuple[xr.Variable, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole array."""
        return (sum(part.shape[0] for part in self.parts), *self.parts[0].shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """The dtype that holds the values of every part."""
        return np.result_type(*(part.dtype for part in self.parts))

    def read(self, index: Index) -> np.ndarray:
        """Values at an outer index; each part is asked once."""
        first, *rest = index
        starts = np.cumsum([0] + [part.shape[0] for part in self.parts])
        rows = positions(first, int(starts[-1]))
        owner = np.searchsorted(starts, rows, side="right") - 1
        blocks = np.empty((len(rows), *self._rest_shape(tuple(rest))), self.dtype)
        for i in np.unique(owner):
            mine = owner == i
            local = rows[mine] - starts[i]
            blocks[mine] = self.parts[i][(_as_slice(local), *rest)].values
        return blocks[0] if _is_integer(first) else blocks

    def _rest_shape(self, rest: Index) -> tuple[int, ...]:
        lengths = self.shape[1:]
        return tuple(len(positions(i, n)) for n, i in zip(lengths, rest) if not _is_integer(i))


def positions(index: Any, n: int) -> np.ndarray:
    """Positions along an axis of length `n` that an integer, a slice or a vector of integers names."""
    if isinstance(index, slice):
        return np.arange(*index.indices(n))
    numbers = np.atleast_1d(np.asarray(index))
    return np.where(numbers < 0, numbers + n, numbers)


def _as_slice(rows: np.ndarray):
    """Return consecutive rows as a slice, which files read faster than a vector."""
    consecutive = np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows)))
    return slice(int(rows[0]), int(rows[0]) + len(rows)) if consecutive else rows


def _is_integer(index) -> bool:
    return isinstance(index, int | np.integer)
