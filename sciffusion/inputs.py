"""Labelled data held against what a trained model knows: its grid and units, and values of its conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from sciffusion.units import conversion

if TYPE_CHECKING:
    from sciffusion.checkpoint import Checkpoint
    from sciffusion.conditions import Conditions

__all__ = ["condition_values", "refuse_other_grid"]


def refuse_other_grid(checkpoint: Checkpoint, field: xr.DataArray) -> None:
    """Raise `ValueError` unless `field` has the dims, the coordinates and the units of a model's training data.

    Wavelengths of one number are others in another frame or medium; where nothing is said of it, they are taken as the
    model's.
    """
    described = checkpoint.header["field"]
    if set(map(str, field.dims)) != set(described["dims"]):
        raise ValueError(f"expected a field of the dims {tuple(described['dims'])}, got {field.dims}")
    for dim in checkpoint.grid:
        own, its = checkpoint.coords[dim].values, field[dim].values
        if dim not in field.coords or own.shape != its.shape or not np.allclose(own, its, rtol=1e-6, atol=0):
            found = f"from {its[0]:g} to {its[-1]:g}" if dim in field.coords else "without a coordinate"
            raise ValueError(
                f"{dim}: expected the model's {own.size} pixels from {own[0]:g} to {own[-1]:g}, got {its.size} "
                f"{found}; read the field on that grid, or rebin it"
            )
        for name in ("frame", "medium"):
            mine, other = (axis.attrs.get(name) for axis in (checkpoint.coords[dim], field[dim]))
            if mine and other and mine != other:
                raise ValueError(
                    f"{dim}: expected the {name} {mine!r}, got {other!r}; read the field with {name}={mine}"
                )
    expected, units = described["attrs"].get("units", ""), field.attrs.get("units", "")
    if expected and units and units != expected and abs(conversion(units, expected) - 1) > 1e-9:
        raise ValueError(f"expected a field in {expected!r}, got {units!r}; convert it")


def condition_values(
    conditions: Conditions, names: Sequence[str], given: xr.Dataset | xr.DataArray | Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Return the physical values of the scalars and contexts `names`, NaN where `given` does not know them.

    Parameters
    ----------
    conditions : Conditions
        Of the model.
    names : sequence of str
        Some of its scalars and contexts.
    given : xarray.Dataset or mapping of str to float, array or xarray.DataArray
        Values, one for all samples or one for each; of labelled contexts the channels go by their names. What else
        labelled data hold is ignored.

    Returns
    -------
    dict of str to numpy.ndarray
        Of every name ``(num, ...)``.

    Raises
    ------
    ValueError
        If none of the names is there, a mapping has an unknown one, shapes do not fit, or a value is infinite.
    """
    labelled = isinstance(given, xr.Dataset | xr.DataArray)
    there = given.coords if isinstance(given, xr.DataArray) else given
    if unknown := [] if labelled else sorted(set(given) - set(names)):
        raise ValueError(f"unknown condition {unknown[0]!r}; this model knows {', '.join(names)}")
    arrays = {name: _plain(conditions, name, there[name]) for name in names if there.get(name) is not None}
    if not arrays:
        raise ValueError(f"no condition of this model is given; expected some of {', '.join(names)}")
    shapes = {name: conditions.table[name].shape[1:] for name in names}
    counts = {len(v) for name, v in arrays.items() if v.ndim > len(shapes[name])} or {1}
    if len(counts) > 1 or any(v.shape not in ((), shapes[n], (*counts, *shapes[n])) for n, v in arrays.items()):
        found = ", ".join(f"{name!r} {array.shape}" for name, array in arrays.items())
        expected = ", ".join(f"{name!r} {('sample', *shapes[name])}" for name in arrays)
        raise ValueError(f"the shapes of the conditions {found} do not fit together; expected {expected}")
    num = counts.pop()
    values = {name: np.full((num, *shape), np.nan, conditions.table[name].dtype) for name, shape in shapes.items()}
    for name, array in arrays.items():
        if np.isinf(array).any():
            raise ValueError(f"condition {name!r}: expected finite values, or nan for 'not known'")
        values[name][:] = array
    return values


def _plain(conditions: Conditions, name: str, value: Any) -> np.ndarray:
    """Values of one condition, the channels of a labelled context in the model's order."""
    if isinstance(value, xr.DataArray) and name in conditions.contexts:
        return conditions.contexts[name].arrange(value.rename(name))
    return np.asarray(value, np.float64)
