"""A trained matcher opened: which spectra fit what is known of an object.

matcher = load_matcher("runs/galaxy_spectra_matcher")
ranked = matcher.rank(galaxies, spectra, num=25)  # a library for all, or candidates of each
library = matcher.index(spectra)  # for a million: embedded once, searched often
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sciffusion import __version__
from sciffusion.checkpoint import Checkpoint
from sciffusion.conditions import BLOCK, Conditions, field_of, has_bad_pixels, read_condition
from sciffusion.generate import find_checkpoint, pick_device, refuse_other_weights
from sciffusion.inputs import condition_values, refuse_other_grid
from sciffusion.nn.config import MatcherConfig
from sciffusion.nn.embed import MASK, Condition
from sciffusion.nn.matcher import LARGEST_SCALE, SpectrumMatcher
from sciffusion.retrieval import SpectrumIndex
from sciffusion.transform import Transform, from_dict

__all__ = ["Matcher", "load_matcher"]

IDS = "object_id"
EMBEDDING = "embedding"


def load_matcher(path: str | Path, device: torch.device | str = "auto") -> Matcher:
    """Open a trained matcher.

    Parameters
    ----------
    path : str or pathlib.Path
        A checkpoint file, or the folder of a run of ``sciffusion-train --model matcher``.
    device : torch.device or str
        ``"auto"`` takes an accelerator where there is one.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, or no matcher.
    """
    source = find_checkpoint(path)
    return Matcher(Checkpoint.open(source), source, device)


@dataclass(frozen=True)
class Matcher:
    """A trained matcher with everything that turns labelled data into what its network takes.

    Parameters
    ----------
    checkpoint : Checkpoint
        As opened.
    source : pathlib.Path, optional
        Where it came from.
    device : torch.device or str
        Where the network runs.
    """

    checkpoint: Checkpoint
    source: Path | None = None
    device: torch.device | str = "auto"

    def __post_init__(self) -> None:
        where, known = self.source or "the checkpoint", self.conditions
        if self.checkpoint.kind != "matcher":
            raise ValueError(f"{where}: a {self.checkpoint.kind} model, which ranks nothing; train one by "
                             "sciffusion-train --model matcher")  # fmt: skip
        settings, boundary = self.header["config"]["matcher"], self.checkpoint.boundary
        names = known.scalars, known.maps, known.shapes

        def build() -> SpectrumMatcher:
            channels, config = self.header["field"]["channels"], MatcherConfig(**settings)
            return SpectrumMatcher(len(boundary), channels, boundary, *names, config=config)

        refuse_other_weights(self.source, settings, build, self.checkpoint.weights)
        network = build()
        network.load_state_dict(self.checkpoint.weights)
        object.__setattr__(self, "device", pick_device(self.device))
        object.__setattr__(self, "network", network.to(self.device).eval().requires_grad_(False))

    network: SpectrumMatcher = None  # type: ignore[assignment]  # built by __post_init__

    @property
    def header(self) -> dict[str, Any]:
        """The checkpoint's description: settings, transform, split, scores and provenance."""
        return self.checkpoint.header

    @property
    def transform(self) -> Transform:
        """The fitted transform from physical values to what the network sees."""
        return from_dict(self.header["transform"])

    @property
    def conditions(self) -> Conditions:
        """The conditions of the training set, those of both sides."""
        return Conditions.stored(self.checkpoint.conditions, self.header)

    @property
    def scale(self) -> float:
        """The learned inverse temperature of the cosines."""
        return min(float(self.network.log_scale.exp()), LARGEST_SCALE)

    def embed(self, field: xr.DataArray | xr.Dataset) -> xr.DataArray:
        """Embed fields in physical units.

        Parameters
        ----------
        field : xarray.DataArray or xarray.Dataset
            ``(sample, [channel,] *grid)`` on the grid and in the units of the training data; may be lazy. Bad pixels
            (coordinate ``mask``) and errors (``log_error``) are taken along where the matcher knows them.

        Returns
        -------
        xarray.DataArray
            Unit vectors ``(sample, embedding)``, float32, with the coordinates along ``sample``.

        Raises
        ------
        ValueError
            If the grid or the units are not the matcher's.

        Warns
        -----
        UserWarning
            If pixels are bad and the matcher has never seen a bad one.
        """
        field = field_of(field)
        refuse_other_grid(self.checkpoint, field)
        field = field.transpose("sample", ...)
        if MASK not in self.conditions.maps and has_bad_pixels(field):
            told = "the matcher was trained on data without bad pixels: what these hold counts like any other"
            warnings.warn(told, UserWarning, stacklevel=2)
        with torch.inference_mode():
            blocks = (field.isel(sample=slice(n, n + BLOCK)) for n in range(0, field.sizes["sample"], BLOCK))
            parts = [self.network.embed_fields(*self._tensors(block)).cpu() for block in blocks]
        return self._label(torch.cat(parts), field.coords)

    def embed_conditions(self, conditions: xr.Dataset | xr.DataArray | Mapping[str, Any]) -> xr.DataArray:
        """Embed what is known of objects.

        Parameters
        ----------
        conditions : xarray.Dataset or mapping of str to float, array or xarray.DataArray
            Physical values of the matcher's conditions, such as ``image (sample, band, y, x)`` or ``g_r (sample)``, one
            for all or one for each sample. What is missing, None or NaN is not known; a labelled image may lack bands
            and have them in any order. What else a dataset holds is ignored.

        Returns
        -------
        xarray.DataArray
            Unit vectors ``(sample, embedding)``, float32; labelled data give their coordinates along ``sample``.

        Raises
        ------
        ValueError
            If no condition of the matcher is there, a mapping names an unknown one, or a shape is another.

        Warns
        -----
        UserWarning
            If a condition lies outside the range of the training set.
        """
        known = self.conditions
        values = condition_values(known, (*known.scalars, *known.contexts), conditions)
        num = len(next(iter(values.values())))
        for name, value in values.items():
            if told := known.outside(name, value):
                equals = "" if name in known.contexts else "= "
                warnings.warn(f"{name} {equals}{told}: the matcher extrapolates", UserWarning, stacklevel=2)
        parts = []
        with torch.inference_mode():
            for start in range(0, num, BLOCK):
                cond = self._standardized({name: v[start : start + BLOCK] for name, v in values.items()})
                parts.append(self.network.embed_conditions(cond).cpu())
        return self._label(torch.cat(parts), getattr(conditions, "coords", {}))

    def index(self, field: xr.DataArray | xr.Dataset, dtype: str = "float32") -> SpectrumIndex:
        """Return a library of `field`, embedded once to be searched often; its ids are ``object_id``, if there."""
        field = field_of(field)
        ids, made_by = field.coords.get(IDS), {"checkpoint": self.checkpoint.fingerprint}
        return SpectrumIndex.of(self.embed(field).values, ids, dtype=dtype, attrs=made_by)

    def rank(
        self,
        conditions: xr.Dataset | xr.DataArray | Mapping[str, Any],
        candidates: xr.DataArray | xr.Dataset | SpectrumIndex,
        num: int | None = None,
    ) -> xr.Dataset:
        """Rank candidates by how well they fit what is known of each object.

        Parameters
        ----------
        conditions : xarray.Dataset or mapping
            As `embed_conditions` takes them.
        candidates : xarray.DataArray, xarray.Dataset or SpectrumIndex
            A library for all objects ``(sample, [channel,] *grid)`` or an index of it, or candidates of each object
            ``(sample, candidate, [channel,] *grid)``.
        num : int, optional
            How many of the best to return for each object; by default all.

        Returns
        -------
        xarray.Dataset
            By ``sample`` and ``candidate``, the best first: ``candidate_index``, its place among the candidates;
            ``candidate_id``, where they have an ``object_id``; ``cosine``; ``probability``, the softmax over all
            candidates of the object at the learned temperature; ``candidate_vector``, and of the objects ``vector``.

        Raises
        ------
        ValueError
            If the candidates are of other objects than the conditions, on another grid, of an index made by another
            matcher, or fewer than `num`.
        """
        query = self.embed_conditions(conditions)
        if not isinstance(candidates, SpectrumIndex) and "candidate" in (field := field_of(candidates)).dims:
            ranked = self._rank_own(query.values, field, num)
        else:
            library = candidates if isinstance(candidates, SpectrumIndex) else self.index(candidates)
            ranked = self._rank_library(query.values, library, num)
        dims = ("sample", "candidate", EMBEDDING)
        of_candidates = {name: (dims[: value.ndim], value) for name, value in ranked.items()}
        return query.to_dataset().assign(of_candidates).assign_attrs(query.attrs)

    def _rank_library(self, query: np.ndarray, library: SpectrumIndex, num: int | None) -> dict[str, np.ndarray]:
        """Rank one library for all objects."""
        if library.attrs.get("checkpoint") != self.checkpoint.fingerprint:
            raise ValueError(
                f"the library was embedded by the matcher {library.attrs.get('checkpoint')}, this one is "
                f"{self.checkpoint.fingerprint}: embed it again by Matcher.index"
            )
        index, cosine = library.search(query, len(library) if num is None else num)
        log_sum = library.log_sum(query, self.scale)
        return {
            "candidate_index": index,
            "candidate_id": library.ids[index],
            "cosine": cosine,
            "probability": np.exp(self.scale * cosine - log_sum[:, None]),
            "candidate_vector": library.vectors[torch.from_numpy(index)].float().cpu().numpy(),
        }

    def _rank_own(self, query: np.ndarray, field: xr.DataArray, num: int | None) -> dict[str, np.ndarray]:
        """Rank the candidates (sample, candidate, ...) of each object by themselves."""
        objects, each = field.sizes.get("sample", 0), field.sizes["candidate"]
        if objects != len(query):
            raise ValueError(f"candidates of {objects} objects for the conditions of {len(query)}: bring one row each")
        if num is not None and not 1 <= num <= each:
            raise ValueError(f"num: expected 1 to {each} (the candidates of each object), got {num}")
        # One after the other they are samples, with everything that hangs on them.
        flat = field.drop_vars(["sample", "candidate"], errors="ignore")
        flat = flat.stack(_row=("sample", "candidate"), create_index=False).rename(_row="sample")
        vectors = self.embed(flat).values.reshape(objects, each, -1)
        cosine = np.einsum("se,sce->sc", query, vectors)
        weight = np.exp(self.scale * (cosine - cosine.max(1, keepdims=True)).astype(np.float64))
        order = np.argsort(-cosine, axis=1, kind="stable")[:, :num]
        rows = np.arange(objects)[:, None], order
        ids = {"candidate_id": flat[IDS].values.reshape(objects, each)[rows]} if IDS in flat.coords else {}
        return ids | {
            "candidate_index": order,
            "cosine": cosine[rows],
            "probability": (weight / weight.sum(1, keepdims=True))[rows],
            "candidate_vector": vectors[rows],
        }

    def _tensors(self, block: xr.DataArray) -> tuple[Tensor, dict[str, Condition]]:
        """Fields of a block and their maps, as the network takes them; a map that the data lack is not known."""
        x = self.transform(block).values.astype(np.float32)
        num, grid = len(x), [self.checkpoint.coords[dim].size for dim in self.checkpoint.grid]
        values = {}
        for name in self.conditions.maps:
            lacking = np.full((num, *grid), 0.0 if name == MASK else np.nan, np.float32)
            values[name] = read_condition(block, name) if name in block.coords else lacking
        x = torch.from_numpy(x.reshape(num, self.header["field"]["channels"], *grid))
        return x.to(self.device), self._standardized(values)

    def _standardized(self, values: Mapping[str, np.ndarray]) -> dict[str, Condition]:
        """Turn the physical values of one side into what the network takes."""
        known = self.conditions
        cond = replace(known, table={name: known.table[name] for name in values}).standardize(values)
        return {name: Condition(c.value.to(self.device), c.present.to(self.device)) for name, c in cond.items()}

    def _label(self, vectors: Tensor, coords: Mapping[Any, xr.DataArray]) -> xr.DataArray:
        """Unit vectors with those of `coords` that are along ``sample``."""
        coords = {name: c for name, c in coords.items() if c.dims == ("sample",)}
        attrs = {"checkpoint": self.checkpoint.fingerprint, "sciffusion_version": __version__}
        return xr.DataArray(vectors.numpy(), dims=("sample", EMBEDDING), coords=coords, name="vector", attrs=attrs)
