"""A cascade of models: one draws spectra of low resolution, the next draws them anew at a higher one.

cascade = load_cascade("runs/galaxy_spectra", "runs/galaxy_spectra_fine")
spectra = cascade.generate(16, conditions={"g_r": 0.7}, seed=1)

The second model knows the coarse spectrum as the map ``coarse`` and the scalar ``log_norm``, made from the first
model's spectra as from those that it was trained on (`data_loaders.spectra.coarse_shape`).

References
----------
Ho et al. 2022, arXiv:2106.15282.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from data_loaders.spectra.coarse import COARSE, LOG_NORM, WINDOW, coarse_shape
from data_loaders.spectra.preparation import parse_grid
from data_loaders.spectra.rebinning import rebin
from sciffusion.config import SamplingConfig
from sciffusion.generate import Model, load

__all__ = ["Cascade", "departure", "load_cascade"]

AXIS = "wavelength"
Sampling = SamplingConfig | Mapping[str, Any] | None


def load_cascade(coarse_path: str | Path, fine_path: str | Path, device: torch.device | str = "auto") -> Cascade:
    """Open two trained models as a cascade.

    Parameters
    ----------
    coarse_path, fine_path : str or pathlib.Path
        The folder of a run or a checkpoint file, of the model of low and of high resolution.
    device : torch.device or str
        ``"auto"`` takes an accelerator where there is one.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no diffusion model, or the fine model was not trained on the coarse one's pixels.
    """
    return Cascade((load(coarse_path, device), load(fine_path, device)))


@dataclass(frozen=True)
class Cascade:
    """Models of spectra of rising resolution, each conditional on what the one before it draws.

    Parameters
    ----------
    stages : tuple of Model
        From the lowest resolution to the highest. All but the first were trained with the option ``coarse`` of the
        field ``galaxy_spectra``, on the pixels of the one before.

    Raises
    ------
    ValueError
        If there are fewer than two, or one does not fit the one before it.
    """

    stages: tuple[Model, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", tuple(self.stages))
        if len(self.stages) < 2:
            raise ValueError(f"a cascade has two models or more, got {len(self.stages)}")
        for coarse, fine in pairwise(self.stages):
            _refuse_strangers(coarse, fine)

    def generate(
        self,
        num: int,
        *,
        conditions: Mapping[str, Any] | None = None,
        unconditional: bool = False,
        sampling: Sampling | Sequence[Sampling] = None,
        seed: int = 0,
        index: Sequence[int] | None = None,
        progress: bool = True,
    ) -> xr.DataArray:
        """Draw spectra of the highest resolution; parameters, errors and warnings are those of `Model.generate`.

        What the first model draws is what it draws alone with this `seed`.

        Parameters
        ----------
        num, unconditional, index, progress
            As of `Model.generate`.
        conditions : mapping
            Of any of the models, each handed to all that know it. What is not given, and known to the first model and
            a later one, is the same for both.
        sampling : SamplingConfig, mapping, or sequence of these
            For all models, or one for each. Of a single mapping the level of noise on maps, ``augmentation``, goes to
            the models that know of it.
        seed : int
            Of everything random; each model has noise of its own.

        Returns
        -------
        xarray.DataArray
            As of `Model.generate`, with ``coarse`` and ``log_norm`` among the coordinates. The attribute ``stages``
            holds the provenance of each model, ``network_calls`` those of all.
        """
        given, numbers = dict(conditions or {}), np.arange(num) if index is None else np.asarray(index)
        if unknown := set(given) - {name for stage in self.stages for name in self._open(stage)}:
            raise ValueError(f"unknown condition {min(unknown)!r}; known are {', '.join(self._names()) or 'none'}")
        if unconditional and given:
            raise ValueError("conditions and unconditional exclude each other: give one of them")
        first = self.stages[0]
        drawn = first.condition_values(numbers, None, unconditional, seed)
        shared = {name: drawn[name] for name in (*first.conditions.scalars, *first.conditions.contexts)}
        asked, made, out = self._settings(sampling), [], None
        for level, stage in enumerate(self.stages):
            own = {name: value for name, value in given.items() if name in self._open(stage)}
            alone = unconditional and out is None
            if out is not None:
                hidden = dict.fromkeys(self._open(stage)) if unconditional else {}
                own = hidden | {n: v for n, v in shared.items() if n in self._open(stage)} | own
                own |= _from_coarse(out, stage)
            call = {"sampling": asked[level], "seed": _seed(seed, level), "index": numbers, "progress": progress}
            out = stage.generate(num, conditions=own, unconditional=alone, **call)
            made.append(out)
        return _joined(made, self.stages, seed)

    def _open(self, stage: Model) -> list[str]:
        """Names of the conditions of a model that are not made by the one before it."""
        made = () if stage is self.stages[0] else (COARSE, LOG_NORM)
        return [name for name in stage.conditions.names if name not in made]

    def _names(self) -> list[str]:
        return list(dict.fromkeys(name for stage in self.stages for name in self._open(stage)))

    def _settings(self, sampling: Sampling | Sequence[Sampling]) -> list[Sampling]:
        """How each model draws."""
        if isinstance(sampling, Sequence):
            if len(sampling) != len(self.stages):
                raise ValueError(f"sampling: expected one for each of {len(self.stages)} models, got {len(sampling)}")
            return list(sampling)
        if not isinstance(sampling, Mapping):
            return [sampling] * len(self.stages)
        rest = {name: value for name, value in sampling.items() if name != "augmentation"}
        return [sampling if stage.augmentation else rest for stage in self.stages]


def departure(fine: xr.DataArray, coarse: xr.DataArray) -> xr.DataArray:
    """Return how far spectra, brought to low resolution, are from those that they were drawn from.

    Parameters
    ----------
    fine, coarse : xarray.DataArray (sample, wavelength)
        At high and at low resolution, in the same units. Bad pixels (coordinate ``mask``) of `fine` count nothing.

    Returns
    -------
    xarray.DataArray (sample, wavelength)
        ``fine`` rebinned minus ``coarse``, over the mean of ``coarse`` in the window of the amplitude; NaN where good
        pixels of ``fine`` cover less than half of a pixel.

    Examples
    --------
    >>> wavelength = np.arange(5800.0, 6840)
    >>> fine = xr.DataArray(np.ones((1, 1040)), dims=("sample", "wavelength"), coords={"wavelength": wavelength})
    >>> coarse = 2 * fine.isel(wavelength=slice(3, None, 8))
    >>> bool(np.allclose(departure(fine, coarse), -0.5))
    True
    """
    low, own = coarse[AXIS].values, fine.transpose("sample", AXIS)
    bad = own["mask"].values if "mask" in own.coords else None
    made, _, lost = rebin(own[AXIS].values, low, own.values.astype(np.float64), mask=bad)
    _, log_norm = coarse_shape(coarse.values, low, low)
    return coarse.copy(data=np.where(lost, np.nan, made - coarse.values) / 10 ** log_norm[:, None])


def _refuse_strangers(coarse: Model, fine: Model) -> None:
    """Raise `ValueError` unless `fine` was trained on spectra of the pixels of `coarse`."""
    where, option = fine.source or "the fine model", fine.header["config"].get("options", {}).get(COARSE)
    if option is None or COARSE not in fine.conditions.names:
        told = f"options.{COARSE} and the condition {COARSE!r}"
        raise ValueError(f"{where}: not conditional on spectra of low resolution; train it with {told}")
    axis, other = coarse.checkpoint.coords[AXIS], fine.checkpoint.coords[AXIS]
    wanted, there = parse_grid(option, where), axis.values
    if wanted.shape != there.shape or not np.allclose(wanted, there, rtol=1e-6, atol=0):
        found = f"{there.size} pixels from {there[0]:g} to {there[-1]:g}"
        raise ValueError(f"{where}: trained on coarse pixels {option!r}, the model before it draws {found}")
    for name in ("frame", "medium", "units"):
        if axis.attrs.get(name) != other.attrs.get(name):
            told = f"{axis.attrs.get(name)!r} in the model before it, here {other.attrs.get(name)!r}"
            raise ValueError(f"{where}: the {name} of the wavelengths is {told}")
    units = [stage.header["field"]["attrs"].get("units", "") for stage in (coarse, fine)]
    if units[0] != units[1]:
        raise ValueError(f"{where}: flux in {units[1]!r}, of the model before it in {units[0]!r}")


def _from_coarse(drawn: xr.DataArray, stage: Model) -> dict[str, np.ndarray]:
    """What a model is told of the spectra that the one before it drew."""
    low, grid = drawn[AXIS].values, stage.checkpoint.coords[AXIS].values
    shape, log_norm = coarse_shape(drawn.transpose("sample", AXIS).values, low, grid, window=WINDOW)
    told = {COARSE: shape, LOG_NORM: log_norm}
    return {name: value for name, value in told.items() if name in stage.conditions.names}


def _seed(seed: int, level: int) -> int:
    """Seed of a stage: the first has the set's own, the others have noise that is independent of it."""
    return int(np.random.SeedSequence([seed, level]).generate_state(1)[0]) if level else seed


def _joined(made: Sequence[xr.DataArray], stages: Sequence[Model], seed: int) -> xr.DataArray:
    """Return the last spectra with what the earlier models were conditional on, and the provenance of all."""
    out = made[-1]
    for earlier in made[:-1]:
        new = {name: c for name, c in earlier.coords.items() if c.dims == ("sample",) and name not in out.coords}
        out = out.assign_coords(new)
    own = [stage.header["field"]["attrs"] for stage in stages]
    provenance = [{k: v for k, v in part.attrs.items() if k not in attrs} for part, attrs in zip(made, own)]
    calls = sum(part.attrs["network_calls"] for part in made)
    return out.assign_attrs(seed=seed, network_calls=calls, stages=provenance)
