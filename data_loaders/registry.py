"""Which reader opens a file: chosen by content, by name on request, never by guess; the suffix chooses the writer.

A reader is a function ``read(path, **options) -> Dataset`` with a test of the first bytes. Several may match
only if one declares that it `refines` the others; anything else is an error that names the candidates. A reader
returns what the file says; `data_loaders.open_field` adds labels given by hand, checks and joins.
"""

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import xarray as xr

from data_loaders.errors import DataError

ENTRY_POINT_GROUP = "sciffusion.readers"
_BUILT_IN = (
    "hdf5",
    "netcdf",
    "npy",
    "npz",
    "zarr_store",
    "well",
    "fits",
    "fits_writer",
    "camels",
    "quijote",
    "snapshot",
    "sfd",
    "healpix",
    "sdss",
    "desi",
    "lamost",
    "aaomega",
    "manga",
    "eso_spectrum",
    "spex",
    "miles",
    "sdss_image",
    "multimodal",
    "astroclip",
    "galaxy_pairs",
)
_HEAD_BYTES = 2880


@dataclass(frozen=True)
class Reader:
    """One way to open a file.

    Parameters
    ----------
    name : str
        What ``open_field(reader=...)`` calls it.
    matches : callable
        ``matches(path, head)`` with the first 2880 bytes; true if the file is of this kind.
    read : callable
        ``read(path, **options)`` gives a dataset whose main variable has a first axis of samples.
    refines : tuple of str
        Readers that match such a file as well and are less specific.
    """

    name: str
    matches: Callable[[Path, bytes], bool]
    read: Callable[..., xr.Dataset]
    refines: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """What it reads, in a line."""
        return (inspect.getdoc(self.read) or "").partition("\n")[0]

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the keywords that `read` takes besides the path."""
        return tuple(inspect.signature(self.read).parameters)[1:]


@dataclass(frozen=True)
class Writer:
    """One format to write: ``write(ds, path, overwrite, **options)``; `folder` if what it makes is a folder."""

    name: str
    suffixes: tuple[str, ...]
    write: Callable[..., None]
    folder: bool = False

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the keywords that `write` takes besides dataset, path and overwrite."""
        return tuple(inspect.signature(self.write).parameters)[3:]


_READERS: dict[str, Reader] = {}
_WRITERS: dict[str, Writer] = {}


def reader(name: str, matches: Callable[[Path, bytes], bool], *, refines: tuple[str, ...] = ()):
    """Register the decorated function as the reader `name`; see `Reader` for the arguments.

    Raises
    ------
    ValueError
        The name is taken.
    """

    def register(read: Callable[..., xr.Dataset]) -> Callable[..., xr.Dataset]:
        if name in _READERS:
            raise ValueError(f"a reader named {name!r} exists; choose another name")
        _READERS[name] = Reader(name, matches, read, refines)
        return read

    return register


def writer(name: str, suffixes: tuple[str, ...], *, folder: bool = False):
    """Register the decorated function as the writer of files (or folders) with these suffixes."""

    def register(write: Callable[..., None]) -> Callable[..., None]:
        _WRITERS.update({suffix: Writer(name, suffixes, write, folder) for suffix in suffixes})
        return write

    return register


@cache
def _load() -> None:
    """Import the built-in formats and those of other packages; one of these that does not load warns."""
    for module in _BUILT_IN:
        import_module(f"data_loaders.{module}")
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        try:
            entry.load()
        except Exception as error:
            told = f"reader {entry.name!r} of {entry.value!r} does not load and is left out: {error!r}"
            warnings.warn(told, RuntimeWarning, stacklevel=2)


def readers() -> dict[str, Reader]:
    """Return the known readers by name, those of other packages included; each has `summary` and `options`.

    Examples
    --------
    >>> readers()["npz"].summary, readers()["npz"].options
    ('Array of an npz file.', ('dataset',))
    >>> {"camels", "quijote", "fits", "hdf5", "hdf5_array", "netcdf", "npy"} <= set(readers())
    True
    """
    _load()
    return dict(_READERS)


def writers() -> dict[str, Writer]:
    """Return the known writers by suffix."""
    _load()
    return dict(_WRITERS)


def find_reader(path: Path, name: str | None = None) -> Reader:
    """Return the reader for a file: the one named, or the one that knows its content.

    Raises
    ------
    DataError
        The name is unknown, no reader matches, or several do and none refines the others.
    """
    known = readers()
    told = f"known readers: {', '.join(sorted(known))}"
    if name is not None:
        if name not in known:
            raise DataError(path, f"no reader {name!r}; {told}")
        return known[name]
    head = _head(path)
    matching = [candidate for candidate in known.values() if candidate.matches(path, head)]
    refined = {general for candidate in matching for general in candidate.refines}
    chosen = [candidate for candidate in matching if candidate.name not in refined]
    if not chosen:
        raise DataError(path, f"no reader knows this content (it starts with {head[:8]!r}); {told}")
    if len(chosen) > 1:
        names = ", ".join(candidate.name for candidate in chosen)
        raise DataError(path, f"several readers match: {names}; choose one with reader= (--reader)")
    return chosen[0]


def find_writer(path: Path) -> Writer:
    """Return the writer for the suffix of a file.

    Raises
    ------
    DataError
        No format has this suffix.
    """
    known = writers()
    if path.suffix not in known:
        raise DataError(path, f"no format has the suffix {path.suffix!r}; known: {', '.join(sorted(known))}")
    return known[path.suffix]


def _head(path: Path) -> bytes:
    if path.is_dir():
        return b""
    with open(path, "rb") as stream:
        head = stream.read(_HEAD_BYTES)
    if not head:
        raise DataError(path, "the file is empty; expected an array of fields")
    return head
