"""A kind of data as the rest of the package knows it: how it is read, seen by a network, and what its symmetries are.

A field is one frozen object. Those that come with the package and those of other packages are found by the same
mechanism, the entry-point group ``sciffusion.fields``; a script may also `register` one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Field", "field_names", "get_field", "register"]

GENERAL = Path(__file__).parent / "presets"

_registered: dict[str, Field] = {}


@dataclass(frozen=True)
class Field:
    """One kind of scientific field.

    Parameters
    ----------
    name : str
        What ``--field`` calls it.
    long_name : str
        What figures call it.
    read : callable
        ``read(paths, **options) -> xarray.DataArray`` with dims ``(sample, [channel,] *grid)``; or a dataset whose main
        variable that is, if its samples have contexts, such as images, beside it. `paths` is a sequence of files, empty
        for the packaged default; `options` are those of `data_loaders.open_field`.
    transform : tuple of str
        Names of the transforms from physical values to unit variance, in order.
    symmetries : tuple of str
        Names of the symmetries of its distribution.
    conditions : tuple of str
        Coordinates along ``sample``, or contexts, that a model is conditional on by default.
    preset : pathlib.Path, optional
        YAML file of the settings that suit it, which the command line starts from.
    diagnostics : tuple of str
        Names of what is measured of it after training besides the usual (`sciffusion.validate.compare`).
    invariances : tuple of str
        Names of the symmetries of its contexts that leave it as it is: a galaxy's spectrum does not know how the image
        is turned.
    """

    name: str
    long_name: str
    read: Callable[..., xr.DataArray | xr.Dataset]
    transform: tuple[str, ...]
    symmetries: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    preset: Path | None = None
    diagnostics: tuple[str, ...] = ()
    invariances: tuple[str, ...] = ()

    def presets(self, model: str) -> list[Path]:
        """Return the files of settings that suit a model of it, the later ones to win.

        Those of a ``matcher`` are the general ones, then, where there is such a file, ``NAME_matcher.yaml`` beside the
        field's own.
        """
        own = [] if self.preset is None else [self.preset]
        if model == "diffusion":
            return own
        found = [path.with_name(f"{path.stem}_{model}{path.suffix}") for path in own]
        return [GENERAL / f"{model}.yaml", *(path for path in found if path.is_file())]


def register(field: Field) -> Field:
    """Make `field` known by its name in this process, and return it."""
    _registered[field.name] = field
    return field


def field_names() -> list[str]:
    """Return the names of all known fields, without importing them."""
    return sorted({*_registered, *(entry.name for entry in entry_points(group="sciffusion.fields"))})


def get_field(name: str) -> Field:
    """Return the field called `name`.

    Raises
    ------
    ValueError
        If no such field is known; the message lists those that are.
    """
    if name in _registered:
        return _registered[name]
    for entry in entry_points(group="sciffusion.fields", name=name):
        return entry.load()
    raise ValueError(f"unknown field {name!r}; known are {', '.join(field_names()) or 'none'}")
