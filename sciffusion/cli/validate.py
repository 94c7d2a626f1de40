"""``sciffusion-validate``: compare two files of fields, whoever made them; the exit status tells a machine how good."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser

from sciffusion.cli.common import add_settings, gather_options, run_command
from sciffusion.config import with_options

__all__ = ["BELOW", "ValidateConfig", "main"]

BELOW = 3
"""Exit status of a verdict below what is required; 1 and 2 say that nothing was judged."""


@dataclass(frozen=True)
class ValidateConfig:
    """Settings of ``sciffusion-validate``.

    Parameters
    ----------
    out
        Folder for the page (index.html), scores.json, tables and figures.
    train
        File of the training set: generated samples that are near copies of its samples are found. The real set must be
        held out from it.
    require
        ``gold``, ``silver`` or ``bronze``: the exit status is 3 if the verdict is below it.
    num
        Most samples to use of each file, evenly chosen; by default all.
    log
        Compare the logarithm too; by default if all real values are positive.
    group
        Coordinate along the samples whose values (simulations, objects) are kept together in the halves that make the
        floor; ``null`` treats each sample as its own group.
    splits
        Number of splits into halves.
    seed
        Of the splits.
    reader
        Name of the reader, for files that several readers match.
    dataset
        Path of the array inside HDF5 files of several.
    generated_dataset
        The same for the second file, where it is another path.
    box_size
        Length of the axes of bare arrays, in Mpc/h or with its unit, such as ``"1000 Angstrom"``.
    units
        Units of the values of bare arrays.
    boundary
        ``periodic``, ``reflect`` or ``zero``, of bare arrays.
    options
        Options of the reader of the first file, each by its name (``--options.size 128``).
    generated_options
        The same for the second file.
    train_options
        The same for the training set.
    diagnostics
        What to measure besides the usual, by names; without the flag everything that these data allow, with the flag
        alone nothing more.
    quick
        Leave out the costly tests of two samples: permutations and the classifier.
    symmetries
        Under which copies of training samples are looked for: roll, flip, rotate90; by default all that the grid of a
        field allows, none for spectra.
    overwrite
        Replace the files of an earlier comparison in the folder.
    """

    out: str
    train: str | None = None
    require: Literal["gold", "silver", "bronze"] | None = None
    num: int | None = None
    log: bool | None = None
    group: str | None = "group"
    splits: int = 200
    seed: int = 0
    reader: str | None = None
    dataset: str | None = None
    generated_dataset: str | None = None
    box_size: str | None = None
    units: str | None = None
    boundary: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    generated_options: dict[str, Any] = field(default_factory=dict)
    train_options: dict[str, Any] = field(default_factory=dict)
    diagnostics: list[str] | None = None
    quick: bool = False
    symmetries: list[str] | None = None
    overwrite: bool = False


def _validate(argv: Sequence[str]) -> int:
    parser = ArgumentParser(
        prog="sciffusion-validate",
        description="Compare two files of fields or spectra, every number beside its floor, with a verdict.",
        epilog="Exit status: 0 done; 1 bad input; 2 bad flags; 3 below what --require asks for.",
    )
    parser.add_argument("real", type=str, help="File of real fields.")
    parser.add_argument(
        "generated",
        type=str,
        help="File of fields to compare with them. Of one with several draws for each real object "
        "(sciffusion-sample --images) all are taken, and judged as draws too.",
    )
    add_settings(parser, ValidateConfig)
    settings = parser.parse_args(gather_options(argv)).as_dict()
    paths = settings.pop("real"), settings.pop("generated")
    config = ValidateConfig(**settings)

    from sciffusion.scorecard import level_number
    from sciffusion.validate import compare, refuse_existing

    refuse_existing(Path(config.out), config.overwrite)
    real = _open(paths[0], config, "options")
    generated = _open(paths[1], config, "generated_options")
    train = None if config.train is None else _open(config.train, replace(config, num=None), "train_options")
    try:
        comparison = compare(
            real,
            generated,
            train=train,
            log=config.log,
            group=config.group,
            seed=config.seed,
            splits=config.splits,
            diagnostics="all" if config.diagnostics is None else config.diagnostics,
            tests=not config.quick,
            symmetries=config.symmetries,
            progress=True,
        )
    except ValueError as error:
        named = f"{paths[0]} (real), {paths[1]} (generated)" + (f", {config.train} (train)" if config.train else "")
        raise ValueError(f"{named}: {error}") from error
    sources = {"real": paths[0], "generated": paths[1]} | ({"train": config.train} if config.train else {})
    comparison.scores["sources"] = sources
    comparison.write(config.out, overwrite=config.overwrite)
    print(comparison.summary())
    print(f"{config.out}: {', '.join(comparison.files)}")
    if config.require and level_number(comparison.level) < level_number(config.require):
        print(f"sciffusion-validate: {comparison.level}, required is {config.require}", file=sys.stderr)
        return BELOW
    return 0


def _open(path: str, config: ValidateConfig, options: str) -> Any:
    """Open one file lazily, with its labels and the options of this name, and choose its samples."""
    from data_loaders import main_variable, open_field

    given = {name: getattr(config, name) for name in ("reader", "dataset", "box_size", "units", "boundary")}
    if options == "generated_options" and config.generated_dataset:
        given["dataset"] = config.generated_dataset
    given = {name: value for name, value in given.items() if value is not None}
    data = open_field(path, **with_options(given, getattr(config, options), options))
    field = main_variable(data)
    if options == "generated_options" and "candidate" in data.sizes and "samples" in data and "dataset" not in given:
        field = data["samples"].assign_attrs(field.attrs).rename(field.name)  # all that were drawn, not the chosen ones
    if config.num is None:
        return field
    if config.num < 4:
        raise ValueError(f"--num {config.num}: at least 4 samples are needed")
    size = field.sizes["sample"]
    num = min(config.num, size)
    return field.isel(sample=[i * size // num for i in range(num)])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status, 3 if the verdict is below what is required."""
    return run_command("sciffusion-validate", _validate, argv)
