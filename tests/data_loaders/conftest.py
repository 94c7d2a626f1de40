import numpy as np
import pytest
import xarray as xr

GRIDS = {1: ("x",), 2: ("y", "x"), 3: ("z", "y", "x")}


def labelled(grid, shape, *, channels=0, seed=0, dtype="float32"):
    """Fields with every kind of label: text, int64, float64, booleans, units, boundaries."""
    rng = np.random.default_rng(seed)
    samples, *lengths = shape
    axes = {
        dim: (dim, (np.arange(n) + 0.5) * 25 / n, {"units": "Mpc/h", "boundary": "periodic"})
        for dim, n in zip(grid, lengths)
    }
    coords = {
        "group": ("sample", np.arange(samples, dtype=np.int64) // 2 + 39_627_835_000_000_001),
        "split": ("sample", np.array(["train", "validation", "test"] * samples)[:samples]),
        "Omega_m": ("sample", rng.uniform(0.1, 0.5, samples), {"long_name": "matter density"}),
        "axis": ("sample", np.arange(samples, dtype=np.int32) % 3),
        "good": ("sample", rng.random(samples) > 0.5),
        "redshift": ((), 0.5),
        **axes,
    }
    dims = ("sample", *grid)
    if channels:
        dims, lengths = ("sample", "channel", *grid), [channels, *lengths]
        coords["channel"] = ("channel", np.array(list("griz"))[:channels])
    values = 10 ** rng.uniform(9, 14, (samples, *lengths))
    attrs = {"units": "(Msun/h)/(Mpc/h)^2", "long_name": "surface density"}
    ds = xr.Dataset({"density": (dims, values.astype(dtype), attrs)}, coords)
    ds.attrs = {"field": "density", "seed": 3, "steps": [50, 250], "note": "α ≤ 1"}
    return ds


@pytest.fixture
def make_field():
    return labelled


@pytest.fixture(params=[1, 2, 3], ids=["1D", "2D", "3D"])
def field(request):
    grid = GRIDS[request.param]
    return labelled(grid, (5, *(4, 6, 8)[: len(grid)]))
