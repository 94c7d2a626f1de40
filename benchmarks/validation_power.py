"""P(k) alone beside Pylians and powerbox, on the same maps: part of validation.py.

Each package runs in a process of its own, once with one thread and once as it comes, in turns. Pylians must be
compiled; where a package is missing from this environment, that of ``--python`` is asked.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PIXELS, LENGTH = 256, 25.6
MAPS = 40
REPEATS = 5  # of one process
TURNS = 4
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
ONE, FREE = "one thread", "as it comes"
GOALS = {"Pylians": 1.0, "powerbox": 3.0}
Timed = tuple[Callable[[np.ndarray], Any], str]


def fields(seed: int = 0) -> np.ndarray:
    """Return float32 maps of white noise without the modes that are sorted otherwise by other edges of shells.

    Our shells are i - 1/2 < k < i + 1/2 in units of the fundamental frequency, those of Pylians i < k < i + 1.
    """
    integers = np.fft.fftfreq(PIXELS, 1 / PIXELS)
    radius = np.hypot(integers[:, None], integers[None, :])
    noise = np.random.default_rng(seed).normal(size=(MAPS, PIXELS, PIXELS))
    modes = np.fft.fft2(noise) * (radius - np.floor(radius) < 0.5)
    return 1 + np.fft.ifft2(modes).real.astype(np.float32)


def ours(values: np.ndarray) -> Any:
    """Return the labelled maps, as `power_spectrum` takes them."""
    import xarray as xr

    axis = (np.arange(PIXELS) + 0.5) * LENGTH / PIXELS
    coords = {dim: (dim, axis, {"units": "Mpc/h", "boundary": "periodic"}) for dim in ("y", "x")}
    return xr.DataArray(values, dims=("sample", "y", "x"), coords=coords)


def _sciffusion(each: bool) -> Timed:
    from sciffusion.statistics import power_spectrum

    def all_at_once(values: np.ndarray) -> Any:
        return power_spectrum(ours(values))

    def one_by_one(values: np.ndarray) -> Any:
        return [power_spectrum(one) for one in ours(values)]

    return (one_by_one, "a call a map") if each else (all_at_once, "one call")


def _pylians(threads: int) -> Timed:
    import Pk_library

    def spectra(values: np.ndarray) -> Any:
        return [Pk_library.Pk_plane(one, LENGTH, "None", threads, verbose=False) for one in values]

    return spectra, "a call a map"


def _powerbox() -> Timed:
    from powerbox import get_power

    edges = np.arange(0.5, PIXELS // 2) * 2 * np.pi / LENGTH

    def spectra(values: np.ndarray) -> Any:
        settings = {"bins": edges, "dimensionless": False, "remove_shotnoise": False}
        return [get_power(one - one.mean(dtype=np.float64), LENGTH, **settings) for one in values]

    return spectra, "a call a map"


PACKAGES: dict[str, Callable[[int], Timed]] = {
    "sciffusion": lambda _: _sciffusion(False),
    "sciffusion, map by map": lambda _: _sciffusion(True),
    "Pylians": _pylians,
    "powerbox": lambda _: _powerbox(),
}


def section(options: argparse.Namespace) -> str:
    """Time the packages in turns, compare their numbers, and return the text."""
    from record import table

    turns = 1 if options.quick else TURNS
    seconds, last, missing = _measured(options.python, turns)
    median = {key: statistics.median(values) for key, values in seconds.items()}
    rows = []
    for name, found in last.items():
        row = [f"{name} {found['version']}", found["calls"]]
        for threads in (ONE, FREE):
            row += [
                f"{1e3 * median[name, threads]:.2f}",
                f"{median[name, threads] / median['sciffusion', threads]:.2f}",
            ]
        rows.append([*row, _difference(name, found["spectrum"], last["sciffusion"]["spectrum"])])
    heads = ["package", "called by", f"{ONE} [ms a map]", "× ours", f"{FREE} [ms a map]", "× ours", "differs by"]
    words = [f"{name} is not installed and was skipped." for name in missing]
    for name, goal in GOALS.items():
        if name in last:
            ratio = median[name, ONE] / median["sciffusion", ONE]
            words.append(f"The goal of {goal:g} × {name} is {'met' if ratio >= goal else 'missed'}: {ratio:.2f}.")
    told = (
        f"{MAPS} float32 maps of {PIXELS}², medians of {turns * REPEATS} runs in {turns} processes, the packages in "
        "turns. Ours computes in float64. Pylians as it comes has as many threads as there are cores. The last column "
        "is the relative difference (rms, largest) of the power summed over a shell, of maps whose modes lie in the "
        "same shell by either package's edges."
    )
    return f"{told}\n\n{table(heads, rows)}\n{' '.join(words)}"


def _measured(other: str | None, turns: int) -> tuple[dict[tuple[str, str], list[float]], dict[str, dict], list[str]]:
    """Return the seconds of the packages by threads, what each said last, and the packages that are missing."""
    seconds: dict[tuple[str, str], list[float]] = {}
    last: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "maps.npy")
        np.save(path, fields())
        interpreters = {name: _interpreter(name, path, other) for name in PACKAGES}
        for _ in range(turns):
            for name, python in interpreters.items():
                for threads in (ONE, FREE) if python else ():
                    last[name] = _child(str(python), name, path, threads == ONE)
                    seconds.setdefault((name, threads), []).extend(last[name]["seconds"])
    return seconds, last, [name for name, python in interpreters.items() if python is None]


def _difference(name: str, theirs: dict[str, list[float]], ours: dict[str, list[float]]) -> str:
    if name not in GOALS:
        return ""
    a, b = (np.array(each["power"]) * np.array(each.get("modes", ours["modes"])) for each in (ours, theirs))
    found = np.abs(b / a - 1)
    return f"{np.sqrt((found**2).mean()):.1e}, at most {found.max():.1e}"


def _interpreter(name: str, path: str, other: str | None) -> str | None:
    """Return the first interpreter that has a package: this one, or the other."""
    for python in filter(None, (sys.executable, other)):
        found = subprocess.run([python, __file__, name, path, "1", "0"], capture_output=True, check=False)
        if found.returncode == 0:
            return python
    return None


def _child(python: str, name: str, path: str, one_thread: bool) -> dict[str, Any]:
    own = {key: value for key, value in os.environ.items() if key not in THREADS}
    own |= dict.fromkeys(THREADS, "1") if one_thread else {}
    threads = 1 if one_thread else os.cpu_count() or 1
    arguments = [python, __file__, name, path, str(threads), str(REPEATS)]
    found = subprocess.run(arguments, env=own, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(found.stdout.splitlines()[-1])


def _spectrum(name: str, found: Any) -> dict[str, list[float]]:
    """Return the power of the whole shells of the first map, and their numbers of modes where they are told."""
    number = PIXELS // 2 - 1
    if name == "Pylians":
        columns = {"power": found[0].Pk, "modes": found[0].Nmodes}
    elif name == "powerbox":
        columns = {"power": found[0].power if hasattr(found[0], "power") else found[0][0]}
    else:
        columns = {"power": found[0].values, "modes": found[0]["modes"].values}
    return {key: np.asarray(column, dtype=np.float64)[:number].tolist() for key, column in columns.items()}


def _main(name: str, path: str, threads: str, repeats: str) -> None:
    from importlib.metadata import version

    spectra, calls = PACKAGES[name](int(threads))
    values = np.load(path)
    found, seconds = spectra(values), []
    for _ in range(int(repeats)):
        start = time.perf_counter()
        spectra(values)
        seconds.append((time.perf_counter() - start) / len(values))
    told = {"seconds": seconds, "calls": calls, "version": version(name.partition(",")[0])}
    print(json.dumps(told | {"spectrum": _spectrum(name, found)}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
