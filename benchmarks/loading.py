"""How fast are fields read, and at what memory? Beside a plain loop of h5py, NumPy or astropy over the same file.

    python benchmarks/loading.py

Batches of 16 random samples, as training reads them, and all samples in order, a batch at a time; each case in a
process of its own, so that its peak memory is its own. Then the time to open files of 10 GB (sparse, made and removed
here), and how much of them is read. Results go to benchmarks/results/loading.md.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from record import circumstances, table, write

BATCH, SIZE = 16, 64
FORMATS = ("npy", "h5", "nc", "zarr", "fits")
PLAIN = {"npy": "numpy memory map", "h5": "h5py", "nc": "h5py", "zarr": "zarr", "fits": "astropy memory map"}
LARGE = ("npy", "h5", "fits")
GB = 10


def make(folder: Path, samples: int) -> None:
    """Write one field in every format."""
    import xarray as xr

    from data_loaders import write_field

    values = np.random.default_rng(0).lognormal(size=(samples, SIZE, SIZE)).astype(np.float32)
    axis = np.arange(SIZE) + 0.5, {"units": "Mpc/h", "boundary": "periodic"}
    coords = {dim: (dim, *axis) for dim in ("y", "x")} | {"group": ("sample", np.arange(samples))}
    field = xr.DataArray(values, dims=("sample", "y", "x"), coords=coords, name="density", attrs={"units": ""})
    for suffix in FORMATS:
        write_field(field, folder / f"field.{suffix}")


def ours(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Return how `open_field` reads a batch."""
    from data_loaders import main_variable, open_field

    field = main_variable(open_field(path))
    return lambda index: field.isel(sample=index).values


def plain(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Return how a loop without labels reads a batch."""
    if path.suffix == ".npy":
        array = np.load(path, mmap_mode="r")
        return lambda index: np.array(array[index])
    if path.suffix in (".h5", ".nc"):
        import h5py

        dataset = h5py.File(path)["density"]
        return lambda index: np.stack([dataset[i] for i in index])
    if path.suffix == ".zarr":
        import zarr

        group = zarr.open_group(path, mode="r")
        return lambda index: np.stack([group["density"][int(i)] for i in index])
    from astropy.io import fits

    data = fits.open(path, memmap=True)[0].data
    return lambda index: data[index].astype(np.float32)


def batches(samples: int, order: str, number: int) -> Iterator[np.ndarray]:
    """Yield the indices of each batch."""
    rng = np.random.default_rng(1)
    for i in range(number):
        start = i * BATCH % (samples - BATCH + 1)
        yield rng.integers(samples, size=BATCH) if order == "random" else np.arange(start, start + BATCH)


def measure(path: Path, reader: str, order: str, samples: int) -> dict[str, float]:
    """Return samples/s and peak memory above that of the imports [MiB]."""
    read = (ours if reader == "ours" else plain)(path)
    read(np.arange(2))  # imports and caches of the file system
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    number, total, began = max(16, samples // BATCH), 0.0, time.perf_counter()
    for index in batches(samples, order, number):
        total += float(read(index)[0, 0, 0])
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"rate": number * BATCH / seconds, "memory": peak - before, "sum": total}


def make_large(path: Path) -> None:
    """Make a sparse file of 10 GB that claims to hold fields."""
    shape = (GB * 2**30 // (4 * 256**2), 256, 256)
    if path.suffix == ".npy":
        np.lib.format.open_memmap(path, "w+", np.float32, shape).flush()
    elif path.suffix == ".h5":
        import h5py

        with h5py.File(path, "w") as file:
            file.create_dataset("density", shape, "f4")[-1, -1, -1] = 1.0
    else:
        from astropy.io import fits

        header = fits.Header({"SIMPLE": True, "BITPIX": -32, "NAXIS": 3})
        header.update({f"NAXIS{i}": n for i, n in enumerate(reversed(shape), start=1)})
        with open(path, "wb") as stream:
            stream.write(header.tostring().encode())
            stream.truncate(stream.tell() + 4 * int(np.prod(shape)))


def open_large(path: Path) -> dict[str, float]:
    """Return seconds and kilobytes read to open a large file, and to read one sample of it."""
    from data_loaders import main_variable, open_field, readers

    readers()  # the imports are not the file's

    def read() -> int:
        lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
        return int(lines["rchar"])

    before, began = read(), time.perf_counter()
    ds = open_field(path, box_size=25.0, units="", boundary="periodic")
    opened, kilobytes = time.perf_counter() - began, (read() - before) / 1024
    began = time.perf_counter()
    main_variable(ds).isel(sample=1000).load()
    return {"open": opened, "kilobytes": kilobytes, "sample": time.perf_counter() - began}


def alone(*arguments: str) -> dict[str, float]:
    """Run one measurement in a process of its own."""
    done = subprocess.run([sys.executable, __file__, "--case", *arguments], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def compare(folder: Path, samples: int, repeats: int) -> list[list[str]]:
    """Return the rows of the table of formats."""
    rows = []
    for suffix in FORMATS:
        path = folder / f"field.{suffix}"
        for order in ("random", "in order"):
            runs = [
                {name: alone("measure", str(path), name, order, str(samples)) for name in ("ours", "plain")}
                for _ in range(repeats)
            ]
            if any(not np.isclose(run["ours"]["sum"], run["plain"]["sum"]) for run in runs):
                raise RuntimeError(f"{path.name}: both loops must read the same numbers")
            rate = {name: np.median([run[name]["rate"] for run in runs]) for name in ("ours", "plain")}
            ratio = np.median([run["ours"]["rate"] / run["plain"]["rate"] for run in runs])
            memory = [f"{np.median([run[name]['memory'] for run in runs]):.0f}" for name in ("ours", "plain")]
            rows.append([suffix, order, f"{rate['ours']:.0f}", PLAIN[suffix], f"{rate['plain']:.0f}", f"{ratio:.2f}",
                         *memory])  # fmt: skip
    return rows


def large(folder: Path) -> list[list[str]]:
    """Return the rows of the table of large files."""
    rows = []
    for suffix in LARGE:
        path = folder / f"large.{suffix}"
        make_large(path)
        found = alone("large", str(path))
        path.unlink()
        rows.append([suffix, f"{1e3 * found['open']:.0f}", f"{found['kilobytes']:.0f}", f"{1e3 * found['sample']:.1f}"])
    return rows


def main() -> None:
    """Measure everything and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--case", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        kind, path, *rest = options.case
        found = open_large(Path(path)) if kind == "large" else measure(Path(path), rest[0], rest[1], int(rest[2]))
        print(json.dumps(found))
        return
    with tempfile.TemporaryDirectory() as name:
        make(Path(name), options.samples)
        formats, files = compare(Path(name), options.samples, options.repeats), large(Path(name))
    heads = ["format", "order", "ours [samples/s]", "plain loop", "plain [samples/s]", "ours / plain",
             "ours [MiB]", "plain [MiB]"]  # fmt: skip
    text = [
        "# Reading fields\n",
        circumstances("xarray", "h5py", "h5netcdf", "zarr", "astropy") + "\n",
        f"{options.samples} samples of {SIZE}² float32 in one file, warm; batches of {BATCH}; median of "
        f"{options.repeats} runs; memory is the growth of the peak while reading, a process for each case.\n",
        table(heads, formats),
        f"\n## Opening a file of {GB} GB\n",
        table(["format", "open [ms]", "read to open [kB]", "one sample of 256² [ms]"], files),
    ]
    write("loading.md", "\n".join(text))


if __name__ == "__main__":
    main()
