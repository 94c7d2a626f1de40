"""How a file is put in place: written beside its target and renamed, so that a reader sees all of it or none.

Standard library alone: any part of the project may import this module.
"""

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_BLOCK = 1 << 20


@contextmanager
def replacing(path: str | os.PathLike, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; rename it to `path` when the block ends well.

    After an error the temporary file is removed and an earlier `path` is left as it was. The temporary
    name keeps the suffix, as some writers choose by it. Missing folders are created.

    Parameters
    ----------
    path : path-like
        The file to be made.
    overwrite : bool
        Replace an existing file.

    Yields
    ------
    pathlib.Path
        Where to write; the file does not exist yet, and the block has to make it.

    Raises
    ------
    FileExistsError
        `path` exists and `overwrite` is false: before the block starts, and again if the file
        appeared while the block ran.
    IsADirectoryError
        `path` is a folder.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "note.txt"
    >>> with replacing(target) as temporary:
    ...     _ = temporary.write_text("whole or not at all", encoding="utf-8")
    >>> target.read_text(encoding="utf-8")
    'whole or not at all'
    """
    target = Path(path)
    refuse_existing(target, overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(4)}.tmp{target.suffix}")
    try:
        yield temporary
        # Some writers make files that their owner alone can read; ours are as readable as any new file.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        # Windows flushes only what is open for writing.
        with open(temporary, "r+b") as written:
            os.fsync(written.fileno())
        refuse_existing(target, overwrite)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: str | os.PathLike, overwrite: bool = False) -> Iterator[Path]:
    """Yield the path of a folder to make beside `path`; rename it to `path` when the block ends well.

    An earlier folder is there until the new one is whole. Otherwise as `replacing`.

    Raises
    ------
    FileExistsError
        `path` exists and `overwrite` is false.
    NotADirectoryError
        `path` is a file.
    """
    target = Path(path)
    refuse_existing(target, overwrite, folder=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(4)
    temporary, old = (target.with_name(f".{target.stem}.{token}.{kind}{target.suffix}") for kind in ("tmp", "old"))
    try:
        yield temporary
        refuse_existing(target, overwrite, folder=True)
        if target.exists():
            os.replace(target, old)
        try:
            os.replace(temporary, target)
        except OSError:
            if old.exists():
                os.replace(old, target)
            raise
    finally:
        for left in (temporary, old):
            shutil.rmtree(left, ignore_errors=True)


def refuse_existing(path: str | os.PathLike, overwrite: bool = False, folder: bool = False) -> None:
    """Raise what `replacing` raises before its block starts, for a check before a long computation.

    With `folder` what is to be made is a folder: what `replacing_folder` raises.

    Examples
    --------
    >>> refuse_existing("a file that is not there")
    """
    target = Path(path)
    if target.is_dir() and not folder:
        raise IsADirectoryError(f"{target} is a folder; give the name of a file")
    if target.is_file() and folder:
        raise NotADirectoryError(f"{target} is a file; give the name of a folder")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists; give another name or replace it with --overwrite (overwrite=True)")


def content_hash(path: str | os.PathLike) -> str:
    """SHA-256 of the bytes of a file, as 64 hexadecimal digits; read in blocks.

    Examples
    --------
    >>> import tempfile
    >>> empty = Path(tempfile.mkdtemp()) / "empty"
    >>> _ = empty.write_bytes(b"")
    >>> content_hash(empty)
    'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
    """
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
