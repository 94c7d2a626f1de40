"""Several fields of the same samples are the channels of one; anything else is refused with the difference."""

import numpy as np
import pytest
import xarray as xr

from data_loaders import DataError, main_variable, open_field, write_field


@pytest.fixture
def simulations(tmp_path, make_field):
    """Dark matter, gas and temperature of the same maps."""

    def make(name, seed, units="(Msun/h)/(Mpc/h)^2", **coords):
        ds = make_field(("y", "x"), (6, 4, 5), seed=seed).rename(density=name).drop_vars(["Omega_m", "good"])
        ds = ds.assign_coords(Omega_m=("sample", np.linspace(0.1, 0.3, 6)), **coords)
        ds[name].attrs.update(units=units, long_name=f"{name} map")
        ds.attrs = {"field": name, "suite": "TNG", "set": "LH", "source": "test", "seed": seed}
        write_field(ds, tmp_path / f"{name}.h5", overwrite=True)
        return tmp_path / f"{name}.h5", ds

    return make


def test_fields_become_channels(simulations):
    (a, cdm), (b, gas), (c, hot) = simulations("Mcdm", 1), simulations("Mgas", 2), simulations("T", 3, units="K")
    ds = open_field([a, b, c])
    field = main_variable(ds)
    assert field.dims == ("sample", "channel", "y", "x")
    assert (field.name, field.attrs["units"], field.attrs["long_name"]) == ("fields", "", "Mcdm map, Mgas map, T map")
    assert ds.channel.values.tolist() == ["Mcdm", "Mgas", "T"]
    assert ds.channel_units.values.tolist() == ["(Msun/h)/(Mpc/h)^2", "(Msun/h)/(Mpc/h)^2", "K"]
    assert ds.attrs == {"field": "fields", "suite": "TNG", "set": "LH", "source": "test"}
    assert not field.variable._in_memory
    expected = np.stack([cdm.Mcdm, gas.Mgas, hot["T"]], axis=1)
    np.testing.assert_array_equal(field, expected)
    np.testing.assert_array_equal(field[2], expected[2])
    np.testing.assert_array_equal(field[[4, 1], 2, ::-1], expected[[4, 1], 2, ::-1])
    np.testing.assert_array_equal(field[1:3, [2, 0, 0], 1], expected[1:3, [2, 0, 0], 1])
    np.testing.assert_array_equal(field.sel(channel="Mgas"), gas.Mgas)


def test_equal_units_are_those_of_the_whole(simulations):
    ds = open_field([simulations("Mcdm", 1)[0], simulations("Mgas", 2)[0]], samples=slice(0, 2))
    assert ds.fields.attrs["units"] == "(Msun/h)/(Mpc/h)^2"
    assert "channel_units" not in ds.coords
    assert ds.fields.shape == (2, 2, 4, 5)


@pytest.mark.parametrize("suffix", [".h5", ".fits", ".npy", ".zarr"])
def test_channels_are_written_and_read(simulations, tmp_path, suffix):
    ds = open_field([simulations("Mcdm", 1)[0], simulations("T", 3, units="K")[0]])
    write_field(ds, tmp_path / f"joint{suffix}")
    xr.testing.assert_identical(open_field(tmp_path / f"joint{suffix}"), ds)


def test_several_files_of_each_field(simulations, tmp_path):
    parts = {}
    for name, seed in (("Mcdm", 1), ("Mgas", 2)):
        _, ds = simulations(name, seed)
        for i, half in enumerate((ds.isel(sample=slice(0, 3)), ds.isel(sample=slice(3, 6)))):
            half = half.assign_coords(group=("sample", np.zeros(3, int)))
            parts[name, i] = tmp_path / f"{name}_{i}.h5"
            write_field(half.drop_vars(["split", "axis"]), parts[name, i])
    joint = open_field([parts["Mcdm", 0], parts["Mgas", 0], parts["Mcdm", 1], parts["Mgas", 1]])
    assert joint.fields.shape == (6, 2, 4, 5)
    assert joint.group.values.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(joint.fields[:, 1], open_field(tmp_path / "Mgas.h5").Mgas)


def test_masks_are_stacked_too(simulations):
    dims = ("sample", "y", "x")
    masks = [np.random.default_rng(i).random((6, 4, 5)) > 0.5 for i in range(2)]
    paths = [simulations(name, 1, mask=(dims, mask))[0] for name, mask in zip(("Mcdm", "Mgas"), masks)]
    ds = open_field(paths)
    assert ds.mask.dims == ds.fields.dims
    np.testing.assert_array_equal(ds.mask, np.stack(masks, axis=1))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda ds: ds.isel(sample=slice(0, 5)), r"dims \{'sample': 5, .* and \{'sample': 6"),
        (lambda ds: ds.isel(x=slice(0, 4)), r"'x': 4\} and .*'x': 5"),
        (lambda ds: ds.assign_coords(group=ds.group + 1), "'group' differs in 6 of 6 samples, first in sample 0"),
        (lambda ds: ds.assign_coords(Omega_m=ds.Omega_m * [1, 1, 1, 2, 1, 1]), "'Omega_m' differs in 1 of 6 samples"),
        (lambda ds: ds.assign_coords(x=("x", ds.x.values * 2, ds.x.attrs)), "the coordinate 'x' of the grid differs"),
        (lambda ds: ds.drop_vars("axis"), "the coordinate 'axis' is in one of them only"),
        (lambda ds: ds.assign_attrs(suite="SIMBA"), "suite 'SIMBA' and 'TNG'"),
        (lambda ds: ds.assign_attrs(redshift=1.0), "redshift 1.0 and None"),
        (lambda ds: ds.assign(ivar=ds.Mgas * 2), "besides the fields there are ivar"),
    ],
)
def test_other_samples_are_refused_with_the_difference(simulations, change, words):
    first, (path, ds) = simulations("Mcdm", 1)[0], simulations("Mgas", 2)
    write_field(change(ds), path, overwrite=True)
    with pytest.raises(DataError, match=rf"Mgas\.h5: 'Mgas' and 'Mcdm' of .*Mcdm\.h5 are no channels.*{words}"):
        open_field([first, path])


def test_channels_of_channels_are_refused(simulations, tmp_path, make_field):
    write_field(make_field(("y", "x"), (6, 4, 5), channels=2), tmp_path / "a.h5")
    with pytest.raises(DataError, match="one has channels already"):
        open_field([simulations("Mcdm", 1)[0], tmp_path / "a.h5"])
