"""The time that a comparison of two sets of maps takes, step by step, as a user starts it: part of validation.py.

The fields have filaments and peaks (a squared Gaussian field of a red spectrum), lie in HDF5 files and are read
lazily. A comparison runs in a process of its own with as many threads as it takes by itself.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from record import table

PIXELS, SPACING = 256, 0.1
SETS = (500, 1000)
ALONE = 64  # maps by which a statistic alone is timed
ROUNDS = 3
GOAL = 120.0  # seconds for 1,000 maps
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
STEPS = {
    "start": "start, imports, opening the files",
    "ranges": "ranges of the values, filters, triangles",
    "measure": "measuring (all threads)",
    "tabulate": "splits, floors, scores",
    "memory": "copies of training maps",
    "write": "report",
}


def maps(samples: int, seed: int) -> Any:
    """Return skewed positive maps of a red spectrum, periodic."""
    import xarray as xr

    rng = np.random.default_rng(seed)
    axes = 2 * np.pi * np.fft.fftfreq(PIXELS, SPACING), 2 * np.pi * np.fft.rfftfreq(PIXELS, SPACING)
    amplitude = 1 / (1 + (axes[0][:, None] ** 2 + axes[1] ** 2) / 1.5**2)
    amplitude[0, 0] = 0
    values = np.empty((samples, PIXELS, PIXELS), np.float32)
    for one in values:
        smooth = np.fft.irfft2(np.fft.rfft2(rng.normal(size=one.shape)) * amplitude, one.shape)
        smooth /= smooth.std()
        one[:] = 10 ** (10.5 + 0.25 * np.exp(0.1 * rng.normal()) * (smooth + 0.25 * (smooth**2 - 1)))
    axis = (np.arange(PIXELS) + 0.5) * SPACING
    coords = {dim: (dim, axis, {"units": "Mpc/h", "boundary": "periodic"}) for dim in ("y", "x")}
    attrs = {"units": "(Msun/h)/(Mpc/h)^2", "long_name": "surface density"}
    return xr.DataArray(values, dims=("sample", "y", "x"), coords=coords, name="density", attrs=attrs)


def section(options: argparse.Namespace) -> str:
    """Write the files, run the comparisons and return the text."""
    from data_loaders import write_field

    sets = [size // 10 for size in SETS] if options.quick else SETS
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / f"{name}.h5") for name in ("real", "generated", "train")]
        for seed, path in enumerate(paths):
            write_field(maps(max(sets), seed), path)
        quick = {size: _child("compare", paths[:2], size, Path(folder) / f"quick_{size}") for size in sets}
        full = _child("compare", paths, sets[0], Path(folder) / "full")
        alone = _child("alone", paths[:1], min(ALONE, max(sets)), None, dict.fromkeys(THREADS, "1"))
    return "\n\n".join([_whole(quick, full, sets), _each(alone)])


def _whole(quick: dict[int, dict], full: dict, sets: Any) -> str:
    heads = [
        "step [s]",
        *(f"{n:,} + {n:,} maps, without tests" for n in sets),
        f"{sets[0]:,} + {sets[0]:,}, everything",
    ]
    columns = [*quick.values(), full]
    rows = [[told, *(f"{c[step]:.1f}" if step in c else "–" for c in columns)] for step, told in STEPS.items()]
    rows.append(["**all**", *(f"**{c['all']:.0f}**" for c in columns)])
    rows.append(["peak memory [GiB]", *(f"{c['memory_bytes'] / 2**30:.2f}" for c in columns)])
    first = quick[sets[0]]["all"]
    verdict = "met" if first <= GOAL else "missed"
    return (
        f"Maps of {PIXELS}² in HDF5, all statistics of fields. *Without tests*: `tests=False`, no training set "
        f"(`--quick` of `sciffusion-validate`). *Everything*: with permutation tests, the classifier and copies among "
        f"{max(sets):,} training maps. A process each, with the threads that it takes by itself.\n\n"
        f"{table(heads, rows)}\n"
        f"The goal of {GOAL:.0f} s for {2 * sets[0]:,} maps without tests is {verdict}: {first:.0f} s."
    )


def _each(alone: dict[str, float]) -> str:
    rows = [[name, f"{1e3 * seconds:.1f}"] for name, seconds in alone.items()]
    rows.append(["all", f"{1e3 * sum(alone.values()):.1f}"])
    told = f"Each statistic alone, one thread, maps in memory (least of {ROUNDS} rounds):"
    return f"{told}\n\n{table(['statistic', 'ms a map'], rows)}"


def _child(what: str, paths: list[str], size: int, out: Path | None, environment: dict | None = None) -> dict:
    """Run this file in a process of its own, by default with all threads."""
    own = {key: value for key, value in os.environ.items() if key not in THREADS} | (environment or {})
    arguments = [sys.executable, __file__, what, str(time.time()), str(size), str(out), *paths]
    found = subprocess.run(arguments, env=own, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(found.stdout.splitlines()[-1])


def _fields(paths: list[str], size: int) -> list[Any]:
    import sciffusion

    chosen = [slice(size)] * 2 + [slice(None)]
    return [sciffusion.main_variable(sciffusion.open_field(p)).isel(sample=s) for p, s in zip(paths, chosen)]


def _compare(paths: list[str], size: int, out: str, began: float) -> dict[str, float]:
    """Compare two sets, with a third everything; return the seconds of the steps."""
    from sciffusion import memory, validate

    seconds: dict[str, float] = {}
    with (
        _timed(validate, "fitting", seconds, "ranges"),
        _timed(validate, "measure", seconds, "measure"),
        _timed(validate, "tabulate", seconds, "tabulate"),
        _timed(memory.Memory, "search", seconds, "memory"),
    ):
        real, generated, *train = _fields(paths, size)
        seconds["start"] = time.time() - began
        given = {"train": train[0]} if train else {}
        comparison = validate.compare(real, generated, diagnostics="all", tests=bool(train), **given)
    start = time.perf_counter()
    comparison.write(out)
    seconds["write"] = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # KiB on Linux
    return seconds | {"all": time.time() - began, "memory_bytes": peak}


@contextmanager
def _timed(owner: Any, name: str, seconds: dict[str, float], step: str) -> Iterator[None]:
    """Add up the seconds that a function takes."""
    function: Callable[..., Any] = getattr(owner, name)

    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            seconds[step] = seconds.get(step, 0.0) + time.perf_counter() - start

    setattr(owner, name, timed)
    try:
        yield
    finally:
        setattr(owner, name, function)


def _alone(paths: list[str], size: int) -> dict[str, float]:
    """Return the seconds a map by each statistic."""
    from sciffusion.statistics.choice import chosen, fitting
    from sciffusion.statistics.grid import chunks

    (field,) = _fields(paths, size)
    parts, found = list(chunks(field)), {}
    for statistic in fitting(field, field, None, chosen("all", field, field), tests=False):
        statistic.measure(parts[0])
        rounds = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            for part in parts:
                statistic.measure(part.copy())  # a copy, as nothing then is known of it from the last time
            rounds.append((time.perf_counter() - start) / size)
        found[statistic.name] = min(rounds)
    return found


def _main(what: str, began: str, size: str, out: str, *paths: str) -> None:
    found = _alone(list(paths), int(size)) if what == "alone" else _compare(list(paths), int(size), out, float(began))
    print(json.dumps(found))


if __name__ == "__main__":
    _main(*sys.argv[1:])
