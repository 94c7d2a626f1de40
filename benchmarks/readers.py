"""Open every file of a folder: which reader takes it, what it keeps and how long that takes.

    python benchmarks/readers.py [folder]

Opens every file (folders that a reader takes as a whole are one entry), reads all its values, and writes a row for each
kind of file to benchmarks/results/readers.md: several files of one kind and reader are one row, with their mean times.
The folder is by default ../shared/data beside the project.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from record import circumstances, table, write

SKIPPED = (".md", ".txt", ".json", ".csv", ".yaml", ".sha256")
CHOICES = {"multimodal_universe": ("spectrum", "image"), "astroclip": ("spectra", "images")}
# What the files themselves do not say.
OPTIONS = {
    "dust_ebv_SFD_healpix_lowres.fits": {"coordsys": "G", "units": "mag"},
    "h1_nh_HI4PI_healpix_lowres.fits": {"coordsys": "G", "units": "cm-2"},
    "wmap_band_iqumap_r9_7yr_W_v4_udgraded32.fits": {"coordsys": "G", "units": "mK"},
}
LISTED = 9


@dataclass(frozen=True)
class Opened:
    """One file, opened and read."""

    name: str
    reader: str
    dims: str
    kept: str
    rows: int
    open_s: float
    read_s: float


def main() -> None:
    """Read the folder and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    default = Path(__file__).parents[2] / "shared" / "data"
    parser.add_argument("folder", nargs="?", type=Path, default=default)
    folder = parser.parse_args().folder
    read = [each for path in entries(folder) for each in opened(path, folder)]
    kinds: dict[tuple[str, str, str], list[Opened]] = {}
    for each in read:
        kinds.setdefault((str(Path(each.name).parent), each.reader, each.kept), []).append(each)
    columns = ["file", "reader", "dims", "kept", "rows", "open [s]", "read [s]"]
    rows = [row(same) for same in kinds.values()]
    refused = [each for each in read if each.reader == "refused"]
    told = f"{len(read)} files, {len(read) - len(refused)} read, {len(refused)} refused with the reason in `kept`."
    write(
        "readers.md", f"# Readers\n\n{circumstances('astropy', 'h5py', 'xarray')}\n\n{told}\n\n{table(columns, rows)}"
    )


def entries(folder: Path) -> Iterator[Path]:
    """Yield what one call opens: files, and folders that a reader takes as a whole besides their files."""
    from data_loaders.registry import readers

    folders = [path for path in folder.rglob("*") if path.is_dir()]
    yield from (path for path in sorted(folders) if any(each.matches(path, b"") for each in readers().values()))
    yield from (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix not in SKIPPED)


def opened(path: Path, root: Path) -> list[Opened]:
    """Open and read one entry; what is refused is said."""
    from data_loaders import DataError
    from data_loaders.registry import find_reader

    name = str(path.relative_to(root))
    try:
        chosen = find_reader(path).name
        given = OPTIONS.get(path.name, {})
        choices = [{"dataset": dataset} for dataset in CHOICES.get(chosen, ())] or [{}]
        return [timed(path, name, chosen, given | choice) for choice in choices]
    except DataError as error:
        return [Opened(name, "refused", "", error.message[:160], 0, 0, 0)]


def timed(path: Path, name: str, reader: str, options: dict[str, str]) -> Opened:
    """Open and read all values of one file."""
    from data_loaders import main_variable, open_field

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        begin = time.perf_counter()
        ds = open_field(path, **options)
        between = time.perf_counter()
        field = main_variable(ds)
        values = field.values
        end = time.perf_counter()
    if not np.isfinite(values).any():
        raise AssertionError(f"{path}: no finite value")
    dims = ", ".join(f"{dim} {n}" for dim, n in zip(field.dims, field.shape))
    names = [str(key) for key in ds.coords if key not in ds.dims]
    kept = ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")
    name += "".join(f" ({key}={value})" for key, value in options.items())
    return Opened(name, reader, dims, kept or "the values", len(values), between - begin, end - between)


def row(same: list[Opened]) -> list[str]:
    """Return the row of files of one kind."""
    first = same[0]
    name = first.name if len(same) == 1 else f"{first.name} and {len(same) - 1} more"
    dims = first.dims if len({each.dims for each in same}) == 1 else f"{first.dims}, ..."
    rows = sum(each.rows for each in same)
    times = (np.mean([each.open_s for each in same]), np.mean([each.read_s for each in same]))
    return [name, first.reader, dims, first.kept, str(rows), *(f"{each:.3f}" for each in times)]


if __name__ == "__main__":
    main()
