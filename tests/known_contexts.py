"""A field whose samples are decided by an image: two waves, the strengths of which are the means of its two bands."""

import numpy as np
import xarray as xr

from sciffusion.conditions import Conditions
from sciffusion.dataset import FieldDataset
from sciffusion.transform import Standardize

BANDS = ("g", "r")
PIXELS = 16


def waves(strength):
    """The noise-free spectra ``(sample, x)`` of images with these means ``(sample, band)``."""
    place = 2 * np.pi * np.arange(PIXELS) / PIXELS
    return np.asarray(strength) @ np.stack([np.sin(place), np.cos(2 * place)])


def toy(num=48, seed=0, noise=0.1, size=8):
    """Spectra, images whose noise has no say, a color of three bands that is not always known."""
    rng = np.random.default_rng(seed)
    strength = rng.normal(size=(num, 2))
    image = strength[:, :, None, None] + 0.3 * rng.normal(size=(num, 2, size, size))
    means = image.mean((2, 3))
    flux = waves(means) + noise * rng.normal(size=(num, PIXELS))
    magnitudes = rng.normal(18, 1, (num, 3))
    magnitudes[::5, 1] = np.nan
    axis = {"units": "deg", "boundary": "reflect"}
    return xr.Dataset(
        {
            "flux": (("sample", "x"), flux.astype(np.float32), {"units": "K"}),
            "image": (("sample", "band", "row", "column"), image.astype(np.float32), {"units": "nanomaggy"}),
            "magnitudes": (("sample", "channel"), magnitudes, {"units": "mag"}),
        },
        coords={
            "x": ("x", np.arange(PIXELS) + 0.5, {"units": "Mpc/h", "boundary": "reflect"}),
            "band": list(BANDS),
            "row": ("row", 0.1 * np.arange(size), axis),
            "column": ("column", 0.1 * np.arange(size), axis),
            "redshift": ("sample", rng.uniform(0.05, 0.15, num)),
            "group": ("sample", np.arange(num) // 2),
        },
        attrs={"field": "flux"},
    )


def dataset(ds, names=("image", "magnitudes", "redshift"), index=None, **options):
    """What a training draws its batches from."""
    index = np.arange(ds.sizes["sample"]) if index is None else index
    train = ds.isel(sample=index)
    return FieldDataset(ds, index, Standardize().fit(train["flux"]), Conditions.of(train, names), **options)
