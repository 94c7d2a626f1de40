"""What is known of objects, and candidates for them: from files or in memory, as models and matchers take it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from data_loaders import main_variable, open_field
from data_loaders.access import SPECTRAL
from data_loaders.images import hold_images_alone, open_images
from sciffusion.conditions import field_of
from sciffusion.field import get_field
from sciffusion.nn.embed import MASK

if TYPE_CHECKING:
    from sciffusion.conditions import Conditions
    from sciffusion.generate import Model
    from sciffusion.match import Matcher

__all__ = ["Given", "objects_of", "read_candidates", "read_conditions"]

_ARCSEC = 3600.0
_LOOKED_AT = 16  # objects, to see which bands their survey has

Paths = str | os.PathLike | Sequence[str | os.PathLike]
Given = xr.Dataset | xr.DataArray | Mapping[str, Any]


def read_conditions(paths: Paths, of: Model | Matcher, **options: Any) -> xr.Dataset:
    """Read what a model or a matcher wants to know of objects, from files of images or of any reader of its field.

    Parameters
    ----------
    paths : path-like or sequence of path-like
        Images alone, or what ``sciffusion-train --data`` takes.
    of : Model or Matcher
        Its images have a size, bands and pixels, which these are brought to.
    **options
        Of the reader; what is not given is as in training, but for the choice of samples.

    Returns
    -------
    xarray.Dataset
        The conditions, with all else that the files hold: the field itself, where it is there, is the main variable.

    Raises
    ------
    data_loaders.DataError
        A file cannot be read, or its images cannot be brought to this form.

    Warns
    -----
    UserWarning
        Once, if the files lack conditions.
    """
    config, known = of.header["config"], of.conditions
    options = _form(known) | options
    if hold_images_alone(paths):
        data = open_images(paths, **options)
    else:
        listed = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
        trained = {key: value for key, value in config["options"].items() if key in SPECTRAL}
        data = get_field(config["field"]).read([Path(path) for path in listed], **(trained | options))
    if isinstance(data, xr.DataArray):
        data = data.to_dataset().assign_attrs(field=data.name)
    if lacking := [told for name in _wanted(of) for told in _lacking(known, data, name)]:
        warnings.warn(f"the files lack {', '.join(lacking)}: not known to the model", UserWarning, stacklevel=2)
    return data


def read_candidates(paths: Paths, matcher: Matcher, **options: Any) -> xr.DataArray:
    """Read fields for a matcher to rank: the ``samples`` that `best_of` drew for each object, or a library.

    Parameters
    ----------
    paths : path-like or sequence of path-like
        Files of any reader. Spectra come to the matcher's grid of wavelengths, with their errors and bad pixels.
    matcher : Matcher
        What will rank them.
    **options
        Of `data_loaders.open_field`.

    Returns
    -------
    xarray.DataArray
        ``(sample, candidate, [channel,] *grid)`` or ``(sample, [channel,] *grid)``.

    Raises
    ------
    data_loaders.DataError
        A file cannot be read.
    """
    listed = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if len(listed) == 1:
        ds = open_field(listed[0], **options)
        if "candidate" in ds.sizes and "samples" in ds:
            return ds["samples"]
        ds.close()
    if matcher.checkpoint.grid != ["wavelength"]:
        return main_variable(open_field(listed, **options))
    own = {"wavelength": matcher.checkpoint.coords["wavelength"].values}
    return field_of(get_field("spectra").read([Path(path) for path in listed], **(own | options)))


def objects_of(conditions: Given, of: Sequence[Model | Matcher]) -> xr.Dataset:
    """Return the conditions of objects, and what else is known of each along ``sample``; nothing is read yet.

    Parameters
    ----------
    conditions : xarray.Dataset, xarray.DataArray or mapping
        Labelled data with the conditions among their variables or coordinates; or values by name, one for all objects
        or one for each, None or NaN where they are not known.
    of : sequence of Model and Matcher
        Those who want to know.

    Returns
    -------
    xarray.Dataset
        Of the conditions of any of these those that are there, but for ``mask``: ``(sample, ...)``.

    Raises
    ------
    ValueError
        If there is no object, a mapping names an unknown condition, or gives one in another shape.
    """
    if isinstance(conditions, xr.DataArray | xr.Dataset):
        data = conditions.coords.to_dataset() if isinstance(conditions, xr.DataArray) else conditions
    else:
        data = _from_mapping(conditions, of)
    if "sample" not in data.sizes:
        data = data.expand_dims("sample")
    names = dict.fromkeys(name for each in of for name in _wanted(each))
    size = data.sizes["sample"]
    if not size:
        raise ValueError("expected the conditions of at least one object, got none")
    kept = {name: data[name].reset_coords(drop=True) for name in names if name in data.variables}
    kept = {name: v if "sample" in v.dims else v.expand_dims(sample=size) for name, v in kept.items()}
    labels = {name: c.variable for name, c in data.coords.items() if c.dims == ("sample",)}
    return xr.Dataset(kept).assign_coords(labels)


def _wanted(of: Model | Matcher) -> list[str]:
    """Names of what is asked of an object; maps of a matcher are of the candidates."""
    known = of.conditions
    maps = [name for name in known.maps if name != MASK and of.checkpoint.kind == "diffusion"]
    return [*known.scalars, *known.contexts, *maps]


def _from_mapping(given: Mapping[str, Any], of: Sequence[Model | Matcher]) -> xr.Dataset:
    """Conditions by name, bare or labelled, one for all objects or one for each, as a dataset."""
    found = {}
    for name, value in given.items():
        dims = next((_dims(each, name) for each in of if name in _wanted(each)), None)
        if dims is None:
            known = ", ".join(dict.fromkeys(known for each in of for known in _wanted(each)))
            raise ValueError(f"unknown condition {name!r}; known are {known}")
        if isinstance(value, xr.DataArray):
            found[name] = value.drop_vars("sample", errors="ignore").reset_coords(drop=True)
            continue
        array = np.asarray(np.nan if value is None else value, np.float64)
        fitting = {0: (), len(dims): dims, len(dims) + 1: ("sample", *dims)}
        if array.ndim not in fitting:
            raise ValueError(f"condition {name!r}: expected {('sample', *dims)}, got an array {array.shape}")
        if array.ndim or np.isfinite(array):
            found[name] = xr.DataArray(array, dims=fitting[array.ndim])
    ds = xr.Dataset(found)
    return ds.set_coords([name for name in found if ds[name].dims == ("sample",)])


def _dims(of: Model | Matcher, name: str) -> tuple[str, ...]:
    """Dims of one object's condition."""
    known = of.conditions
    return known.contexts[name].dims if name in known.contexts else tuple(of.checkpoint.grid * (name in known.maps))


def _form(known: Conditions) -> dict[str, Any]:
    """What images must look like: those that the model knows, if it knows any."""
    image = known.contexts.get("image")
    if image is None or image.dims != ("band", "y", "x"):
        return {}
    form: dict[str, Any] = {"size": image.sizes[2], "bands": list(image.labels)}
    return form | ({"pixel_scale": image.spacing[1] * _ARCSEC} if image.spacing[1] else {})


def _lacking(known: Conditions, data: xr.Dataset, name: str) -> Iterator[str]:
    """Yield the name of a condition that no object has; of a context, of its bands that the first objects lack."""
    if name not in data.variables:
        yield name
        return
    if name in known.contexts:
        channels = known.contexts[name].arrange(data[name].isel(sample=slice(_LOOKED_AT)))
        labels = known.contexts[name].labels or (name,)
        known_of = np.isfinite(channels.reshape(len(channels), len(labels), -1)).sum((0, 2))
        lost = [label for label, count in zip(labels, known_of.tolist()) if not count]
        yield from [f"{name} ({', '.join(lost)})"] if lost else []
    elif np.isnan(data[name].values.astype(np.float64)).all():
        yield name
