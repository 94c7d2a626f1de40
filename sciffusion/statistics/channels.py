"""How the channels of a joint field belong together: coherence of each pair, of two sets beside each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import xarray as xr

from sciffusion.statistics.contrast import log_field
from sciffusion.statistics.power import power_spectrum
from sciffusion.statistics.statistic import Averages, Measured, Parts, Score, Statistic

__all__ = ["Coherence"]


@dataclass(frozen=True)
class Coherence(Statistic):
    r"""Coherence :math:`r(k) = P_{ab} / \sqrt{P_{aa} P_{bb}}` of the mean spectra of each pair of channels.

    Of the logarithm of a channel where all its real values are positive.

    Attributes
    ----------
    names : tuple of str
        Of the channels.
    log : tuple of bool
        For each channel, whether its logarithm is taken.
    spectrum : DataArray (k,)
        A power spectrum, for its k and Nyquist frequency.
    """

    names: tuple[str, ...]
    log: tuple[bool, ...]
    spectrum: xr.DataArray
    name: str = field(default="coherence", init=False)

    @classmethod
    def of(cls, real: xr.DataArray, names: tuple[str, ...], log: tuple[bool, ...]) -> Coherence:
        """Take the wavenumbers from the first sample."""
        one = power_spectrum(real.isel(sample=0, channel=0))
        return cls(names, log, one.drop_vars([name for name in one.coords if name not in ("k", "modes")]))

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Numbers of the channels of each pair."""
        return list(combinations(range(len(self.names)), 2))

    def titles(self) -> list[str]:
        """Return the names of the pairs."""
        return [f"{self.names[a]} × {self.names[b]}" for a, b in self.pairs]

    def measure(self, part: xr.DataArray) -> dict[str, np.ndarray]:
        """Return ``auto`` (sample, channel, k) and ``cross`` (sample, pair, k)."""
        channels = [part.isel(channel=i) for i in range(len(self.names))]
        views = [log_field(one) if log else one for one, log in zip(channels, self.log)]
        auto = [power_spectrum(view, window="hann").values for view in views]
        cross = [power_spectrum(views[a], views[b], window="hann").values for a, b in self.pairs]
        return {"auto": np.stack(auto, axis=1), "cross": np.stack(cross, axis=1)}

    def averages(self, measured: Measured, weight: np.ndarray) -> dict[str, np.ndarray]:
        """Return the coherence (splits, pair, k)."""
        auto, cross = (np.tensordot(weight, measured[name], 1) for name in ("auto", "cross"))
        first, second = (auto[:, [pair[i] for pair in self.pairs]] for i in (0, 1))
        return {"coherence": cross / np.sqrt(first * second)}

    def scores(self, real: Measured) -> list[Score]:
        """Return the mean difference of the coherence of each pair, to half the Nyquist frequency."""
        band = (0.0, 0.5 * self.spectrum.attrs["nyquist"])
        inside = np.asarray(self.spectrum["k"] < band[1])
        return [_score(i, inside, band) for i in range(len(self.pairs))]

    def curves(self, parts: Parts) -> xr.Dataset:
        """Return the coherence of both sets and the 95 % range of real halves (pair, k)."""
        shape = parts.real["coherence"][0].shape
        low, high = (end.reshape(shape) for end in parts.floor(lambda a, _: a["coherence"].reshape(-1, np.prod(shape))))
        columns = {"real": parts.real["coherence"][0], "generated": parts.generated["coherence"][0]}
        columns |= {"floor_low": low, "floor_high": high}
        found = {name: (("pair", "k"), values, {"units": ""}) for name, values in columns.items()}
        return xr.Dataset(found, coords={**self.spectrum["k"].coords, "pair": self.titles()})


def _score(i: int, inside: np.ndarray, band: tuple[float, float]) -> Score:
    def distance(a: Averages, b: Averages) -> np.ndarray:
        return np.abs(a["coherence"] - b["coherence"])[:, i, inside].mean(axis=1)

    def value(a: Averages) -> np.ndarray:
        return a["coherence"][:, i, inside].mean(axis=1)

    return Score("coherence", "coherence, difference", distance, value, "", band)
