"""What the samples of a set were asked to be: coordinates along ``sample`` that fields are conditional on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from sciffusion.statistics.grid import name_of
from sciffusion.statistics.resampling import group_numbers

__all__ = ["condition_names", "conditions_of", "groups_of", "units_of"]

_PLACES = ("group", "split", "axis", "slab", "seed", "index", "object_id", "ra", "dec", "glon", "glat")
_QUALITIES = ("quality", "noise", "log_error", "norm", "log_norm")
"""Coordinates along ``sample`` that say where a sample comes from or how well it is known, not what was asked for."""
_LEAST_VALUES = 6
_DEPENDENT = 1e-8


def condition_names(*fields: xr.DataArray) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return which coordinates along ``sample`` the fields are conditional on, and of the others why not.

    A condition is a float that all fields carry, finite, with more than five values, and no linear function of those
    named before it. Names that say where a sample comes from (``ra``, ``seed``, ...) or end with ``_id``, ``_index`` or
    ``_error`` are left out.

    Parameters
    ----------
    *fields : DataArray (sample, ...)

    Returns
    -------
    names : tuple of str
        In the order of the first field.
    skipped : dict of str
        Reasons by name.

    Examples
    --------
    >>> coords = {"Omega_m": ("sample", np.linspace(0.1, 0.5, 9)), "seed": ("sample", np.arange(9))}
    >>> condition_names(xr.DataArray(np.zeros((9, 4)), dims=("sample", "x"), coords=coords))
    (('Omega_m',), {'seed': 'a label'})
    """
    names: list[str] = []
    skipped: dict[str, str] = {}
    for key, coordinate in fields[0].coords.items():
        name = str(key)
        if coordinate.dims != ("sample",) or name == "sample":
            continue
        reason = _label(name) or next((why for each in fields if (why := _unfit(each, name))), "")
        if not reason and any(_dependent(each, names, name) for each in fields):
            reason = f"a linear function of {', '.join(names)}"
        if reason:
            skipped[name] = reason
        else:
            names.append(name)
    return tuple(names), skipped


def conditions_of(field: xr.DataArray, names: Sequence[str]) -> np.ndarray:
    """Return the values of the conditions (sample, parameter), float64.

    Raises
    ------
    ValueError
        If one is missing, or no finite number of each sample.
    """
    if not names:
        told = ", ".join(f"{name} ({why})" for name, why in condition_names(field)[1].items()) or "none"
        raise ValueError(
            f"{name_of(field)} has no condition; expected a coordinate along 'sample' of floats with more than five "
            f"values. Left out: {told}"
        )
    for name in names:
        if name not in field.coords or field[name].dims != ("sample",) or field[name].dtype.kind not in "iufb":
            known = [str(key) for key, each in field.coords.items() if each.dims == ("sample",)]
            raise ValueError(
                f"{name_of(field)} has no number {name!r} along 'sample'; it has {', '.join(known) or 'none'}"
            )
        finite = np.isfinite(field[name].values)
        if not finite.all():
            raise ValueError(
                f"{name!r} of sample {int(np.argmin(finite))} of {name_of(field)} is not finite; "
                "leave the sample or the parameter out"
            )
    return np.stack([np.asarray(field[name].values, np.float64) for name in names], axis=1)


def units_of(field: xr.DataArray, name: str) -> str:
    """Return the units of a coordinate."""
    return str(field[name].attrs.get("units", ""))


def groups_of(field: xr.DataArray) -> np.ndarray:
    """Return the number of the group of each sample, by the coordinate ``group``; without it each is its own."""
    return group_numbers(field["group"].values if "group" in field.coords else None, field.sizes["sample"])


def _label(name: str) -> str:
    return "a label" if name in (*_PLACES, *_QUALITIES) or name.endswith(("_id", "_index", "_error")) else ""


def _unfit(field: xr.DataArray, name: str) -> str:
    """Return why a coordinate is no condition of one of the sets; empty if it is."""
    if name not in field.coords or field[name].dims != ("sample",):
        return "not in all sets"
    values = field[name].values
    if values.dtype.kind != "f":
        return "not a float"
    if not np.isfinite(values).all():
        return "not known of all samples"
    return "" if len(np.unique(values)) >= _LEAST_VALUES else f"fewer than {_LEAST_VALUES} values"


def _dependent(field: xr.DataArray, names: list[str], name: str) -> bool:
    """Return whether the last is a linear function of the others."""
    if not names:
        return False
    values = conditions_of(field, [*names, name])
    values = (values - values.mean(axis=0)) / values.std(axis=0)
    fit = np.linalg.lstsq(values[:, :-1], values[:, -1])[0]
    return bool(np.mean((values[:, -1] - values[:, :-1] @ fit) ** 2) < _DEPENDENT)
