"""Many spectra drawn for an object by what is known of it, and the best of them chosen by a matcher.

objects = read_conditions("sdss.npz", model)
drawn = best_of(model, matcher, objects, num=25)
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from sciffusion.config import SamplingConfig
from sciffusion.generate import Model
from sciffusion.inputs import refuse_other_grid
from sciffusion.match import Matcher
from sciffusion.nn.embed import MASK
from sciffusion.objects import Given, objects_of, read_candidates, read_conditions
from sciffusion.statistics.grid import is_spectrum

__all__ = ["LARGEST", "best_of", "read_candidates", "read_conditions"]

LARGEST = 2**20
"""Most candidates of an object: candidate j of object i is sample ``LARGEST i + j`` of the model at this seed."""
_SAMPLES = 256  # spectra in memory besides those that are returned


def best_of(
    model: Model,
    matcher: Matcher | None,
    conditions: Given,
    num: int = 25,
    *,
    top: int = 5,
    sampling: SamplingConfig | Mapping[str, Any] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> xr.Dataset:
    """Draw `num` candidates for each object and rank them by how well they fit what is known of it.

    Candidate j of object i depends on `seed`, i, j and the conditions of object i alone, to float tolerance: not on
    `num`, nor on how many objects there are or are drawn at once. An object is numbered by its place in `conditions`.

    Parameters
    ----------
    model : Model
        What draws.
    matcher : Matcher, optional
        What ranks; without one the candidates stay unranked.
    conditions : xarray.Dataset or mapping
        Physical values of the conditions of model and matcher, as `read_conditions` gives them, ``(sample, ...)``. What
        is not there, None or NaN is not known, neither to the model nor to the matcher; nothing is taken from the
        training set. What else a dataset holds is ignored, but for its coordinates along ``sample``, which stay.
    num : int
        Candidates of each object.
    top : int
        How many of the best ``top_mean`` is the mean of.
    sampling : SamplingConfig or mapping, optional
        As `Model.generate` takes it.
    seed : int
        Of everything random.
    progress : bool
        Show a progress bar.

    Returns
    -------
    xarray.Dataset
        The main variable (``flux`` of spectra) is the best match ``(sample, [channel,] *grid)``, without a matcher the
        first candidate; ``samples (sample, candidate, [channel,] *grid)`` in the order drawn; their
        ``mean``. With a matcher ``top_mean``, and by ``(sample, candidate)`` ``cosine``, ``probability`` (the softmax
        over the candidates of the object at the matcher's temperature) and ``rank``, 1 for the best. Of models whose
        transform has an amplitude, ``norm (sample, candidate)``.

    Raises
    ------
    ValueError
        If `num` or `top` is out of range, the model draws on another grid or in other units than the matcher knows,
        none of the model's conditions is there, or one is unknown or of another shape.

    Warns
    -----
    UserWarning
        Once for each condition that lies outside the range of a training set.
    """
    if not 1 <= num <= LARGEST:
        raise ValueError(f"num: expected 1 to {LARGEST} candidates of each object, got {num}")
    if matcher is not None:
        if not 1 <= top <= num:
            raise ValueError(f"top: expected 1 to {num} (the candidates of each object), got {top}")
        _refuse_other_model(model, matcher)
    objects = objects_of(conditions, [model] if matcher is None else [model, matcher])
    wanted = [name for name in model.conditions.names if name != MASK]
    if wanted and not set(wanted) & set(objects.variables):
        raise ValueError(f"no condition of this model is given; expected some of {', '.join(wanted)}")
    batch = sampling.batch_size if isinstance(sampling, SamplingConfig) else dict(sampling or {}).get("batch_size")
    step = max(1, max(_SAMPLES, batch or model.sampling.batch_size) // num)
    size = objects.sizes["sample"]
    found: dict[str, np.ndarray] = {}
    told: set[str] = set()
    bar = tqdm(total=size, desc="objects", unit="object", disable=None if progress else True)
    with bar:
        for start in range(0, size, step):
            block = objects.isel(sample=slice(start, start + step)).load()
            numbers = LARGEST * (start + np.arange(block.sizes["sample"]))[:, None] + np.arange(num)
            with _once(told):
                drawn = _draw(model, block, numbers, {"sampling": sampling, "seed": seed})
                parts = _described(drawn, num) | _ranked(matcher, block, drawn, top)
            for name, value in parts.items():
                if name not in found:
                    found[name] = np.empty((size, *value.shape[1:]), value.dtype)
                found[name][start : start + step] = value
            bar.update(len(numbers))
    return _labelled(found, drawn, objects, matcher, top)


def _refuse_other_model(model: Model, matcher: Matcher) -> None:
    """Raise unless the matcher knows what the model draws; before it is drawn."""
    described, coords = model.header["field"], model.checkpoint.coords
    dims = described["dims"]
    sizes = [0 if dim == "sample" else coords[dim].size if dim in coords else described["channels"] for dim in dims]
    none = xr.DataArray(np.empty(sizes), dict(coords), dims, attrs=described["attrs"])
    try:
        refuse_other_grid(matcher.checkpoint, none)
    except ValueError as error:
        raise ValueError(f"the matcher does not know what this model draws: {error}") from error


def _draw(model: Model, block: xr.Dataset, numbers: np.ndarray, how: Mapping[str, Any]) -> xr.DataArray:
    """Candidates of some objects, one object after the other."""
    own = np.repeat(np.arange(len(numbers)), numbers.shape[1])
    given = {}
    for name in model.conditions.names:
        if name in block.variables:
            given[name] = block[name].reset_coords(drop=True).isel(sample=own)
        elif name != MASK:
            given[name] = None
    drawn = model.generate(numbers.size, conditions=given, index=numbers.ravel().tolist(), progress=False, **how)
    return drawn.rename("flux") if is_spectrum(drawn) else drawn  # as files of spectra call it


def _described(drawn: xr.DataArray, num: int) -> dict[str, np.ndarray]:
    """What is kept of candidates whether they are ranked or not."""
    samples = _by_object(drawn.values, num)
    found = {"samples": samples, "mean": samples.mean(1, dtype=np.float64).astype(np.float32)}
    found |= {"norm": _by_object(drawn["norm"].values, num)} if "norm" in drawn.coords else {}
    return found | {str(drawn.name): samples[:, 0]}


def _ranked(matcher: Matcher | None, block: xr.Dataset, drawn: xr.DataArray, top: int) -> dict[str, np.ndarray]:
    """What a matcher finds of candidates, in the order drawn, and what it chooses."""
    if matcher is None:
        return {}
    num = drawn.sizes["sample"] // block.sizes["sample"]
    pixels = {name: c for name, c in drawn.coords.items() if "sample" in c.dims and c.ndim > 1}
    split = {name: (("sample", "candidate", *c.dims[1:]), _by_object(c.values, num)) for name, c in pixels.items()}
    axes = {name: c for name, c in drawn.coords.items() if "sample" not in c.dims}
    samples = _by_object(drawn.values, num)
    dims = ("sample", "candidate", *drawn.dims[1:])
    ranked = matcher.rank(block, xr.DataArray(samples, {**axes, **split}, dims, attrs=drawn.attrs))
    order = ranked["candidate_index"].values
    found = {"rank": 1 + np.argsort(order, axis=1)}
    for name in ("cosine", "probability"):
        found[name] = np.take_along_axis(ranked[name].values, found["rank"] - 1, axis=1)
    rows = np.arange(len(order))[:, None]
    found["top_mean"] = samples[rows, order[:, :top]].mean(1, dtype=np.float64).astype(np.float32)
    return found | {str(drawn.name): samples[rows[:, 0], order[:, 0]]}


def _by_object(values: np.ndarray, num: int) -> np.ndarray:
    return values.reshape(-1, num, *values.shape[1:])


def _labelled(
    found: Mapping[str, np.ndarray], drawn: xr.DataArray, objects: xr.Dataset, matcher: Matcher | None, top: int
) -> xr.Dataset:
    """Name what was found, with the units and the provenance of `drawn`."""
    name, num = str(drawn.name), found["samples"].shape[1]
    choice = "the first drawn" if matcher is None else "best match"
    units = {"units": drawn.attrs.get("units", "")}
    told = {
        name: drawn.attrs | {"choice": choice},
        "samples": units | {"long_name": "candidates, in the order drawn"},
        "mean": units | {"long_name": f"mean of {num} candidates"},
        "top_mean": units | {"long_name": f"mean of the {top} best candidates"},
        "norm": units | {"long_name": "amplitude of each candidate"},
        "cosine": {"long_name": "cosine between candidate and object"},
        "probability": {"long_name": "softmax of the cosines over the candidates"},
        "rank": {"long_name": "rank, 1 for the best"},
    }
    grid, scores = drawn.dims[1:], ("sample", "candidate")
    dims = {name: ("sample", *grid), "samples": (*scores, *grid), "mean": ("sample", *grid)}
    dims["top_mean"] = dims["mean"]
    made = {key: (dims.get(key, scores), value, told[key]) for key, value in found.items()}
    labels = {key: v for key, v in objects.variables.items() if v.dims in (("sample",), ("sample", *grid))}
    axes = {key: c for key, c in drawn.coords.items() if "sample" not in c.dims}
    ds = xr.Dataset({name: made.pop(name)} | made, {**labels, **axes}, {"field": name, "choice": choice})
    ds = ds.set_coords("norm") if "norm" in ds else ds
    return ds if matcher is None else ds.assign_attrs(matcher=matcher.checkpoint.fingerprint)


@contextmanager
def _once(told: set[str]) -> Iterator[None]:
    """Let each warning through once, whatever its numbers: the next block of objects would give it again."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for each in caught:
        text = re.sub(r"-?\d+(\.\d+)?(e[+-]?\d+)?", "#", str(each.message))
        if text not in told:
            told.add(text)
            warnings.warn(str(each.message), each.category, stacklevel=4)
