import pickle
import subprocess
import sys
import tracemalloc

import h5py
import numpy as np
import pytest
from makers_fields import MASS_OF_ONE, particles
from makers_fields import SNAPSHOT_BOX as BOX
from makers_fields import write_snapshot as write

from data_loaders import DataError, main_variable, open_field, write_field
from data_loaders.particles import add_particles


@pytest.fixture
def snapshot(tmp_path):
    """A snapshot of gas, dark matter and stars; returns its path, positions [Mpc/h] and masses [Msun/h] by kind."""
    gas, mass = particles(300, 1)
    dark, _ = particles(500, 2)
    stars, light = particles(20, 3)
    path = write(tmp_path / "CV_14" / "snapshot_024.hdf5", {0: gas, 1: dark, 4: stars}, {0: mass, 4: light})
    return path, {0: gas / 1e3, 1: dark / 1e3, 4: stars / 1e3}, {0: mass * 1e10, 1: MASS_OF_ONE * 1e10, 4: light * 1e10}


def test_dark_matter_of_one_file(snapshot):
    path, positions, masses = snapshot
    ds = open_field(path, grid=8)
    field = main_variable(ds)
    assert (field.name, field.dims, field.shape, field.dtype) == (
        "density", ("sample", "z", "y", "x"), (1, 8, 8, 8), np.float32,
    )  # fmt: skip
    assert field.attrs == {
        "units": "(Msun/h)/(Mpc/h)^3",
        "long_name": "dark matter density",
        "component": "dark matter",
    }
    cell = (BOX / 8) ** 3
    expected = add_particles(np.zeros((8, 8, 8)), positions[1], masses[1], BOX) / cell
    np.testing.assert_allclose(field[0], expected, rtol=1e-6)
    assert float(field.astype(float).sum()) * cell == pytest.approx(500 * MASS_OF_ONE * 1e10, rel=1e-6)
    np.testing.assert_allclose(ds.x, (np.arange(8) + 0.5) * BOX / 8)
    assert ds.x.attrs == {"units": "Mpc/h", "boundary": "periodic"}
    assert {name: ds[name].values.tolist() for name in ("group", "simulation", "Omega_m", "h")} == {
        "group": [14],
        "simulation": ["CV_14"],
        "Omega_m": [0.3],
        "h": [0.6711],
    }
    assert ds.attrs["redshift"] == 0.5


@pytest.mark.parametrize(
    ("kinds", "component"), [(0, "gas"), (4, "stars"), ([0, 1, 4], "gas and dark matter and stars")]
)
def test_other_particles_and_their_sum(snapshot, kinds, component):
    path, positions, masses = snapshot
    ds = open_field(path, grid=6, particles=kinds)
    assert main_variable(ds).attrs["component"] == component
    total = sum(np.sum(np.broadcast_to(masses[k], len(positions[k]))) for k in np.atleast_1d(kinds))
    assert float(ds.density.astype(float).sum()) * (BOX / 6) ** 3 == pytest.approx(total, rel=1e-6)


def test_maps_of_slabs_along_axes(snapshot):
    path, *_ = snapshot
    cube = open_field(path, grid=8).density[0].values.astype(float)  # z, y, x
    ds = open_field(path, grid=8, project="zx", slabs=2)
    field = main_variable(ds)
    assert (field.name, field.dims, field.attrs["units"]) == (
        "surface_density",
        ("sample", "y", "x"),
        "(Msun/h)/(Mpc/h)^2",
    )
    assert ds.axis.values.tolist() == [2, 2, 0, 0]
    assert ds.slab.values.tolist() == [0, 1, 0, 1]
    assert ds.group.values.tolist() == [14] * 4
    assert ds.attrs["slab_thickness"] == "12.5 Mpc/h"
    cell = BOX / 8
    np.testing.assert_allclose(field[1], cube[4:].sum(axis=0) * cell, rtol=1e-5)
    np.testing.assert_allclose(field[2], cube[:, :, :4].sum(axis=2) * cell, rtol=1e-5)
    for axis in (2, 0):
        mass = float(field[ds.axis.values == axis].astype(float).sum()) * cell**2
        assert mass == pytest.approx(500 * MASS_OF_ONE * 1e10, rel=1e-6)


def parts_of(folder, number=3, absent=()):
    position, _ = particles(600, 4)
    total = np.array([0, 600, 0, 0, 0, 0], np.uint64)
    pieces = np.split(position, [100, 600][: number - 1])  # the last one has none
    for i, piece in enumerate(pieces):
        if i not in absent:
            write(folder / f"snap_004.{i}.hdf5", {1: piece}, parts=number, total=total)
    return position / 1e3


@pytest.mark.parametrize("name", ["snapdir_004", "snapdir_004/snap_004.0.hdf5"])
def test_several_parts_are_one_snapshot(tmp_path, name):
    position = parts_of(tmp_path / "fiducial" / "7" / "snapdir_004")
    ds = open_field(tmp_path / "fiducial" / "7" / name, grid=5)
    expected = add_particles(np.zeros((5, 5, 5)), position, MASS_OF_ONE * 1e10, BOX) / (BOX / 5) ** 3
    np.testing.assert_allclose(ds.density[0], expected, rtol=1e-5)
    assert ds.group.values.tolist() == [7]


def test_a_part_that_is_missing_or_alone(tmp_path):
    parts_of(tmp_path / "snapdir_004", absent=(1,))
    with pytest.raises(DataError, match=r"has 3 parts, 1 are missing: snap_004\.1\.hdf5"):
        open_field(tmp_path / "snapdir_004")
    with pytest.raises(DataError, match="one part of a snapshot; name its first part"):
        open_field(tmp_path / "snapdir_004" / "snap_004.2.hdf5")


def test_less_particles_than_the_header_counts(tmp_path):
    position, _ = particles(50)
    path = write(tmp_path / "snap.hdf5", {1: position}, total=np.array([0, 60, 0, 0, 0, 0], np.uint64))
    with pytest.raises(DataError, match=r"snap\.hdf5: the header counts 60 particles of kind 1, the files hold 50"):
        open_field(path, grid=4).density.load()
    path = write(tmp_path / "big.hdf5", {1: position}, total=np.array([0, 2**33 + 50, 0, 0, 0, 0], np.uint64))
    with pytest.raises(DataError, match="counts 8589934642 particles"):
        open_field(path, grid=4).density.load()


def test_a_header_with_units(tmp_path):
    position, _ = particles(40)
    header = {"UnitLength_in_cm": 3.085678e24, "UnitMass_in_g": 1.989e43, "BoxSize": BOX}
    path = write(tmp_path / "snap.hdf5", {1: position / 1e3}, header=header)
    mpc = open_field(path, grid=4)
    usual = open_field(write(tmp_path / "usual.hdf5", {1: position}), grid=4)
    np.testing.assert_allclose(mpc.density, usual.density, rtol=1e-5)
    np.testing.assert_allclose(mpc.x, usual.x)
    with pytest.raises(DataError, match=r"the header says a unit of 1 Mpc/h, given was kpc/h"):
        open_field(path, unit_length="kpc/h")
    bare = write(tmp_path / "bare.hdf5", {1: position / 1e3}, header={"BoxSize": BOX})
    np.testing.assert_allclose(open_field(bare, grid=4, unit_length="Mpc/h").density, usual.density, rtol=1e-5)


def test_values_that_cannot_be(tmp_path):
    position, _ = particles(40)
    position[7, 1] = np.nan
    with pytest.raises(DataError, match="1 particles have no finite coordinates"):
        open_field(write(tmp_path / "a.hdf5", {1: position}), grid=4).density.load()
    far = write(tmp_path / "b.hdf5", {1: particles(40)[0] * 1e3})
    with pytest.raises(DataError, match=r"do not fit a box of 25 Mpc/h: say the unit"):
        open_field(far, grid=4).density.load()
    unweighed = write(tmp_path / "c.hdf5", {4: particles(40)[0]})
    with pytest.raises(DataError, match="no PartType4/Masses, and MassTable has no mass"):
        open_field(unweighed, grid=4, particles=4).density.load()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"particles": 5}, r"no particles of kind 5; it has kind \(number\): 0 \(300\), 1 \(500\), 4 \(20\)"),
        ({"particles": 9}, "no particles of kind 9"),
        ({"grid": 0}, "grid=0: expected a number of cells"),
        ({"project": "w"}, "project='w': expected axes such as 'z' or 'xyz'"),
        ({"project": "zz"}, "each once"),
        ({"grid": 8, "project": "z", "slabs": 3}, "slabs=3: expected a divisor of grid=8"),
        ({"slabs": 2}, "with axes to project along"),
        ({"unit_length": "pc"}, "unit_length='pc': expected kpc/h or Mpc/h"),
    ],
)
def test_options_that_do_not_fit(snapshot, options, words):
    with pytest.raises(DataError, match=words):
        open_field(snapshot[0], **options)


def test_a_snapshot_of_another_code_is_refused(tmp_path):
    path = write(tmp_path / "snap.hdf5", {1: particles(4)[0]}, header={"Code": np.bytes_("SWIFT")})
    with pytest.raises(DataError, match="snapshot of SWIFT, whose units have no h"):
        open_field(path)
    path = write(tmp_path / "bare.hdf5", {1: particles(4)[0]})
    with h5py.File(path, "a") as file:
        del file["Header"].attrs["MassTable"]
    with pytest.raises(DataError, match="no MassTable in its Header"):
        open_field(path)


def test_parameters_of_the_set(tmp_path):
    paths = [write(tmp_path / f"LH_{i}" / "snap_033.hdf5", {1: particles(30, i)[0]}) for i in (2, 11)]
    (tmp_path / "CosmoAstroSeed_IllustrisTNG_L25n256_LH.txt").write_text(
        "#Name Omega_m sigma_8 A_SN1 A_AGN1 A_SN2 A_AGN2 seed\n"
        "LH_2 0.3026 0.9394 3.4 3.9 1.0 1.1 1\nLH_11 0.4 0.7 1 2 3 4 11\n"
    )
    ds = open_field(paths, grid=4, project="xyz", slabs=2)
    assert ds.sizes["sample"] == 12
    assert len(np.unique(ds.group)) == 2
    assert ds.sigma_8[[0, 11]].values.tolist() == [0.9394, 0.7]
    assert ds.A_AGN2[[0, 11]].values.tolist() == [1.1, 4]
    stray = write(tmp_path / "LH_3" / "snap_033.hdf5", {1: particles(30)[0]})
    assert "sigma_8" not in open_field(stray).coords
    with pytest.raises(DataError, match="no row for 'LH_3', the folder of the snapshot"):
        open_field(stray, params=tmp_path / "CosmoAstroSeed_IllustrisTNG_L25n256_LH.txt")


def test_two_times_of_a_simulation_share_their_group(tmp_path):
    paths = [write(tmp_path / "CV_0" / f"snap_{i}.hdf5", {1: particles(30, i)[0]}) for i in (2, 4)]
    paths.append(write(tmp_path / "CV_1" / "snap_2.hdf5", {1: particles(30, 9)[0]}))
    group = open_field(paths, grid=4).group.values
    assert group[0] == group[1] != group[2]


def test_opening_reads_no_particle_and_memory_is_bounded(tmp_path):
    number = 2**21
    position = np.random.default_rng(0).uniform(0, BOX * 1e3, (number, 3)).astype(np.float32)
    path = write(tmp_path / "snap.hdf5", {1: position}, chunks=(2**15, 3))
    tracemalloc.start()
    ds = open_field(path, grid=16)
    assert tracemalloc.get_traced_memory()[1] < 2e6
    total = float(ds.density.astype(float).sum()) * (BOX / 16) ** 3
    assert tracemalloc.get_traced_memory()[1] < 40 * 2**19 * 8
    tracemalloc.stop()
    assert total == pytest.approx(number * MASS_OF_ONE * 1e10, rel=1e-6)


def test_another_process_reads_the_same(snapshot):
    ds = open_field(snapshot[0], grid=4)
    again = pickle.loads(pickle.dumps(ds.density))
    np.testing.assert_array_equal(again, ds.density)


def test_a_file_that_is_written_anew_is_assigned_anew(tmp_path):
    path = write(tmp_path / "snap.hdf5", {1: particles(30, 0)[0]})
    first = open_field(path, grid=4).density.values
    write(path, {1: particles(30, 1)[0]})
    assert not np.array_equal(open_field(path, grid=4).density.values, first)


def test_blosc_compression_comes_with_an_extra(tmp_path, monkeypatch):
    code = (
        "import sys, h5py, hdf5plugin, numpy as np\n"
        "file = h5py.File(sys.argv[1], 'a')\n"
        "values = file['PartType1/Coordinates'][:]\n"
        "del file['PartType1/Coordinates']\n"
        "file.create_dataset('PartType1/Coordinates', data=values, chunks=(10, 3), **hdf5plugin.Blosc())\n"
    )
    position, _ = particles(30)
    plain = open_field(write(tmp_path / "plain.hdf5", {1: position}), grid=4).density
    path = write(tmp_path / "blosc.hdf5", {1: position})
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    if not h5py.h5z.filter_avail(32001):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "hdf5plugin", None)
            with pytest.raises(
                ImportError, match=r"blosc\.hdf5: /PartType1/Coord.*pip install 'sciffusion\[hdf5plugin\]'"
            ):
                open_field(path, grid=4).density.load()
    np.testing.assert_array_equal(open_field(path, grid=4).density, plain)


def test_fields_become_a_file_of_ours(snapshot, tmp_path):
    ds = open_field(snapshot[0], grid=8, project="xyz", slabs=2)
    write_field(ds, tmp_path / "maps.h5")
    back = open_field(tmp_path / "maps.h5")
    np.testing.assert_array_equal(back.surface_density, ds.surface_density)
    assert back.attrs == ds.attrs
    assert back.simulation.values.tolist() == ["CV_14"] * 6
