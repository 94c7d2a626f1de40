"""What is known of samples, taken out of a field and put back."""

import json

import numpy as np
import pytest
import xarray as xr

from sciffusion.transform import Minus, Relative, chain, from_dict

NAMES = ("relative:log_norm", "asinh:1", "minus:coarse", "standardize:x")


def fields(num=5, shape=(8,), seed=0):
    rng = np.random.default_rng(seed)
    dims = ("sample", *("z", "y", "x")[-len(shape) :])
    coords = {"log_norm": ("sample", rng.normal(1, 0.5, num)), "coarse": (dims, rng.normal(size=(num, *shape)))}
    coords["sample"] = np.arange(num) + 100
    return xr.DataArray(rng.normal(size=(num, *shape)), dims=dims, coords=coords, name="flux", attrs={"units": "K"})


@pytest.mark.parametrize("shape", [(8,), (4, 8), (2, 4, 8)])
def test_values_and_their_way_back(shape):
    field = fields(shape=shape)
    over = 10 ** field["log_norm"].values.reshape(-1, *[1] * len(shape))
    np.testing.assert_allclose(Relative("log_norm")(field), field.values / over)
    np.testing.assert_allclose(Minus("coarse")(field), field.values - field["coarse"].values)
    both = chain(NAMES).fit(field)
    detail = np.arcsinh(field.values / over) - field["coarse"].values
    axes = tuple(range(len(shape)))
    np.testing.assert_allclose(both(field), (detail - detail.mean(axes)) / detail.std(axes))
    back = from_dict(json.loads(json.dumps(both.to_dict()))).inverse(both(field))
    np.testing.assert_allclose(back, field)
    assert back.attrs["units"] == "K"


def test_a_coordinate_in_another_order_of_dims():
    field = fields(shape=(4, 8))
    turned = field.assign_coords(coarse=field["coarse"].transpose("x", "sample", "y"))
    np.testing.assert_array_equal(Minus("coarse")(turned), Minus("coarse")(field))


def test_what_is_not_known_is_told_by_sample():
    field = fields()
    field["coarse"][2, 3] = np.nan
    for step in (Minus("coarse"), Minus("coarse").inverse):
        with pytest.raises(ValueError, match=r"'coarse' of sample 102 is not known"):
            step(field)
    with pytest.raises(ValueError, match=r"needs the coordinate 'log_norm'; make it a condition"):
        Relative("log_norm")(field.drop_vars("log_norm"))
    with pytest.raises(ValueError, match=r"transform 'minus': expected .*minus:COORDINATE"):
        chain(["minus"])
