"""A FITS file is opened only after its structure and its checksums were found sound.

A parser believes a header: one wrong digit in NAXIS keeps it busy for hours, one in NAXIS1 moves all data behind it. So
the mandatory keywords are read here first (FITS standard 4.0, Pence et al. 2010, A&A 524, A42, section 4.4.1), each HDU
has to begin where the one before ends, and CHECKSUM and DATASUM have to be right where a file has them (appendix J): of
all headers, which costs kilobytes since DATASUM stands for the data in the sum, and of data up to `CHECKED` bytes.
"""

import gzip
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from data_loaders.errors import DataError
from data_loaders.guard import CHECKED, naming

__all__ = ["check_fits", "opened"]

_BLOCK, _CARD = 2880, 80
_GZIP = b"\x1f\x8b"
_MOST_AXES = 999
_WHOLE = 2**32 - 1  # what 32-bit words of an HDU with a checksum add up to, carries around the end
_KEYWORDS = (
    b"SIMPLE ", b"XTENSION", b"BITPIX ", b"NAXIS", b"PCOUNT ", b"GCOUNT ", b"GROUPS ", b"TFIELDS ", b"ZIMAGE ",
    b"ZVAL", b"DATASUM ", b"CHECKSUM",
)  # fmt: skip
_KINDS = {
    "SIMPLE": rb"T",
    "XTENSION": rb"'[ -~]*'",
    "GROUPS": rb"[TF]",
    "ZIMAGE": rb"[TF]",
    "ZVAL": rb"\d{1,6}|[+-]?\d*\.\d*|[+-]?[\d.]+[ED][+-]?\d+",  # a negative size of numbers takes all memory
}
_VALUE = re.compile(rb"= *('(?:[^']|'')*'|[^ /]*)(?: *| */[ -~]*)")


@contextmanager
def opened(path: Path, **options: Any) -> Iterator[Any]:
    """Open a FITS file, gzipped or not; whatever goes wrong in it is a `DataError` that names the file.

    `options` are those of `astropy.io.fits.open`. Whether data are truncated is to be checked for those that are
    wanted (`data_loaders.fits_source.place`).
    """
    with naming(path), warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)  # of headers that bend the standard
        check_fits(path)
        # The stream is ours, so that it is closed if astropy fails midway.
        with open(path, "rb") as stream, fits.open(stream, memmap=False, **options) as hdus:
            yield hdus


def check_fits(path: str | os.PathLike) -> tuple[bool, ...]:
    """Return of each HDU of a FITS file whether its data are there whole; nothing of another file.

    Raises
    ------
    DataError
        The file is damaged, as far as its headers and checksums tell.
    """
    status = os.stat(path)
    return _check(str(path), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1024)
def _check(path: str, modified: int, size: int) -> tuple[bool, ...]:
    with open(path, "rb") as stream:
        packed = stream.read(2) == _GZIP
    whole: list[bool] = []
    with gzip.open(path, "rb") if packed else open(path, "rb") as stream:
        if stream.read(6) != b"SIMPLE":
            return ()
        start = stream.seek(0)
        while header := _header(path, stream, start):
            cards = _cards(path, header, start)
            length = _length(path, cards, start)
            begin, start = start, start + len(header) + -(-length // _BLOCK) * _BLOCK
            # Where a gzipped file ends is known when it is reached.
            end = stream.seek(begin + len(header) + length) if packed else size
            whole.append(end >= begin + len(header) + length)
            stream.seek(begin + len(header))
            _check_sums(path, stream, (begin, header, cards), length if whole[-1] else None)
            if not packed and start >= size:
                break
            stream.seek(start)
    return tuple(whole)


def _header(path: str, stream: Any, start: int) -> bytes:
    """Header at this byte; empty where the file ends, or is filled up with zeros or blanks."""
    header = b""
    while block := stream.read(_BLOCK):
        if start and not header and not block.strip(b"\0 "):
            return b""
        expected = b"" if header else b"XTENSION=" if start else b"SIMPLE  ="
        if not block.startswith(expected) or not re.fullmatch(rb"[ -~]+", block[::_CARD]):
            told = f"expected a header at byte {start}: truncated, or a length in a header before it is wrong"
            raise DataError(path, f"{told}; copy it anew")
        header += block
        if b"END" + b" " * 77 in [block[at : at + _CARD] for at in range(0, _BLOCK, _CARD)]:
            return header
    if header:
        raise DataError(path, f"truncated: the header at byte {start} has no END; copy it anew")
    return b""


def _keywords(header: bytes) -> list[bytes]:
    return [header[at : at + 8] for at in range(0, len(header), _CARD)]


def _cards(path: str, header: bytes, start: int) -> dict[str, bytes]:
    """Values of the keywords that tell what an HDU is and where its data are, as they are written."""
    found: dict[str, bytes] = {}
    for i, keyword in enumerate(_keywords(header)):
        if keyword.startswith(_KEYWORDS):
            key, match = keyword.decode().strip(), _VALUE.fullmatch(header[i * _CARD + 8 : (i + 1) * _CARD])
            if match is None or not re.fullmatch(_KINDS.get(key.rstrip("0123456789"), rb".*"), match[1]):
                raise _damaged(path, start, header[i * _CARD : (i + 1) * _CARD].decode("latin1").strip())
            found.setdefault(key, match[1])
    return found


def _damaged(path: str, start: int, told: str) -> DataError:
    return DataError(path, f"the header at byte {start} is damaged: {told}; copy it anew")


def _length(path: str, cards: dict[str, bytes], start: int) -> int:
    """Bytes of the data of an HDU, by the keywords that every HDU has."""

    def number(key: str, default: bytes | None, low: int, high: int) -> int:
        text = cards.get(key, default)
        if text is None or not re.fullmatch(rb"[+-]?\d{1,19}", text) or not low <= int(text) <= high:
            raise _damaged(path, start, f"{key} is missing" if text is None else f"{key} = {text.decode()}")
        return int(text)

    bits = number("BITPIX", None, -64, 64)
    if bits not in (8, 16, 32, 64, -32, -64):
        raise _damaged(path, start, f"BITPIX = {bits}")
    axes = number("NAXIS", None, 0, _MOST_AXES)
    lengths = [number(f"NAXIS{i}", None, 0, 2**63 - 1) for i in range(1, axes + 1)]
    number("TFIELDS", b"0", 0, _MOST_AXES)
    if not axes:
        return 0
    if lengths[0] == 0 and cards.get("GROUPS") == b"T":
        lengths = lengths[1:]
    total = 1
    for each in lengths:
        total *= each
    return abs(bits) // 8 * number("GCOUNT", b"1", 0, 2**63 - 1) * (number("PCOUNT", b"0", 0, 2**63 - 1) + total)


def _check_sums(path: str, stream: Any, unit: tuple[int, bytes, dict[str, bytes]], length: int | None) -> None:
    """Compare CHECKSUM and DATASUM of an HDU, whose data are next in the stream, with what they should be."""
    start, header, cards = unit
    told = cards.get("DATASUM", b"").strip(b"' ")
    checksum = cards.get("CHECKSUM", b"").strip(b"' ")
    if not told.isdigit():
        return
    if checksum and (_sum(header) + int(told)) % _WHOLE:
        raise DataError(path, f"the header at byte {start} does not have its CHECKSUM: {_ALTERED}")
    # Bytes that fill the last block up count, too.
    span = None if length is None else -(-length // _BLOCK) * _BLOCK
    if span is not None and span <= CHECKED and (_sum(stream.read(span)) - int(told)) % _WHOLE:
        raise DataError(path, f"the data of the header at byte {start} do not have their DATASUM: {_ALTERED}")


_ALTERED = (
    "damaged, copy it anew; or altered by a program that knows no checksums: renew them with "
    "fits.open(path, mode='update', checksum=True)"
)


def _sum(content: bytes) -> int:
    return int(np.frombuffer(content + bytes(-len(content) % 4), ">u4").sum(dtype=np.uint64))
