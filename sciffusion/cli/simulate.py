"""``sciffusion-simulate``: fields from first principles, where no file is at hand."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import fields
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from tqdm.auto import tqdm

from data_loaders.simulate.cosmology import Cosmology
from data_loaders.simulate.nbody import ParticleMesh
from data_loaders.simulate.suite import Suite, collect, discard, run
from sciffusion.cli.common import run_command

__all__ = ["main", "parser", "value_range"]

_OF_THEIR_OWN: set[str | int] = {"Omega_m", "sigma_8", "cosmology", "numerics"}
_DESCRIPTION = """
Simulate dark matter (total matter, gravity alone) with a particle-mesh code on a Latin hypercube of cosmologies and
write maps of its surface density in (Msun/h)/(Mpc/h)^2: 15 a simulation, 3 axes x 5 slabs of 5 Mpc/h.
"""


def value_range(text: str) -> tuple[float, float]:
    """Read ``low:high``, or a single value, as a range.

    Examples
    --------
    >>> value_range("0.1:0.5"), value_range("0.3")
    ((0.1, 0.5), (0.3, 0.3))
    """
    parts = str(text).split(":")
    try:
        low, high = float(parts[0]), float(parts[-1])
    except ValueError:
        low, high = 1.0, 0.0
    if len(parts) > 2 or low > high:
        raise ValueError(f"expected LOW:HIGH or one number, such as 0.1:0.5, not {text!r}")
    return low, high


def parser() -> ArgumentParser:
    """Return the parser of the command's flags."""
    cores = os.cpu_count() or 1
    flags = ArgumentParser(prog="sciffusion-simulate", description=_DESCRIPTION)
    flags.add_argument("--field", choices=["cdm"], default="cdm", help="what to simulate")
    flags.add_argument("--out", required=True, help="file of maps to write: .h5 or .nc (packed, compressed)")
    flags.add_argument("--overwrite", action="store_true", help="replace the file and an unfinished run beside it")
    flags.add_argument("--resume", action="store_true", help="go on with the unfinished run beside the file")
    flags.add_argument("--processes", type=int, default=cores, help="simulations at a time")
    flags.add_argument("--Omega_m", default="0.1:0.5", help="range LOW:HIGH of the hypercube, or one value")
    flags.add_argument("--sigma_8", default="0.6:1.0", help="range LOW:HIGH of the hypercube, or one value")
    flags.add_class_arguments(Suite, skip=_OF_THEIR_OWN)
    flags.add_class_arguments(Cosmology, "cosmology", help="fiducial parameters")
    flags.add_class_arguments(ParticleMesh)
    return flags


def _command(argv: Sequence[str]) -> None:
    given = parser().parse_args(list(argv))
    # An interruption leaves no trace in the data: neither does its flag in their record.
    command = shlex.join(["sciffusion-simulate", *(word for word in argv if word != "--resume")])
    suite = Suite(
        Omega_m=value_range(given.Omega_m),
        sigma_8=value_range(given.sigma_8),
        cosmology=Cosmology(**given.cosmology.as_dict()),
        numerics=ParticleMesh(**{each.name: given[each.name] for each in fields(ParticleMesh)}),
        **{each.name: given[each.name] for each in fields(Suite) if each.name not in _OF_THEIR_OWN},
    )
    earlier = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _simulate(suite, given, command)
    except KeyboardInterrupt:
        told = f"\nStopped. The finished simulations are kept; go on with: {command} --resume"
        raise KeyboardInterrupt(told) from None
    finally:
        signal.signal(signal.SIGTERM, earlier)


def _simulate(suite: Suite, given: Namespace, command: str) -> None:
    from data_loaders import check_target, write_field

    out, folder = Path(given.out), Path(f"{given.out}.parts")
    if given.processes < 1:
        raise ValueError(f"--processes must be at least 1, not {given.processes}")
    check_target(out, given.overwrite, packing="log10")
    if given.overwrite and not given.resume:
        discard(folder)
    workers = max(1, (os.cpu_count() or 1) // given.processes)
    total = suite.num + suite.fiducial
    # Closed whatever happens: an interruption may come while the bar is drawn, and the processes must end then.
    with closing(run(suite, folder, given.processes, workers, given.resume)) as numbers:
        for _ in tqdm(numbers, "simulations", total):
            pass
    write_field(collect(suite, folder, command), out, overwrite=given.overwrite, packing="log10")
    discard(folder)
    print(f"{total} simulations, {total * 3 * suite.slabs} maps of {suite.grid}x{suite.grid} in {out}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 130 after Ctrl-C or SIGTERM."""
    try:
        return run_command("sciffusion-simulate", _command, argv)
    except KeyboardInterrupt as stopped:
        print(str(stopped) or "interrupted before the first simulation: nothing to resume", file=sys.stderr)
        return 130
