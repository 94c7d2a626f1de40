"""HDF5 keeps lists of any length as addresses, and a damaged type makes its library follow what is none: a crash.

Only the links between dims and their scales are such lists in files of fields (`DIMENSION_LIST`); every other one is
text. Types are looked at before any value is read, which a flipped bit in a type cannot harm.
"""

from pathlib import Path
from typing import Any

import h5py
from h5py import h5t

from data_loaders.errors import DataError

__all__ = ["check_types"]

# Its low-level modules have no type hints.
_h5: Any = h5py
_MAGIC = b"\x89HDF\r\n\x1a\n"
_LINKS = {b"DIMENSION_LIST": (h5t.VLEN, h5t.REFERENCE), b"REFERENCE_LIST": (h5t.COMPOUND, h5t.REFERENCE)}


def check_types(path: Path) -> None:
    """Raise a `DataError` for an HDF5 file with attributes of types that no file of fields has.

    Other files, and those that do not open, are left to their readers.
    """
    if not path.is_file():
        return
    with open(path, "rb") as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            return
    try:
        file = h5py.File(path, "r")
    except OSError:
        return
    with file:
        _check(path, file.id, "/")
        _h5.h5o.visit(file.id, lambda name: _check(path, _h5.h5o.open(file.id, name), name.decode(errors="replace")))


def _check(path: Path, item: Any, where: str) -> None:
    for i in range(_h5.h5a.get_num_attrs(item)):
        attribute = _h5.h5a.open(item, index=i)
        name = attribute.name
        if not _is_safe(name, attribute.get_type()):
            told = f"attribute {name.decode(errors='replace')!r} of {where} has a type that is no number or text"
            raise DataError(path, f"{told}: damaged; copy it anew, or remove the attribute")


def _is_safe(name: bytes, kind: Any) -> bool:
    if name in _LINKS:
        outer, inner = _LINKS[name]
        return kind.get_class() == outer and _inner(kind).get_class() == inner
    return kind.get_class() in (
        h5t.INTEGER,
        h5t.FLOAT,
        h5t.STRING,
        h5t.ENUM,
        h5t.BITFIELD,
        h5t.REFERENCE,
        h5t.OPAQUE,
    ) or (
        kind.get_class() == h5t.COMPOUND
        and all(_is_safe(b"", kind.get_member_type(i)) for i in range(kind.get_nmembers()))
    )


def _inner(kind: Any) -> Any:
    return kind.get_member_type(0) if kind.get_class() == h5t.COMPOUND else kind.get_super()
