"""``sciffusion-simulate``: fields from first principles, where no file is at hand."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from data_loaders.simulate import galaxies, suite
from data_loaders.simulate.cosmology import Cosmology
from data_loaders.simulate.galaxies import Galaxies
from data_loaders.simulate.nbody import ParticleMesh
from data_loaders.simulate.pieces import Pieces, discard, finish
from data_loaders.simulate.suite import Suite
from sciffusion.cli.common import run_command

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["SIMULATIONS", "main", "parser", "value_range"]


@dataclass(frozen=True)
class Simulation:
    """How a field is simulated.

    Parameters
    ----------
    description : str
        For the help.
    add_flags : callable
        Gives a parser the flags of the settings.
    settings : callable
        Returns the set that parsed flags describe.
    collect : callable
        Joins the finished pieces of the set in a folder, made by a command, to a dataset.
    packing : str or None
        How the file is packed.
    """

    description: str
    add_flags: Callable[[ArgumentParser], None]
    settings: Callable[[Namespace], Pieces]
    collect: Callable[[Any, Path, str], xr.Dataset]
    packing: str | None = None


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


_OF_THEIR_OWN: set[str | int] = {"Omega_m", "sigma_8", "cosmology", "numerics"}


def _matter_flags(flags: ArgumentParser) -> None:
    flags.add_argument("--Omega_m", default="0.1:0.5", help="range LOW:HIGH of the hypercube, or one value")
    flags.add_argument("--sigma_8", default="0.6:1.0", help="range LOW:HIGH of the hypercube, or one value")
    flags.add_class_arguments(Suite, skip=_OF_THEIR_OWN)
    flags.add_class_arguments(Cosmology, "cosmology", help="fiducial parameters")
    flags.add_class_arguments(ParticleMesh)


def _matter(given: Namespace) -> Suite:
    return Suite(
        Omega_m=value_range(given.Omega_m),
        sigma_8=value_range(given.sigma_8),
        cosmology=Cosmology(**given.cosmology.as_dict()),
        numerics=ParticleMesh(**{each.name: given[each.name] for each in fields(ParticleMesh)}),
        **{each.name: given[each.name] for each in fields(Suite) if each.name not in _OF_THEIR_OWN},
    )


def _galaxy_flags(flags: ArgumentParser) -> None:
    flags.add_argument("--redshift", default="0.05:0.15", help="range LOW:HIGH, within 0.02:0.17")
    flags.add_class_arguments(Galaxies, skip={"redshift"})


def _galaxies(given: Namespace) -> Galaxies:
    others = {each.name: given[each.name] for each in fields(Galaxies) if each.name != "redshift"}
    return Galaxies(redshift=value_range(given.redshift), **others)


SIMULATIONS = {
    "cdm": Simulation(
        "Simulate dark matter (total matter, gravity alone) with a particle-mesh code on a Latin hypercube of "
        "cosmologies and write maps of its surface density in (Msun/h)/(Mpc/h)^2: 15 a simulation, 3 axes x 5 slabs of "
        "5 Mpc/h. For galaxies: --field galaxy_spectra --help.",
        _matter_flags,
        _matter,
        suite.collect,
        "log10",
    ),
    "galaxy_spectra": Simulation(
        "Simulate galaxies of bulge and disc as SDSS records them: images in five bands, spectra with their errors, "
        "and the truth about stars, dust and gas.",
        _galaxy_flags,
        _galaxies,
        galaxies.collect,
    ),
}
"""By the name of the field."""


def parser(field: str = "cdm") -> ArgumentParser:
    """Return the parser of the command's flags, those of the field's settings among them."""
    flags = ArgumentParser(prog="sciffusion-simulate", description=SIMULATIONS[field].description)
    flags.add_argument("--field", choices=list(SIMULATIONS), default=field, help="what to simulate")
    flags.add_argument("--out", required=True, help="file to write: .h5 or .nc (compressed)")
    flags.add_argument("--overwrite", action="store_true", help="replace the file and an unfinished run beside it")
    flags.add_argument("--resume", action="store_true", help="go on with the unfinished run beside the file")
    flags.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="simulations at a time")
    SIMULATIONS[field].add_flags(flags)
    return flags


def _field(argv: Sequence[str]) -> str:
    """Which field the words ask for; it decides which further flags there are."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--field", default="cdm")
    name = first.parse_known_args(argv)[0].field
    return name if name in SIMULATIONS else "cdm"


def _command(argv: Sequence[str]) -> None:
    given = parser(_field(argv)).parse_args(list(argv))
    # An interruption leaves no trace in the data: neither does its flag in their record.
    command = shlex.join(["sciffusion-simulate", *(word for word in argv if word != "--resume")])
    earlier = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _simulate(SIMULATIONS[given.field], given, command)
    except KeyboardInterrupt:
        told = f"\nStopped. The finished simulations are kept; go on with: {command} --resume"
        raise KeyboardInterrupt(told) from None
    finally:
        signal.signal(signal.SIGTERM, earlier)


def _simulate(simulation: Simulation, given: Namespace, command: str) -> None:
    from data_loaders import check_target, write_field

    pieces = simulation.settings(given)
    out, folder = Path(given.out), Path(f"{given.out}.parts")
    if given.processes < 1:
        raise ValueError(f"--processes must be at least 1, not {given.processes}")
    check_target(out, given.overwrite, packing=simulation.packing)
    if given.overwrite and not given.resume:
        discard(folder)
    workers = max(1, (os.cpu_count() or 1) // given.processes)
    finish(pieces, folder, given.processes, workers, given.resume)
    ds = simulation.collect(pieces, folder, command)
    write_field(ds, out, overwrite=given.overwrite, packing=simulation.packing)
    discard(folder)
    field = ds[ds.attrs["field"]]
    print(f"{len(pieces.names())} {pieces.piece}: {dict(field.sizes)} in {out}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 130 after Ctrl-C or SIGTERM."""
    try:
        return run_command("sciffusion-simulate", _command, argv)
    except KeyboardInterrupt as stopped:
        print(str(stopped) or "interrupted before the first simulation: nothing to resume", file=sys.stderr)
        return 130
