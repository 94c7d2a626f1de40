"""``sciffusion-match``: rank spectra, drawn or real, by how well they fit the image of each object."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from sciffusion.cli.common import add_settings, gather_options, run_command

__all__ = ["MatchConfig", "main"]

# No names of arrays in the annotations here: the parser would import what they come from to show its help.
_SHOWN = (5, 5)  # objects, and candidates of each
_LABELLED, _TABLE = (".h5", ".hdf5", ".nc"), ".ecsv"


@dataclass(frozen=True)
class MatchConfig:
    """Settings of ``sciffusion-match``.

    Parameters
    ----------
    checkpoint
        Folder of a run of ``sciffusion-train --model matcher``, or its checkpoint.
    candidates
        What is ranked: files of spectra, one library for all objects; what ``sciffusion-sample --images`` wrote, whose
        samples of each object are ranked for it; or a library that `save_index` wrote.
    images
        Files of images, or of whatever the matcher was trained on: its objects, in the order of the file.
    num
        How many of the best candidates of each object are given; by default 25, or all if there are fewer.
    out
        File to write: ``.h5`` or ``.nc`` with places, cosines, probabilities and embeddings, ``.ecsv`` with a row for
        each object and candidate.
    save_index
        Embed the candidates once, for later: a file to give as `candidates`.
    options
        Options of the reader of `images`, each by its name (``--options.size 32``).
    candidate_options
        The same for the candidates.
    device
        ``auto``, ``cpu``, ``cuda``, ...
    overwrite
        Replace existing files.
    """

    checkpoint: str
    candidates: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    num: int | None = None
    out: str | None = None
    save_index: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    candidate_options: dict[str, Any] = field(default_factory=dict)
    device: str = "auto"
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not self.candidates:
            raise ValueError("--candidates: expected at least one file")
        if bool(self.images) != bool(self.out) or not (self.out or self.save_index):
            raise ValueError("expected --images FILE with --out FILE, or --save_index FILE to embed the candidates")
        suffix = Path(self.out or "ranks.h5").suffix
        if suffix not in (*_LABELLED, _TABLE):
            raise ValueError(f"--out {self.out}: expected one of {', '.join((*_LABELLED, _TABLE))}")
        for path in filter(None, (self.out, self.save_index)):
            if Path(path).exists() and not self.overwrite:
                raise FileExistsError(f"{path} exists; give another name or replace it with --overwrite")


def _match(argv: Sequence[str]) -> None:
    parser = ArgumentParser(
        prog="sciffusion-match",
        description="Rank spectra, drawn or real, by how well they fit the image of each object.",
    )
    add_settings(parser, MatchConfig)
    config = MatchConfig(**parser.parse_args(gather_options(argv)).as_dict())

    from sciffusion.match import load_matcher
    from sciffusion.pipeline import read_conditions

    matcher = load_matcher(config.checkpoint, config.device)
    candidates = _candidates(config, matcher)
    if not config.out:
        return
    objects = read_conditions(config.images, matcher, **config.options)
    library = len(candidates)
    if "candidate" in getattr(candidates, "dims", ()):
        library = candidates.sizes["candidate"]
        candidates = _own(candidates, objects, config)
    ranked = matcher.rank(objects, candidates, min(25, library) if config.num is None else config.num)
    _write(ranked, Path(config.out), config.overwrite, shlex.join(["sciffusion-match", *argv]))
    print(_table(ranked, *_SHOWN))
    print(f"{config.out}: the best {ranked.sizes['candidate']} of {library} candidates for each of "
          f"{ranked.sizes['sample']} objects")  # fmt: skip


def _candidates(config: MatchConfig, matcher: Any) -> Any:
    """Candidates of each object, or a library: read, and embedded, where it is to be kept or was."""
    from sciffusion.pipeline import read_candidates
    from sciffusion.retrieval import SpectrumIndex

    if len(config.candidates) == 1 and Path(config.candidates[0]).suffix == ".safetensors":
        if config.save_index:
            raise ValueError(f"--save_index: {config.candidates[0]} is embedded already")
        return SpectrumIndex.open(config.candidates[0])
    candidates = read_candidates(config.candidates, matcher, **config.candidate_options)
    if not config.save_index:
        return candidates
    if "candidate" in candidates.dims:
        raise ValueError("--save_index embeds a library for all objects; these are candidates of each object")
    index = matcher.index(candidates)
    index.save(config.save_index, overwrite=config.overwrite)
    print(f"{config.save_index}: {len(index)} candidates embedded in {index.vectors.shape[1]} dimensions")
    return index


def _own(candidates: Any, objects: Any, config: MatchConfig) -> Any:
    """Candidates of each object, once it is seen that they were drawn for these objects in this order."""
    if "object_id" not in candidates.coords:
        return candidates
    drawn_for = candidates["object_id"].values
    if "object_id" in objects.coords and len(drawn_for) == objects.sizes["sample"]:  # else the matcher tells
        for i, (asked, drawn) in enumerate(zip(objects["object_id"].values.tolist(), drawn_for.tolist())):
            if asked != drawn:
                raise ValueError(
                    f"object {i} of {', '.join(config.images)} is {asked}, {config.candidates[0]} has candidates of "
                    f"{drawn} there; give the same objects in the same order"
                )
    return candidates.drop_vars("object_id")  # the object's, not the candidate's


def _write(ranked: Any, path: Path, overwrite: bool, command: str) -> None:
    """Write ranks as a labelled file, whose field is the cosine, or as a table."""
    from data_loaders import write_field
    from data_loaders.files import replacing

    if path.suffix == _TABLE:
        table = _table(ranked)
        table.meta = {"command": command, "checkpoint": ranked.attrs["checkpoint"]}
        with replacing(path, overwrite=overwrite) as temporary:
            table.write(temporary, format="ascii.ecsv", overwrite=True)
        return
    rank = [1 + i for i in range(ranked.sizes["candidate"])]
    axis = ("candidate", rank, {"units": "", "long_name": "rank", "boundary": "zero"})
    ranked = ranked.assign_coords(candidate=axis).assign_attrs(field="cosine", command=command)
    ranked["cosine"].attrs = {"units": "", "long_name": "cosine between candidate and object"}
    write_field(ranked, path, overwrite=overwrite)


def _table(ranked: Any, objects: int | None = None, candidates: int | None = None) -> Any:
    """Ranks as a table, a row for each object and candidate: all, or the first ones."""
    import numpy as np
    from astropy.table import Table

    ranked = ranked.isel(sample=slice(objects), candidate=slice(candidates))
    num, each = ranked.sizes["sample"], ranked.sizes["candidate"]
    table = Table({"object": np.repeat(np.arange(num), each)})
    if "object_id" in ranked.coords:
        table["object_id"] = np.repeat(ranked["object_id"].values, each)
    table["rank"] = np.tile(1 + np.arange(each), num)
    for name in ("candidate_index", "candidate_id", "cosine", "probability"):
        if name in ranked:
            table[name] = ranked[name].values.ravel()
    for name in ("cosine", "probability"):
        column: Any = table[name]
        column.info.format = ".4g"
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    return run_command("sciffusion-match", _match, argv)
