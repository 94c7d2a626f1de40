"""What benchmarks of candidates share: objects that no training saw, spectra drawn for them once and kept, and tables.

Candidates are kept block by block in a folder, so that a stopped benchmark goes on where it ended, and tables and
figures can be made again without drawing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from data_loaders import main_variable, open_field, write_field
from sciffusion.conditions import field_of
from sciffusion.dataset import groups_of
from sciffusion.field import get_field
from sciffusion.generate import Model
from sciffusion.match import Matcher
from sciffusion.nn.embed import MASK
from sciffusion.pipeline import best_of
from sciffusion.statistics import compare_choices
from sciffusion.statistics.candidates import Measure, candidate_errors

BLOCK = 40  # objects that are drawn for and written at a time
_BATCH = 128  # spectra drawn at once
NEAREST = "nearest training spectrum"

Data = xr.DataArray | xr.Dataset


class Sides(NamedTuple):
    """Objects that neither model was trained on or chosen by, in memory, and the training set."""

    test: Data
    train: Data


def sides(model: Model | Matcher, other: Model | Matcher, files: list[str], num: int | None = None) -> Sides:
    """Return `num` objects held out from both models, evenly from all, and the training set of the first.

    Raises
    ------
    ValueError
        If no object of the data was held out from both.
    """
    config = model.header["config"]
    data = get_field(config["field"]).read(files or config["data"], **config["options"])
    group = groups_of(field_of(data))
    test, theirs, train = (
        np.isin(group, of.header["split"][name]) for of, name in ((model, "test"), (other, "test"), (model, "train"))
    )
    index = np.flatnonzero(test & theirs)
    if not len(index):
        raise ValueError("no object was held out from both models; train both on the same files, with the same seed")
    index = index[np.linspace(0, len(index) - 1, min(num or len(index), len(index))).astype(int)]
    return Sides(data.isel(sample=index).load(), data.isel(sample=np.flatnonzero(train)))


def candidates(
    model: Model, objects: Data, num: int, folder: Path, sampling: Mapping[str, Any] | None = None
) -> xr.DataArray:
    """Return `num` spectra drawn for each object; blocks that `folder` has are not drawn again.

    Returns
    -------
    DataArray (sample, candidate, wavelength)
        In the units of the data.

    Raises
    ------
    ValueError
        If the folder has candidates of another model, of other objects, or drawn otherwise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    group, parts = groups_of(field_of(objects)), []
    for start in tqdm(range(0, len(group), BLOCK), desc="drawing", unit=f" blocks of {BLOCK}"):
        rows, path = slice(start, start + BLOCK), folder / f"{start:06d}.h5"
        if not path.exists():
            some = objects.isel(sample=rows)
            how = {"batch_size": _BATCH, **(sampling or {})}
            write_field(best_of(model, None, some, num, sampling=how, seed=start, progress=False), path)
        kept = open_field(path)
        part, how = kept["samples"].load(), main_variable(kept).attrs
        expected = {"checkpoint": model.checkpoint.fingerprint, "steps": (sampling or {}).get("steps", how["steps"])}
        if {name: how[name] for name in expected} != expected or not np.array_equal(part["group"], group[rows]):
            raise ValueError(f"{path}: drawn by another model, for other objects or otherwise; remove {folder}")
        parts.append(part.reset_coords(drop=True).assign_attrs(how))
    return xr.concat(parts, "sample", combine_attrs="drop_conflicts")


def ranked(model: Model, matcher: Matcher, objects: Data, drawn: xr.DataArray) -> np.ndarray:
    """Return the cosines of candidates (sample, candidate), in the order drawn.

    As in `sciffusion.pipeline.best_of`; apart from drawing, so that another matcher can rank what was kept. A candidate
    has the maps that it was drawn under, such as the error of each pixel.
    """
    maps = [name for name in model.conditions.maps if name != MASK]
    drawn = drawn.assign_coords({name: objects[name].variable.set_dims(drawn.sizes) for name in maps})
    found = matcher.rank(objects, drawn)
    cosine = np.empty(found["cosine"].shape)
    np.put_along_axis(cosine, found["candidate_index"].values, found["cosine"].values, axis=1)
    return cosine


def errors_of(
    truth: xr.DataArray,
    drawn: xr.DataArray,
    scores: np.ndarray,
    others: Mapping[str, xr.DataArray],
    measures: Mapping[str, Measure],
) -> xr.DataArray:
    """Return the errors (measure, choice, sample) of the choices among candidates, and of other spectra by name.

    Besides those of `candidate_errors` the root mean square of each object, of which a few bad spectra are less.
    """
    parts = [candidate_errors(truth, drawn, scores, measures=measures)]
    for name, other in others.items():
        one = xr.DataArray(other.values[:, None], dims=drawn.dims, coords={"wavelength": truth["wavelength"]})
        one = one.assign_attrs(truth.attrs)
        if "redshift" in other.coords:
            one = one.assign_coords(redshift=(("sample", "candidate"), other["redshift"].values[:, None]))
        found = candidate_errors(truth, one, np.zeros((len(truth), 1)), measures=measures)
        parts.append(found.sel(choice=["random"]).assign_coords(choice=[name]))
    found = xr.concat(parts, "choice", join="inner")
    root = np.sqrt(found.sel(measure=["square error / noise"])).assign_coords(measure=["rms error / noise"])
    return xr.concat([root, found], "measure")


def pm(value: float, error: float) -> str:
    """Return a value with its error, in digits that the error allows."""
    if not np.isfinite([value, error]).all():
        return "–"
    digits = max(0, 1 - int(np.floor(np.log10(error)))) if error > 0 else 3
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def choice_rows(errors: xr.DataArray) -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows of a table of choices by measures; the best that can be had is bold."""
    found = compare_choices(errors)
    units = [f" [{u}]" if u else "" for u in found["units"]]
    columns = ["spectrum", *(f"{m}{u}" for m, u in zip(found["measure"], units))]
    choices = [str(name) for name in errors["choice"].values]
    rows = [[name, *(pm(row[name], row[f"{name} error"]) for row in found)] for name in choices]
    for place, row in enumerate(found, start=1):
        best = min((name for name in choices if name != "oracle best"), key=lambda name: row[name])
        mine = rows[choices.index(best)]
        mine[place] = f"**{mine[place]}**"
    rows.append(["objects", *(str(row["objects"]) for row in found)])
    return columns, rows


def difference_rows(errors: xr.DataArray, pairs: list[tuple[str, str]]) -> list[list[str]]:
    """Return for each measure the paired differences of two choices: relative to the second, and significance."""
    tables = [compare_choices(errors, *pair) for pair in pairs]
    rows = []
    for place, name in enumerate(tables[0]["measure"]):
        row = [str(name)]
        for table, (_, second) in zip(tables, pairs):
            each = table[place]
            part, error = (100 * each[what] / each[second] for what in ("difference", "difference error"))
            row += [f"{part:+.1f} ± {error:.1f} %", f"{each['p_value']:.4f}"]
        rows.append(row)
    return rows
