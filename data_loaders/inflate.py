"""Numbers inside compressed files (gzip, zip), which can be read from the start alone: inflated once and kept.

What is inflated stays in memory, the last few blocks of a process, so that samples can be drawn in any order. A block
larger than `LIMIT` is refused: unpack such a file on disk, where it can be mapped.
"""

import gzip
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from data_loaders.errors import DataError

__all__ = ["LIMIT", "inflated", "refuse_large"]

LIMIT = 2 << 30


def refuse_large(path: Path, nbytes: int, unpack: str) -> None:
    """Raise a `DataError` for a block that is too large to be kept in memory; `unpack` says what to do."""
    if nbytes > LIMIT:
        raise DataError(path, f"compressed, {nbytes / 2**30:.1f} GiB when inflated: too large for memory; {unpack}")


def inflated(path: Path, inside: str, offset: int, nbytes: int) -> np.ndarray:
    """Bytes of a gzipped file (`inside` is empty) or of a member of a zip file, from `offset` on.

    Raises
    ------
    DataError
        There are fewer.
    """
    status = path.stat()
    return _inflated(path, inside, (offset, nbytes), status.st_mtime_ns, status.st_size)


@contextmanager
def _stream(path: Path, inside: str) -> Iterator[Any]:
    if inside:
        with zipfile.ZipFile(path) as archive, archive.open(inside) as stream:
            yield stream
    else:
        with gzip.open(path, "rb") as stream:
            yield stream


@lru_cache(maxsize=2)
def _inflated(path: Path, inside: str, block: tuple[int, int], modified: int, size: int) -> np.ndarray:
    offset, nbytes = block
    with _stream(path, inside) as stream:
        stream.seek(offset)
        content = stream.read(nbytes)
    if len(content) < nbytes:
        raise DataError(path, f"truncated: expected {offset + nbytes} bytes when inflated, found {len(content)}")
    return np.frombuffer(content, np.uint8)
