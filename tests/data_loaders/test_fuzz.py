"""Damaged files: each is read right or refused by an error that names the file, in bounded time and memory.

``run_case(root, name, number)`` repeats one case.
"""

import collections
import faulthandler
import gc
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import time
import warnings
import zlib
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import xarray as xr
from fuzz_mutations import mutate
from fuzz_seeds import MADE, Seed, loaded, seeds
from fuzz_verdict import judge

from data_loaders import open_field, readers
from data_loaders.registry import find_reader

CASES = {False: 60, True: 24}  # of a file written here, of a real one
SECONDS = 10  # of a processor, which a busy machine does not change
MEMORY = 3 << 30
AT_ONCE = 12


class Case(NamedTuple):
    """What became of a damaged file: "same", "said" (differs as it says), "refused", or why that is wrong."""

    name: str
    number: int
    how: str
    outcome: str
    seconds: float

    @property
    def wrong(self) -> bool:
        return self.outcome not in ("same", "said", "refused")


def write_seeds(root: Path, chosen) -> None:
    for seed in chosen:
        folder = root / seed.name
        folder.mkdir(parents=True)
        opened = seed.make(folder)
        assert find_reader(opened).name == seed.reader
        (root / f"{seed.name}.opens").write_text(str(opened.relative_to(folder)))


@cache
def _whole(root: Path, name: str) -> xr.Dataset:
    return loaded(open_field(root / name / _opens(root, name), **seeds()[name].options))


def _opens(root: Path, name: str) -> str:
    return (root / f"{name}.opens").read_text()


def run_case(root: Path, name: str, number: int) -> Case:
    """Damage a copy of a seed and read it."""
    started = time.process_time()
    seed, whole = seeds()[name], _whole(root, name)
    rng = np.random.default_rng([zlib.crc32(name.encode()), number])
    folder = root / f"work-{os.getpid()}"
    shutil.copytree(root / name, folder)
    try:
        files = sorted(each for each in folder.rglob("*") if each.is_file())
        damaged = files[int(rng.integers(len(files)))]
        damage = mutate(rng, damaged)
        how = f"{damaged.relative_to(folder)}: {damage.how}"
        (root / f"case-{os.getpid()}").write_text(f"{name} {number} {how}")
        pair = (root / name / damaged.relative_to(folder), damaged)
        outcome = _outcome(whole, folder / _opens(root, name), (seed, pair, damage.edited))
    finally:
        shutil.rmtree(folder)
    seconds = time.process_time() - started
    return Case(name, number, how, outcome, seconds)


def _outcome(whole: xr.Dataset, path: Path, case: tuple[Seed, tuple[Path, Path], bool]) -> str:
    before = _handles_at_first()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        outcome = _verdict(whole, path, *case)
        gc.collect()
    escaped = [str(each.message) for each in told if not issubclass(each.category, UserWarning)]
    if escaped and outcome in ("same", "said", "refused"):
        return f"{outcome}, but warns: {escaped[0]}"
    if _handles() > before + 8 and outcome in ("same", "said", "refused"):  # maps stay open for a while
        return f"{outcome}, but {_handles() - before} files were left open"
    return outcome


def _verdict(whole: xr.Dataset, path: Path, seed: Seed, files: tuple[Path, Path], edited: bool) -> str:
    try:
        got = loaded(open_field(path, **seed.options))
    except ValueError as error:
        chain = [error]
        while cause := chain[-1].__cause__ or chain[-1].__context__:
            chain.append(cause)
        if any(isinstance(each, MemoryError) for each in chain):
            return f"takes too much memory: {error}"
        named = any(str(each) in str(error) for each in (path, *files))
        return "refused" if named else f"an error that does not name the file: {error!r}"
    except Exception as error:
        return f"not an error of data: {error!r}"
    try:
        return judge(seed, whole, got, files, path, edited)
    except AssertionError as error:
        return f"silent garbage: {error}"


def _handles() -> int:
    return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0


@cache
def _handles_at_first() -> int:
    return _handles()


def _limit() -> None:
    """Start a worker: within its bound of memory, and ended by force where it hangs."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    taken = int(status["VmSize"].split()[0]) << 10
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    faulthandler.register(signal.SIGPROF, chain=True)
    readers()
    gc.freeze()


def _run(root: Path, name: str, numbers: range) -> list[Case]:
    done = []
    for number in numbers:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        faulthandler.dump_traceback_later(30 * SECONDS, exit=True)
        done.append(run_case(root, name, number))
    signal.setitimer(signal.ITIMER_PROF, 0)
    faulthandler.cancel_dump_traceback_later()
    return done


def _table(cases: list[Case]) -> str:
    count = collections.Counter((seeds()[case.name].reader, "wrong" if case.wrong else case.outcome) for case in cases)
    outcomes = ("same", "said", "refused", "wrong")
    lines = ["".join(each.rjust(10) for each in outcomes) + "  reader"]
    for name in sorted({reader for reader, _ in count}):
        lines.append("".join(str(count[name, each]).rjust(10) for each in outcomes) + f"  {name}")
    return "\n".join(lines)


def _fail_on_wrong(cases: list[Case]) -> None:
    wrong = [case for case in cases if case.wrong]
    told = "\n".join(f"{case.name} {case.number}: {case.how}: {case.outcome}" for case in wrong[:40])
    assert not wrong, f"{len(wrong)} of {len(cases)} cases are wrong\n{told}"


def test_every_reader_has_a_seed():
    assert {seed.reader for seed in MADE} == set(readers())


def test_a_few_damaged_files_of_every_reader(tmp_path):
    chosen = [seed for seed in seeds().values() if not seed.real]
    chosen = [*{seed.reader: seed for seed in chosen}.values(), *chosen][:40]
    write_seeds(tmp_path, {seed.name: seed for seed in chosen}.values())
    gc.freeze()  # each case looks for what was left open
    cases = [run_case(tmp_path, name, number) for number, name in enumerate(seed.name for seed in chosen)]
    gc.unfreeze()
    _fail_on_wrong(cases)


@pytest.mark.slow
def test_thousands_of_damaged_files(tmp_path, capsys):
    chosen = seeds()
    write_seeds(tmp_path, chosen.values())
    tasks = [
        (name, range(start, min(start + AT_ONCE, CASES[seed.real])))
        for name, seed in chosen.items()
        for start in range(0, CASES[seed.real], AT_ONCE)
    ]
    cases: list[Case] = []
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn"), _limit) as pool:
        try:
            for done in as_completed([pool.submit(_run, tmp_path, *task) for task in tasks]):
                cases += done.result()
        except BrokenProcessPool:
            last = "; ".join(path.read_text() for path in tmp_path.glob("case-*"))
            pytest.fail(f"a worker crashed, or took more than {SECONDS} s; it was at one of: {last}")
    with capsys.disabled():
        print(f"\n{len(cases)} cases, slowest {max(case.seconds for case in cases):.1f} s\n{_table(cases)}")
    assert len(cases) >= 2000
    _fail_on_wrong(cases)
