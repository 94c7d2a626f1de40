"""How honest a verdict is: real halves that pass, and the smallest faults that are found: part of validation.py.

The fields and the faults are those of tests/planted.py.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.extend([str(ROOT), str(ROOT / "tests")])  # both: the tests have a folder data_loaders, which is no package
import planted  # noqa: E402

DRAWS, SPLITS = 100, 200
SETS, SAMPLES = 10, 800
ENOUGH = 0.9
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def _noisy(log: np.ndarray, sigma: float) -> np.ndarray:
    return log + sigma * np.random.default_rng(6).normal(size=log.shape)


class Fault(NamedTuple):
    """What is planted, how much of it, how an amount is written, and the lines that are there to find it."""

    plant: Callable[[np.ndarray, float], np.ndarray]
    amounts: tuple[float, ...]
    text: str
    own: str


FAULTS: Mapping[str, Fault] = {
    "nothing": Fault(lambda log, _: log, (0.0,), "–", "none"),
    "power taken away at k ≥ ½ Nyquist, less at larger scales": Fault(
        planted.tilted, (0.01, 0.02, 0.03, 0.05, 0.07, 0.10), "{:.0%}", "(log_)?power"
    ),
    "variance of ln P(k) between samples lowered": Fault(
        planted.alike, (0.05, 0.10, 0.15, 0.20, 0.30), "{:.0%}", "(log_)?power_(variance|spread|chi2|correlation)"
    ),
    "white noise added": Fault(_noisy, (0.01, 0.02, 0.03, 0.05, 0.10), "{:g} dex", "(log_)?power"),
    "copies": Fault(lambda log, _: log, (1, 2, 8), f"{{:g}} of {SAMPLES}", "copies"),
}
COPY_NOISE = 0.02  # dex


def section(options: argparse.Namespace) -> str:
    """Return the text."""
    few = 10 if options.quick else 1
    return f"{_halves(max(1, DRAWS // few))}\n\n{_faults(max(2, SETS // few))}"


# -- real halves ------------------------------------------------------------------------------------------------------


def planted_pool() -> tuple[Any, np.ndarray]:
    """Return planted fields whose siblings, three a group, resemble each other."""
    groups = np.repeat(np.arange(200), 3)
    offset = 0.05 * np.random.default_rng(4).normal(size=200)[groups]
    return planted.field(planted.logarithms(600, seed=3) + offset[:, None, None], groups), groups


def simulated_pool() -> tuple[Any, np.ndarray]:
    """Return the packaged dark-matter maps and their simulations."""
    import sciffusion

    field = sciffusion.main_variable(sciffusion.open_field(ROOT / "data_loaders" / "data" / "cdm.h5")).load()
    return field, field["group"].values


POOLS = {"planted fields, siblings in threes": planted_pool, "packaged dark-matter maps": simulated_pool}


def _halves(draws: int) -> str:
    from record import table

    rows = []
    for name, pool in POOLS.items():
        _, groups = pool()
        began = time.monotonic()
        with _processes() as processes:
            found = processes.starmap(_failed, [(draw, name) for draw in range(draws)], chunksize=1)
        failed = [lines for lines in found if lines]
        common = Counter(line for lines in failed for line in lines).most_common(3)
        told = ", ".join(f"{line} ({times})" for line, times in common) or "–"
        size = f"{len(groups) // 2} beside {len(groups) // 2}"
        rows.append([name, size, f"{len(np.unique(groups))}", f"{draws - len(failed)} of {draws}", told,
                     f"{time.monotonic() - began:.0f}"])  # fmt: skip
    heads = ["real set", "samples", "groups in all", "gold", "lines below gold, how often", "seconds"]
    return (
        "One half of a real set, by whole groups, as the generated set beside the other: all statistics, all tests, "
        f"{SPLITS} splits. A verdict that promises 95 of 100 is to give gold about as often; the draws are halves of "
        f"one set and not independent.\n\n{table(heads, rows)}"
    )


@functools.cache
def _measured(name: str) -> tuple[Any, ...]:
    """Measure a pool once, for all draws of a process."""
    from sciffusion.statistics.choice import chosen, fitting
    from sciffusion.statistics.statistic import measure

    pool, groups = POOLS[name]()
    statistics = fitting(pool, pool, None, chosen("all", pool, pool), tests=True)
    return statistics, measure(statistics, pool), groups


def _failed(draw: int, name: str) -> list[str]:
    """Return the lines below gold of one half beside the other."""
    from sciffusion.scorecard import calibrate
    from sciffusion.statistics.split import halves, weights
    from sciffusion.statistics.statistic import tabulate
    from sciffusion.validate import subsets

    statistics, measured, groups = _measured(name)
    rng = np.random.default_rng(draw)
    parts = [side[0] for side in halves(groups, 1, rng)]
    ours, theirs = ([{key: values[part] for key, values in each.items()} for each in measured] for part in parts)
    own = groups[parts[0]], groups[parts[1]]
    index = subsets(*own, SPLITS, rng)
    weight = [weights(each, len(own[which])) for each, which in zip(index, (0, 0, 1, 1, 1))]
    rows, floors, _ = tabulate(statistics, (ours, theirs), own, weight)
    calibrate(rows, floors)
    return [row["name"] for row in rows if row["level"] not in ("gold", None)]


# -- faults -----------------------------------------------------------------------------------------------------------


def _faults(sets: int) -> str:
    from record import table

    began, rows, smallest = time.monotonic(), [], {}
    with _processes() as pool:
        for name, fault in FAULTS.items():
            for amount in fault.amounts:
                found = pool.starmap(_found, [(name, amount, number) for number in range(sets)], chunksize=1)
                own = sum(any(re.fullmatch(fault.own, line) for line in lines) for lines, _ in found)
                gold = sum(level == "gold" for _, level in found)
                first = Counter(lines[0] for lines, _ in found if lines).most_common(1)
                text = fault.text.format(amount)
                counts = (own if name != "nothing" else None, sum(bool(lines) for lines, _ in found), sets - gold)
                told = ["–" if count is None else f"{count} of {sets}" for count in counts]
                rows.append([name, text, *told, first[0][0] if first else "–"])
                if own >= ENOUGH * sets:
                    smallest.setdefault(name, text)
                if own == sets:
                    break
    heads = ["planted", "how much", "found by its own lines", "by any line", "below gold", "line farthest beyond"]
    least = "; ".join(f"{name}: {text}" for name, text in smallest.items()) or "none"
    return (
        f"Faults planted into a perfect set of {SAMPLES} fields of {planted.N}², beside {SAMPLES} real ones, {sets} "
        "times with other fields, up to the amount that is found in all "
        '(`diagnostics="all", tests=False`). *Found*: a line is beyond its joint limit; *own lines*: those of P(k) '
        "for power and noise, those of its scatter for the variance. *Below gold*: by more than gold allows. "
        f"Copies are training samples, rolled and mirrored, with noise of {COPY_NOISE:g} dex (`train=` of {SAMPLES}, "
        f"no diagnostics). {time.monotonic() - began:.0f} s.\n\n{table(heads, rows)}\n"
        f"The smallest that is found by its own lines in at least {ENOUGH:.0%} of the sets: {least}."
    )


def _found(name: str, amount: float, number: int) -> tuple[list[str], str]:
    """Compare a set of a fault with a real one; return the lines beyond their limits, the farthest first, and level."""
    from sciffusion.validate import compare

    real, perfect = (planted.logarithms(SAMPLES, seed=1000 + 2 * number + i) for i in (0, 1))
    options: dict[str, Any] = {"diagnostics": "all"}
    if name == "copies":
        train = planted.logarithms(SAMPLES, seed=5000 + number)
        copied = train[: int(amount)]
        perfect[: len(copied)] = _noisy(planted.rolled_and_flipped(copied, number), COPY_NOISE)
        options = {"train": planted.field(train)}
    generated = planted.field(FAULTS[name].plant(perfect, amount))
    comparison = compare(planted.field(real), generated, tests=False, **options)
    beyond = [row for row in comparison.scores["statistics"] if row["differs"]]
    return [row["name"] for row in sorted(beyond, key=_excess, reverse=True)], comparison.level


def _excess(row: dict[str, Any]) -> float:
    limit = row["floor"]["limit"]
    return row["score"] / limit if row["score"] is not None and limit else np.inf


@contextmanager
def _processes() -> Iterator[Any]:
    """Give as many processes as there are cores, of one thread each."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    pool = multiprocessing.get_context("spawn").Pool(os.cpu_count())
    try:
        yield pool
        pool.close()
        pool.join()
    finally:
        pool.terminate()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
