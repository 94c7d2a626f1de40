"""A set that is made piece by piece in several processes, and goes on where it was interrupted.

Finished pieces are kept in a folder beside the output until the whole set is there.
"""

import json
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Protocol

from tqdm.auto import tqdm

from data_loaders.files import replacing

__all__ = ["Pieces", "discard", "finish", "run"]

_SETTINGS = "settings.json"


class Pieces(Protocol):
    """Settings of a set that consists of pieces."""

    @property
    def piece(self) -> str:
        """What a piece is, in the plural."""
        ...

    def to_json(self) -> str:
        """Return all settings as text; two sets are equal if their texts agree."""
        ...

    def names(self) -> list[str]:
        """Return the name of the file of every piece."""
        ...

    def make(self, number: int, path: Path, workers: int) -> None:
        """Write a piece, with so many threads."""
        ...


def run(pieces: Pieces, folder: Path, processes: int = 1, workers: int = 1, resume: bool = False) -> Generator[int]:
    """Make what is missing in `folder`, one file a piece, in several processes.

    The processes end at once when the iterator is closed or this process ends, for whatever reason; what they had
    finished is in the folder, whole. They are started anew: a script that calls this does it under
    ``if __name__ == "__main__":``.

    Parameters
    ----------
    pieces : Pieces
        The set, such as a `Suite` or `Galaxies`.
    folder : pathlib.Path
        Where finished pieces are kept.
    processes : int
        Pieces at a time.
    workers : int
        Threads of each.
    resume : bool
        Reuse the pieces that the folder holds; they must be of the same settings.

    Yields
    ------
    int
        The number of a piece, once it is in the folder; those found there come first.

    Raises
    ------
    FileExistsError
        If the folder holds pieces and `resume` is false.
    ValueError
        If they were made with other settings; it names those that differ.
    ChildProcessError
        If one of the processes was killed, as the system does when memory runs out.
    """
    _prepare(pieces, folder, resume)
    return _run(pieces, folder, processes, workers)


def finish(pieces: Pieces, folder: Path, processes: int, workers: int = 1, resume: bool = False) -> None:
    """Make what is missing in `folder` with a progress bar; the parameters and errors are those of `run`."""
    # Closed whatever happens: an interruption may come while the bar is drawn, and the processes must end then.
    with closing(run(pieces, folder, processes, workers, resume)) as numbers:
        for _ in tqdm(numbers, pieces.piece, len(pieces.names())):
            pass


def _run(pieces: Pieces, folder: Path, processes: int, workers: int) -> Generator[int]:
    names = pieces.names()
    finished = [i for i, name in enumerate(names) if (folder / name).exists()]
    yield from finished
    missing = [i for i in range(len(names)) if i not in set(finished)]
    # A forked child would inherit the state of the parent's threads; a spawned one starts clean.
    context = multiprocessing.get_context("spawn")
    count = max(1, min(processes, len(missing)))
    ended, alive = context.Pipe(duplex=False)
    with ended, ProcessPoolExecutor(count, context, initializer=_end_with, initargs=(ended,)) as pool, alive:
        futures = [pool.submit(_make_one, pieces, folder, i, workers) for i in missing]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise ChildProcessError(
                f"a process that simulated was killed, for lack of memory perhaps; the finished simulations are kept "
                f"in {folder}: go on with --resume, and with fewer --processes (now {count})"
            ) from error


def _make_one(pieces: Pieces, folder: Path, number: int, workers: int) -> int:
    path = folder / pieces.names()[number]
    # Another run of the same set may have made it meanwhile, or make the same now.
    if not path.exists():
        with replacing(path, overwrite=True) as temporary:
            pieces.make(number, temporary, workers)
    return number


def _end_with(parent: Connection) -> None:
    """Make this process end as soon as the other end of a pipe is closed, by its holder or by the holder's death."""

    def watch() -> None:
        wait([parent])
        os._exit(1)

    # Ctrl-C reaches all processes of a terminal, SIGTERM often those of a job: the parent decides.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    threading.Thread(target=watch, daemon=True).start()


def _prepare(pieces: Pieces, folder: Path, resume: bool) -> None:
    record = folder / _SETTINGS
    if not record.exists():
        # Two runs of equal settings at once write the same.
        with replacing(record, overwrite=True) as temporary:
            temporary.write_text(pieces.to_json(), encoding="utf-8")
        return
    if not resume:
        raise FileExistsError(
            f"{folder} holds simulations of an earlier run: go on with --resume, or start anew with --overwrite"
        )
    earlier, now = json.loads(record.read_text(encoding="utf-8")), json.loads(pieces.to_json())
    differ = [
        f"{key} was {earlier.get(key)} and is {now.get(key)}"
        for key in sorted(earlier.keys() | now.keys())
        if earlier.get(key) != now.get(key)
    ]
    if differ:
        raise ValueError(
            f"{folder} was made with other settings ({'; '.join(differ)}): repeat them, or use --overwrite"
        )


def discard(folder: Path) -> None:
    """Remove the folder of finished pieces."""
    shutil.rmtree(folder, ignore_errors=True)
