"""Damage to files: what transfers, disks and careless programs do, and what an enemy would write into a header."""

import gzip
import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from fuzz_bytes import ANYWHERE, Rng, chosen, truncated

HUGE = (2**31 - 1, 2**31, 10**12, 2**63 - 1)


class Damage(NamedTuple):
    """What was done to a file; `edited`: by a library of its format, so that its checksums are those of the damage."""

    how: str
    edited: bool


def mutate(rng: Rng, path: Path) -> Damage:
    """Damage a file in place, one way that suits its format."""
    content = path.read_bytes()
    special = next((found for begins, found in _SPECIAL.items() if content.startswith(begins)), None)
    if (special is None and path.suffix in (".txt", ".db", ".json")) or path.name.startswith("."):
        special = _text
    if special is not None and rng.random() < 0.5:
        return Damage(special(rng, path), special in (_hdf5, _member, _inside_gzip))
    if len(list(path.parent.iterdir())) > 1 and rng.random() < 0.1:
        path.unlink()
        return Damage("removed", False)
    how = chosen(rng, ANYWHERE)
    path.write_bytes(how(rng, content))
    return Damage(how.__name__.strip("_"), False)


_CARD_VALUES = (
    "0", "1", "-1", "7", "1E300", "-1.5", "NaN", "T", "F", "''", "'x'", "'1E'", "'999999999E'", "'0A'", "'PE(3)'",
    "'(1,1)'", "'1D'", "'GZIP_1'", "'RICE_1'", "'FLUX'", "", "(1, 2)", "'unclosed", "16", "-32", "-64", "8", "64",
    *map(str, HUGE),
)  # fmt: skip


_CARD = re.compile(rb"[A-Z][A-Z0-9_-]{0,7} *= ")
_STRUCTURE = re.compile(rb"NAXIS|BITPIX|TF|PCOUNT|TDIM|[TB]SCAL|[TB]ZERO|Z|LAM|NSIDE")


def _card(rng: Rng, path: Path) -> str:
    """Give a card of some header another value."""
    damaged, told = _with_card(rng, path.read_bytes())
    path.write_bytes(damaged)
    return told


def _with_card(rng: Rng, content: bytes) -> tuple[bytes, str]:
    places = [
        at for at in range(0, len(content) - 79, 80) if re.match(rb"[A-Z][A-Z0-9_-]{0,7} *= ", content[at : at + 10])
    ]
    structural = [
        at for at in places if re.match(rb"NAXIS|BITPIX|TF|PCOUNT|TDIM|[TB]SCAL|[TB]ZERO|Z|LAM|NSIDE", content[at:])
    ]
    at = int(chosen(rng, structural if structural and rng.random() < 0.6 else places))
    key, value = content[at : at + 8], chosen(rng, _CARD_VALUES)
    if rng.random() < 0.2:
        key = b"HIDDEN  "
    card = key + b"= " + (value.ljust(20) if value.startswith("'") else value.rjust(20)).encode()
    return content[:at] + card.ljust(80)[:80] + content[at + 80 :], f"card {key.decode().strip()} = {value}"


def _inside_gzip(rng: Rng, path: Path) -> str:
    content = gzip.decompress(path.read_bytes())
    if rng.random() < 0.5:
        damaged, told = _with_card(rng, content)
    else:
        how = chosen(rng, ANYWHERE)
        damaged, told = how(rng, content), how.__name__.strip("_")
    path.write_bytes(gzip.compress(damaged, mtime=0))
    return f"in gzip: {told}"


_DTYPES = ("'>f4'", "'<f8'", "'|O'", "'<M8[s]'", "'<U4'", "'|V4'", "'<c8'", "[('a', '<f4')]", "'x'", "'<f2'", "'<i4'")
_LENGTH = re.compile(r"(?<=\()\d+|(?<=, )\d+(?=[,)])")


def _npy_header(rng: Rng, path: Path) -> str:
    damaged, told = _with_npy_header(rng, path.read_bytes())
    path.write_bytes(damaged)
    return told


def _with_npy_header(rng: Rng, content: bytes) -> tuple[bytes, str]:
    """Change what the head of an array says: shape, dtype, order, version."""
    length = int.from_bytes(content[8:10], "little")
    head, rest = content[10 : 10 + length].decode("latin1"), content[10 + length :]
    new = chosen(rng, (*map(str, HUGE), "0", "-1", "1.5", "3", "True", "'x'", "(2,)", "10" * 40))
    ways = {
        f"length {new}": lambda: re.sub(
            r"(?<=\()\d+|(?<=, )\d+(?=[,)])", lambda m: new if rng.random() < 0.5 else m[0], head
        ),
        "dtype": lambda: re.sub(r"(?<='descr': )('[^']*'|\[.*?\])", str(chosen(rng, _DTYPES)), head),
        "order": lambda: head.replace("False", "True"),
        "key": lambda: head.replace(str(chosen(rng, ("descr", "shape", "fortran_order"))), "other"),
        "brackets": lambda: head.replace("(", "(" * 60),
        "version": lambda: head,
    }
    told = str(chosen(rng, list(ways)))
    text = ways[told]().rstrip().encode("latin1", "replace")
    padded = text + b" " * (-(len(text) + 11) % 64) + b"\n"
    version = bytes([int(rng.integers(5)), 0]) if told == "version" else content[6:8]
    return content[:6] + version + len(padded).to_bytes(2, "little") + padded + rest, f"npy {told}"


def _member(rng: Rng, path: Path) -> str:
    """Write an archive anew with one of its arrays damaged: its checksums are those of the damage."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: (archive.read(info), info.compress_type) for info in archive.infolist()}
    name = str(chosen(rng, list(members)))
    content = members[name][0]
    if rng.random() < 0.7:
        damaged, told = _with_npy_header(rng, content)
    else:
        damaged, told = truncated(rng, content), "truncated"
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for each, (stored, how) in members.items():
            archive.writestr(zipfile.ZipInfo(each), damaged if each == name else stored, how)
    path.write_bytes(made.getvalue())
    return f"{name}: {told}"


_ODD = (None, -1, 0, 10**12, 2**70, 1.5, float("nan"), "", "x", [], ["sample"], {}, True, "<f8", [10**12, 3], "density")


def _attribute(rng: Rng, file: h5py.File) -> str:
    """Change or remove an attribute of the file, a group or a dataset."""
    owners: list[Any] = [file]
    file.visititems(lambda name, item: owners.append(item))
    pairs = [(owner, key) for owner in owners for key in owner.attrs if key not in _REFERENCES]
    if not pairs:
        return _dataset(rng, file)
    owner, key = pairs[int(rng.integers(len(pairs)))]
    if rng.random() < 0.3:
        del owner.attrs[key]
        return f"no attribute {owner.name}@{key}"
    value = chosen(
        rng, (-1, 0, 1.5, np.nan, 10**12, "", "x", b"\xff\xfe", np.arange(3), np.array([["a"]], "S1"), "json:{")
    )
    owner.attrs[key] = value
    return f"{owner.name}@{key} = {value!r}"


_REFERENCES = ("DIMENSION_LIST", "REFERENCE_LIST")


def _dataset(rng: Rng, file: h5py.File) -> str:
    """Remove a dataset, or put one of another shape or dtype in its place, its attributes kept where they can be."""
    found: list[h5py.Dataset] = []
    file.visititems(lambda name, item: found.append(item) if isinstance(item, h5py.Dataset) else None)
    item = found[int(rng.integers(len(found)))]
    name, shape, dtype = str(item.name), item.shape or (), item.dtype
    attrs = {key: value for key, value in item.attrs.items() if key not in (*_REFERENCES, "CLASS", "NAME")}
    longer = (*shape[:-1], shape[-1] + 1) if shape else (2,)
    ways: dict[str, Callable[[], dict[str, Any]] | None] = {
        "removed": None,
        "one more pixel": lambda: {"data": np.ones(longer, dtype if dtype.kind in "fiub" else "f4")},
        "one more axis": lambda: {"data": np.ones((*shape, 1), "f4")},
        "no axis": lambda: {"data": 1.0},
        "as text": lambda: {"data": np.full(shape, b"x", "S1")},
        "as f2": lambda: {"data": np.ones(shape, "f2")},
        "empty": lambda: {"dtype": "f4", "shape": (0, *shape[1:])},
        "no dataspace": lambda: {"data": h5py.Empty("f4")},
        "huge": lambda: {
            "shape": (*shape[:-1], 2**40) if shape else (2**40,),
            "dtype": "f4",
            "chunks": (*(1,) * max(len(shape), 1),),
        },
        "NaN": lambda: {"data": np.full(shape, np.nan)},
        "compound": lambda: {"data": np.zeros(shape, [("a", "f4"), ("b", "i2")])},
    }
    told = str(chosen(rng, list(ways)))
    del file[name]
    make = ways[told]
    if make is not None:
        made = file.create_dataset(name, **make())
        made.attrs.update(attrs)
    return f"{name} {told}"


def _chunk(rng: Rng, file: h5py.File) -> str:
    """Write junk as a compressed chunk of a dataset, or say of it that its filters were not used."""
    found: list[h5py.Dataset] = []
    file.visititems(lambda name, item: found.append(item) if isinstance(item, h5py.Dataset) and item.chunks else None)
    if not found:
        return _attribute(rng, file)
    item = found[int(rng.integers(len(found)))]
    mask, stored = item.id.read_direct_chunk((0,) * item.ndim)
    junk = bytes(chosen(rng, (rng.bytes(40), stored[: len(stored) // 2], bytes(len(stored)), stored)))
    item.id.write_direct_chunk((0,) * item.ndim, junk, int(chosen(rng, (mask, 0xFFFF))))
    return f"chunk of {item.name}"


def _hdf5(rng: Rng, path: Path) -> str:
    with h5py.File(path, "r+") as file:
        return chosen(rng, (_attribute, _attribute, _dataset, _chunk))(rng, file)


def _text(rng: Rng, path: Path) -> str:
    text = path.read_text(errors="replace")
    if text.lstrip().startswith("{"):
        return _json(rng, path, json.loads(text))
    lines = text.splitlines()
    number = int(rng.integers(len(lines)))
    tokens = lines[number].split() or [""]
    ways = {
        "token": lambda: [" ".join([str(chosen(rng, ("nan", "inf", "x", "-1", "1e400", ""))), *tokens[1:]])],
        "last token": lambda: [" ".join([*tokens[:-1], str(chosen(rng, ("nan", "0x1", "1,5")))])],
        "one more": lambda: [lines[number] + " 1.0"],
        "no line": lambda: [],
        "twice": lambda: [lines[number]] * 2,
        "comment": lambda: ["# " + lines[number]],
    }
    told = str(chosen(rng, list(ways)))
    path.write_text("\n".join([*lines[:number], *ways[told](), *lines[number + 1 :]]) + "\n")
    return f"line {number}: {told}"


def _json(rng: Rng, path: Path, document: Any) -> str:
    """Change or remove one value somewhere in the document."""
    node, keys = document, []
    while isinstance(node, dict | list) and node and (not keys or rng.random() < 0.8):
        keys.append(chosen(rng, list(node) if isinstance(node, dict) else range(len(node))))
        parent, node = node, node[keys[-1]]
    value = chosen(rng, _ODD)
    if isinstance(parent, dict) and rng.random() < 0.3:
        del parent[keys[-1]]
        value = "removed"
    else:
        parent[keys[-1]] = value
    path.write_text(json.dumps(document))
    return f"{'/'.join(map(str, keys))} = {value!r}"


def _netcdf(rng: Rng, path: Path) -> str:
    """Change a number in the head of a classic NetCDF file, or its version."""
    content = bytearray(path.read_bytes())
    if rng.random() < 0.2:
        content[3] = int(rng.integers(8))
        told = f"version {content[3]}"
    else:
        at = 4 * int(rng.integers(1, min(len(content), 1600) // 4))
        value = int(chosen(rng, (0, 1, 2, 5, 2**31 - 1, 2**32 - 1)))
        content[at : at + 4] = value.to_bytes(4, "big")
        told = f"{value} at {at}"
    path.write_bytes(content)
    return told


_SPECIAL: dict[bytes, Callable[[Rng, Path], str]] = {
    b"SIMPLE": _card,
    b"\x1f\x8b": _inside_gzip,
    b"\x93NUMPY": _npy_header,
    b"PK": _member,
    b"\x89HDF": _hdf5,
    b"CDF": _netcdf,
    b"{": _text,
}
