"""Transforms by a coordinate of the samples: what is known of them is taken out, and put back at the end.

A model of what is left must be conditional on that coordinate, so that drawn samples have it.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
import xarray as xr

from sciffusion.transform.base import Transform

__all__ = ["Minus", "Relative"]


@dataclass(frozen=True)
class _ByCoordinate(Transform):
    coordinate: str

    def _forward(self, field: xr.DataArray) -> np.ndarray:
        return self._without(field.values, self._known(field))

    def _backward(self, field: xr.DataArray) -> np.ndarray:
        return self._with(field.values, self._known(field))

    def _known(self, field: xr.DataArray) -> np.ndarray:
        """Return the coordinate, spread over the field."""
        if self.coordinate not in field.coords:
            raise ValueError(f"the transform needs the coordinate {self.coordinate!r}; make it a condition")
        # The variable alone: an array would read and spread all that hangs on the samples.
        known = field.coords[self.coordinate].variable
        values = known.set_dims(dict(field.sizes)).transpose(*field.dims).values
        unknown = ~np.isfinite(values).reshape(len(values), -1).all(1)
        if unknown.any():
            row = int(np.argmax(unknown))
            sample = field["sample"].values[row] if "sample" in field.coords else row
            told = f"{self.coordinate!r} of sample {sample} is not known, and the transform needs it"
            raise ValueError(f"{told}; give it, or leave such samples out")
        return values

    @abstractmethod
    def _without(self, values: np.ndarray, known: np.ndarray) -> np.ndarray: ...

    @abstractmethod
    def _with(self, values: np.ndarray, known: np.ndarray) -> np.ndarray: ...


class Minus(_ByCoordinate):
    """The field minus a coordinate along ``sample`` or on its grid: such as what a map of low resolution lacks.

    Parameters
    ----------
    coordinate : str
        Its name.

    Examples
    --------
    >>> import xarray as xr
    >>> coords = {"coarse": (("sample", "x"), [[1.0, 2.0]])}
    >>> field = xr.DataArray([[1.5, 1.75]], dims=("sample", "x"), coords=coords)
    >>> detail = Minus("coarse")(field)
    >>> detail.values.tolist(), Minus("coarse").inverse(detail).values.tolist()
    ([[0.5, -0.25]], [[1.5, 1.75]])
    """

    def _without(self, values: np.ndarray, known: np.ndarray) -> np.ndarray:
        return values - known

    def _with(self, values: np.ndarray, known: np.ndarray) -> np.ndarray:
        return values + known


class Relative(_ByCoordinate):
    """The field over ten to the power of a coordinate: its shape, where the amplitude is known.

    Parameters
    ----------
    coordinate : str
        Name of the decimal logarithm of the amplitude, along ``sample`` or on the grid.

    Examples
    --------
    >>> import xarray as xr
    >>> coords = {"log_norm": ("sample", [1.0])}
    >>> field = xr.DataArray([[5.0, 20.0]], dims=("sample", "x"), coords=coords)
    >>> shape = Relative("log_norm")(field)
    >>> shape.values.tolist(), Relative("log_norm").inverse(shape).values.tolist()
    ([[0.5, 2.0]], [[5.0, 20.0]])
    """

    def _without(self, values: np.ndarray, known: np.ndarray) -> np.ndarray:
        return values / 10.0**known

    def _with(self, values: np.ndarray, known: np.ndarray) -> np.ndarray:
        return values * 10.0**known
