"""Fields whose power is a known function of two parameters: P = exp(amplitude) (k / k_Nyquist)^slope."""

import numpy as np
import xarray as xr

from sciffusion.statistics.split import halves, weights
from sciffusion.statistics.statistic import Parts, measure

SHAPES = {1: (96,), 2: (24, 21), 3: (10, 12, 11)}


def conditional(amplitude, slope, shape, seed=0, lognormal=False, boundary="periodic"):
    """Gaussian fields, or exponentials of them, with the coordinates ``amplitude`` and ``slope`` [K]."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*(2 * np.pi * np.fft.fftfreq(n) for n in shape), indexing="ij")
    k = np.sqrt(sum(axis**2 for axis in axes))
    k[(0,) * len(shape)] = np.inf
    some = (slice(None), *(None,) * len(shape))
    power = np.exp(np.asarray(amplitude)[some] + np.asarray(slope)[some] * np.log(np.where(np.isinf(k), 1, k) / np.pi))
    spatial = tuple(range(1, len(shape) + 1))
    noise = np.fft.fftn(rng.normal(size=(len(amplitude), *shape)), axes=spatial)
    values = np.fft.ifftn(noise * np.sqrt(power) * np.isfinite(k), axes=spatial).real
    dims = ("z", "y", "x")[-len(shape) :]
    coords = {d: (d, np.arange(float(n)), {"units": "Mpc", "boundary": boundary}) for d, n in zip(dims, shape)}
    coords |= {"amplitude": ("sample", np.asarray(amplitude, float)), "slope": ("sample", np.asarray(slope, float))}
    coords["slope"] = (*coords["slope"], {"units": "K"})
    values = np.exp(values) if lognormal else values
    return xr.DataArray(values, dims=("sample", *dims), coords=coords, name="map", attrs={"units": ""})


def latin(samples, seed=0, siblings=1):
    """Parameters drawn evenly: amplitude in -1 ... 1, slope in -2 ... -1; each for so many samples."""
    rng = np.random.default_rng(seed)
    drawn = rng.uniform(-1, 1, samples), rng.uniform(-2, -1, samples)
    return tuple(np.repeat(each, siblings) for each in drawn)


def parts_of(statistic, real, generated, splits=100):
    """The numbers of two sets, of halves of the first, and of as many samples of the second; each its own group."""
    samples = tuple(measure([statistic], each)[0] for each in (real, generated))
    groups = tuple(np.arange(each.sizes["sample"]) for each in (real, generated))
    rng = np.random.default_rng(0)
    first, second = halves(groups[0], splits, rng)
    drawn = np.array([rng.permutation(groups[1])[: first.shape[1]] for _ in range(splits)])
    subsets = [weights(index, len(groups[which])) for index, which in ((first, 0), (second, 0), (drawn, 1))]
    return Parts.of(statistic, samples, groups, tuple(subsets))


def rows_of(statistic, parts):
    """What a table tells of each line."""
    found = {}
    for score in statistic.scores(parts.samples[0]):
        found[score.name] = {
            "score": float(score.distance(parts.drawn, parts.first).mean()),
            "p95": float(np.quantile(score.distance(parts.second, parts.first), 0.95)),
            "all": float(score.distance(parts.generated, parts.real)[0]),
            "real": float(score.value(parts.real)[0]),
            "generated": float(score.value(parts.generated)[0]),
            "units": score.units,
            "band": score.band,
        }
    return found
