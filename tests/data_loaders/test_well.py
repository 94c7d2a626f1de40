import h5py
import numpy as np
import pytest
from makers_fields import WELL_SHAPE, write_well

from data_loaders import DataError, main_variable, open_field

B, T, X, Y = WELL_SHAPE


@pytest.fixture
def well(tmp_path):
    path = tmp_path / "turbulence.hdf5"
    return path, write_well(path)


def test_each_step_of_each_trajectory_is_a_sample(well):
    path, arrays = well
    ds = open_field(path, dataset="density")
    field = main_variable(ds)
    assert field.dims == ("sample", "x", "y")
    np.testing.assert_array_equal(field.values.reshape(B, T, X, Y), arrays["density"])
    np.testing.assert_array_equal(field[[9, 2], 1:3].values, arrays["density"].reshape(-1, X, Y)[[9, 2], 1:3])
    np.testing.assert_array_equal(ds.group, np.repeat(np.arange(B), T))
    np.testing.assert_array_equal(ds.step, np.tile(np.arange(T), B))
    np.testing.assert_array_equal(ds.time, np.tile(np.arange(T) * 0.5, B))
    np.testing.assert_array_equal(ds.forcing, np.repeat(np.arange(B), T))
    np.testing.assert_array_equal(ds.energy, np.arange(B * T))
    assert set(ds.Reynolds.values) == {100.0}
    assert (ds.x.attrs["boundary"], ds.y.attrs["boundary"]) == ("periodic", "reflect")
    np.testing.assert_allclose(ds.x, np.arange(X) / X, rtol=1e-6)


@pytest.mark.parametrize(("step", "at"), [(0, 0), (-1, T - 1)])
def test_one_step(well, step, at):
    path, arrays = well
    ds = open_field(path, dataset="t0_fields/density", step=step)
    np.testing.assert_array_equal(ds.density, arrays["density"][:, at])
    assert ds.group.values.tolist() == [0, 1, 2]
    assert set(ds.step.values.tolist()) == {at}


def test_components_are_channels(well):
    path, arrays = well
    velocity = open_field(path, dataset="velocity")
    assert velocity.channel.values.tolist() == ["x", "y"]
    np.testing.assert_array_equal(
        velocity.velocity.values.reshape(B, T, 2, X, Y), np.moveaxis(arrays["velocity"], -1, 2)
    )
    stress = open_field(path, dataset="stress", step=1)
    assert stress.channel.values.tolist() == ["xx", "xy", "yx", "yy"]
    np.testing.assert_array_equal(stress.stress.sel(channel="xy"), arrays["stress"][:, 1, ..., 0, 1])


def test_a_field_that_does_not_vary(well):
    path, arrays = well
    terrain = open_field(path, dataset="terrain").terrain
    assert terrain.shape == (B * T, X, Y)
    np.testing.assert_array_equal(terrain[7], arrays["terrain"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, r"4 fields; name one with dataset= .*t0_fields/density \(3, 4, 5, 6\)"),
        ({"dataset": "flux"}, "'flux' names 0 fields"),
        ({"dataset": "density", "step": 4}, "step=4: there are 4, numbered from 0"),
        ({"dataset": "density", "units": "K"}, "the file says units = ''"),
    ],
)
def test_options_that_do_not_fit(well, options, words):
    with pytest.raises(DataError, match=rf"turbulence\.hdf5: .*{words}"):
        open_field(well[0], **options)


def test_a_file_that_contradicts_itself(well):
    path, _ = well
    with h5py.File(path, "a") as file:
        file.attrs["n_trajectories"] = 2
    with pytest.raises(DataError, match=r"expected axes \(trajectory, step, x, y\) of lengths \(2, 4, 5, 6\), found"):
        open_field(path, dataset="density")


def test_a_boundary_that_is_not_known(well):
    path, _ = well
    with h5py.File(path, "a") as file:
        file["boundary_conditions/x_boundary"].attrs["bc_type"] = "twisted"
    with pytest.raises(DataError, match="bc_type 'twisted' is not known; known: periodic, wall, open"):
        open_field(path, dataset="density")
