import tracemalloc

import numpy as np
import pytest

from data_loaders import DataError, main_variable, open_field, write_field

LH = ["Omega_m", "sigma_8", "A_SN1", "A_AGN1", "A_SN2", "A_AGN2"]
COSMOLOGY = ["Omega_m", "sigma_8", "Omega_b", "h", "n_s"]
COSMO_ASTRO_SEED = """\
#Name  Omega_m  sigma_8  A_SN1     A_AGN1  A_SN2  A_AGN2  seed
  LH_0 0.30900 0.97900   3.11234   1.12194 0.66850 0.53182 0
  LH_1 0.30260 0.93940   3.42001   3.96137 1.03311 1.16070 1
"""


@pytest.fixture
def release(tmp_path):
    """Files as the release has them, with small maps: (name, maps, columns of the parameters)."""

    def write(name, maps, params=None, columns=6, rows=2):
        rng = np.random.default_rng(0)
        values = rng.lognormal(25, 1, (maps, *(8,) * (3 if name.startswith("Grids") else 2))).astype(np.float32)
        np.save(tmp_path / name, values)
        table = rng.uniform(0.1, 1, (rows, columns))
        if params:
            np.savetxt(tmp_path / params, table, fmt="%.18e")
        return tmp_path / name, values, table

    return write


def test_maps_of_a_simulation_share_its_row(release):
    path, maps, table = release("Maps_Mcdm_IllustrisTNG_LH_z=0.00.npy", 30, "params_LH_IllustrisTNG.txt")
    ds = open_field(path)
    field = main_variable(ds)
    assert field.dims == ("sample", "y", "x")
    np.testing.assert_array_equal(field, maps)
    np.testing.assert_array_equal(ds.group, np.arange(30) // 15)
    assert ds.group.dtype == np.int64
    for i, name in enumerate(LH):
        np.testing.assert_array_equal(ds[name], table[np.arange(30) // 15, i])
    assert field.attrs == {
        "units": "(Msun/h)/(Mpc/h)^2",
        "long_name": "dark matter density",
        "component": "dark matter",
    }
    for dim in ("y", "x"):
        np.testing.assert_allclose(ds[dim], (np.arange(8) + 0.5) * 25 / 8)
        assert ds[dim].attrs == {"units": "Mpc/h", "boundary": "periodic"}
    assert {key: ds.attrs[key] for key in ("suite", "set", "redshift", "physics", "parameters")} == {
        "suite": "IllustrisTNG",
        "set": "LH",
        "redshift": 0.0,
        "physics": "hydrodynamic",
        "parameters": "params_LH_IllustrisTNG.txt",
    }


@pytest.mark.parametrize(
    ("name", "params", "columns", "kept"),
    [
        ("Maps_Mtot_Nbody_IllustrisTNG_LH_z=0.00.npy", "params_LH_Nbody_IllustrisTNG.txt", 6, COSMOLOGY[:2]),
        ("Maps_Mtot_Nbody_SIMBA_CV_z=0.00.npy", "params_CV_Nbody_SIMBA.txt", 2, COSMOLOGY[:2]),
        ("Maps_Mtot_Nbody_SIMBA_LH_z=0.00.npy", "params_Nbody_SIMBA.txt", 2, COSMOLOGY[:2]),
        ("Maps_Mtot_Nbody_Astrid_LH_z=0.00.npy", "params_LH_Nbody.txt", 2, COSMOLOGY[:2]),
        ("Maps_Mtot_Nbody_IllustrisTNG_SB28_z=0.00.npy", "params_SB28_Nbody_IllustrisTNG.txt", 28, COSMOLOGY),
        ("Maps_Mgas_SIMBA_1P_z=0.0.npy", "params_1P_SIMBA.txt", 6, LH),
        ("Maps_Mcdm_IllustrisTNG_z=0.00.npy", "params_IllustrisTNG.txt", 6, LH),
    ],
)  # fmt: skip
def test_names_of_the_release(release, name, params, columns, kept):
    path, _, table = release(name, 30, params, columns)
    ds = open_field(path)
    assert [key for key in ds.coords if key not in ("group", "x", "y")] == kept
    np.testing.assert_array_equal(ds.sigma_8[::15], table[:, 1])
    nbody = "Nbody" in name
    assert ds.attrs["physics"] == ("gravity only" if nbody else "hydrodynamic")
    assert main_variable(ds).attrs["component"] == {"t": "total matter", "g": "gas", "c": "dark matter"}[name[6]]


def test_the_28_parameters(release):
    path, _, table = release("Maps_HI_IllustrisTNG_SB28_z=0.00.npy", 30, "params_SB28_IllustrisTNG.txt", 28)
    ds = open_field(path)
    names = [name for name in ds.coords if name not in ("group", "x", "y")]
    assert len(names) == 28
    # The settings of the code, which are 3.6 A_SN1 and so on: not the A_SN1 of the set LH.
    assert names[:9] == [*LH[:2], "WindEnergyIn1e51erg", "RadioFeedbackFactor", "VariableWindVelFactor",
                         "RadioFeedbackReiorientationFactor", "Omega_b", "h", "n_s"]  # fmt: skip
    np.testing.assert_array_equal(ds.QuasarThresholdPower[::15], table[:, 27])


@pytest.mark.parametrize(
    ("field", "units", "component"),
    [
        ("Mgas", "(Msun/h)/(Mpc/h)^2", "gas"),
        ("Mstar", "(Msun/h)/(Mpc/h)^2", "stars"),
        ("HI", "(Msun/h)/(Mpc/h)^2", "neutral hydrogen"),
        ("ne", "h^2/cm^3 (Mpc/h)", "electrons"),
        ("Vgas", "km/s", "gas"),
        ("Vcdm", "km/s", "dark matter"),
        ("T", "K", "gas"),
        ("P", "h^2 Msun (km/s)^2/kpc^3", "gas"),
        ("Z", "", "gas"),
        ("B", "G", "gas"),
        ("MgFe", "", "gas"),
    ],
)
def test_units_of_each_field(release, field, units, component):
    path, *_ = release(f"Maps_{field}_SIMBA_CV_z=0.00.npy", 30, "params_CV_SIMBA.txt")
    attrs = main_variable(open_field(path)).attrs
    assert (attrs["units"], attrs["component"]) == (units, component)


def test_grids(release):
    path, grids, _ = release("Grids_Mtot_Nbody_IllustrisTNG_LH_128_z=0.5.npy", 2, "params_LH_Nbody_IllustrisTNG.txt")
    ds = open_field(path)
    assert main_variable(ds).dims == ("sample", "z", "y", "x")
    assert main_variable(ds).attrs["units"] == "(Msun/h)/(Mpc/h)^3"
    np.testing.assert_array_equal(ds.group, [0, 1])
    np.testing.assert_array_equal(ds.Mtot, grids)
    assert ds.attrs["redshift"] == 0.5


def test_a_file_with_a_header_names_its_columns(release):
    path, *_ = release("Maps_Mcdm_IllustrisTNG_LH_z=0.00.npy", 30)
    (path.parent / "CosmoAstroSeed_IllustrisTNG_L25n256_LH.txt").write_text(COSMO_ASTRO_SEED)
    ds = open_field(path)
    assert [name for name in ds.coords if name not in ("group", "x", "y")] == LH
    assert ds.A_AGN1[[0, 29]].values.tolist() == [1.12194, 3.96137]


@pytest.mark.parametrize(
    ("name", "params", "columns", "third"),
    [
        ("Maps_Mgas_Swift-EAGLE_LH_z=0.00.npy", "params_LH_Swift-EAGLE.txt", 6, "A_SN1"),
        ("Maps_Mgas_Astrid_SB7_z=0.00.npy", "params_SB7_Astrid.txt", 7, "A_SN1"),
        ("Maps_T_SIMBA_1P_z=0.00.npy", "params_1P_SIMBA.txt", 28, "GALSF_SUBGRID_DAA_LOADFACTOR"),
        ("Maps_T_CROCODILE_SB26_z=0.00.npy", "params_SB26_CROCODILE.txt", 26, "SNMomentumBoostFactor"),
        ("Maps_T_IllustrisTNG_L50n512_SB35_z=0.00.npy", "params_SB35_IllustrisTNG.txt", 35, "WindEnergyIn1e51erg"),
        ("Maps_B_IllustrisTNG_EX_z=0.00.npy", "params_EX_IllustrisTNG.txt", 6, "A_SN1"),
        ("Maps_B_IllustrisTNG_BE_z=0.00.npy", "params_BE_IllustrisTNG.txt", 6, "A_SN1"),
    ],
)
def test_every_suite_has_names_of_its_own(release, name, params, columns, third):
    path, _, table = release(name, 30, params, columns)
    ds = open_field(path)
    names = [key for key in ds.coords if key not in ("group", "x", "y")]
    assert len(names) == columns
    assert names[2] == third
    np.testing.assert_array_equal(ds[third][::15], table[:, 2])
    assert ds.attrs["set"] == name.split("_")[-2]
    assert float(ds.x[-1] + ds.x[0]) == (50.0 if "L50n512" in name else 25.0)


def test_an_nbody_run_has_the_cosmology_of_its_counterpart(release):
    path, _, table = release("Maps_Mtot_Nbody_Astrid_LH_z=0.00.npy", 30, "params_LH_Astrid.txt")
    ds = open_field(path)
    np.testing.assert_array_equal(ds.sigma_8[::15], table[:, 1])
    assert "A_SN1" not in ds.coords


def test_names_and_seeds_without_a_header(release):
    path, *_ = release("Maps_Mcdm_IllustrisTNG_SB28_z=0.00.npy", 30)
    rows = [" ".join([f"SB28_{i}", *(f"{i + j / 100}" for j in range(28)), "20000"]) for i in range(2)]
    (path.parent / "CosmoAstroSeed_IllustrisTNG_L25n256_SB28.txt").write_text("\n".join(rows) + "\n")
    ds = open_field(path)
    assert ds.QuasarThresholdPower[[0, -1]].values.tolist() == [0.27, 1.27]
    assert "seed" not in ds.coords


def test_the_table_of_the_release(tmp_path, shared_data):
    """The real parameters of the 1,000 simulations of the set LH, beside maps of two pixels."""
    table = shared_data / "cdm" / "CosmoAstroSeed_IllustrisTNG_L25n256_LH.txt"
    path = tmp_path / "Maps_HI_IllustrisTNG_LH_z=0.00.npy"
    np.save(path, np.ones((15_000, 2, 2), np.float32))
    ds = open_field(path, params=table, select={"Omega_m": (0.3, 0.31)})
    numbers = np.loadtxt(table, usecols=range(1, 7))
    kept = np.flatnonzero((numbers[:, 0] >= 0.3) & (numbers[:, 0] <= 0.31))
    np.testing.assert_array_equal(np.unique(ds.group), kept)
    np.testing.assert_array_equal(ds.A_AGN2[::15], numbers[kept, 5])
    (tmp_path / table.name).write_text("".join(table.read_text().splitlines(keepends=True)[:901]))
    with pytest.raises(DataError, match="15000 maps do not belong to the 900 rows of CosmoAstroSeed"):
        open_field(path)


def test_parameters_by_name(release):
    path, *_ = release("Maps_Mcdm_IllustrisTNG_LH_z=0.00.npy", 30)
    with pytest.raises(DataError, match=r"Maps_Mcdm.*expected params_LH_IllustrisTNG\.txt, .*--params"):
        open_field(path)
    (path.parent / "mine.txt").write_text(COSMO_ASTRO_SEED)
    assert float(open_field(path, params=path.parent / "mine.txt").sigma_8[0]) == 0.979
    with pytest.raises(DataError, match=r"other\.txt: no such file of parameters"):
        open_field(path, params=path.parent / "other.txt")


@pytest.mark.parametrize("rows", [3, 4, 1, 60])
def test_parameters_of_another_length(release, rows):
    path, *_ = release("Maps_Mcdm_IllustrisTNG_LH_z=0.00.npy", 32, "params_LH_IllustrisTNG.txt", rows=rows)
    if rows == 4:
        # Eight maps a simulation: a part of the set.
        assert open_field(path).group.values.tolist() == [i // 8 for i in range(32)]
    else:
        with pytest.raises(DataError, match=rf"32 maps do not belong to the {rows} rows of params_LH.*expected 15"):
            open_field(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0.3 0.8 1\n", "3 columns without a header of names; expected 2, 6, 28"),
        ("0.3 0.8\n0.3\n", r"rows of equal length, found lengths \[1, 2\]"),
        ("0.3 high\n", "expected numbers in the columns Omega_m, sigma_8"),
        ("", r"found lengths \[\]"),
        ("# Omega_m sigma_8\n", r"found lengths \[\]"),
        ("0.3 nan\n", "finite numbers, found others in the columns sigma_8"),
    ],
)
def test_damaged_parameters(release, text, words):
    path, *_ = release("Maps_Mcdm_IllustrisTNG_LH_z=0.00.npy", 30)
    (path.parent / "params_LH_IllustrisTNG.txt").write_text(text)
    with pytest.raises(DataError, match=rf"params_LH_IllustrisTNG\.txt: .*{words}"):
        open_field(path)


def test_names_and_shapes_that_do_not_fit(release):
    path, *_ = release("Maps_Mdust_SIMBA_LH_z=0.00.npy", 30, "params_LH_SIMBA.txt")
    with pytest.raises(DataError, match="with a field of: Mgas, Vgas"):
        open_field(path)
    path, *_ = release("maps.npy", 30)
    with pytest.raises(DataError, match="expected a name Maps_<field>"):
        open_field(path, reader="camels")
    path, *_ = release("Maps_T_SIMBA_LH_z=0.00.npy", 30)
    np.save(path, np.ones((30, 8, 9)))
    with pytest.raises(DataError, match=r"of equal lengths, found shape \(30, 8, 9\)"):
        open_field(path)


def test_a_set_is_mapped_and_never_read_whole(tmp_path):
    path = tmp_path / "Maps_Mcdm_IllustrisTNG_LH_z=0.00.npy"
    maps = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(15_000, 256, 256))
    maps[14_999] = 7
    del maps
    np.savetxt(tmp_path / "params_LH_IllustrisTNG.txt", np.full((1000, 6), 0.3))
    tracemalloc.start()
    ds = open_field(path, samples=slice(7500, None))
    last = ds.Mcdm[[7499, 0]].values
    assert tracemalloc.get_traced_memory()[1] < 12e6
    tracemalloc.stop()
    assert last.mean(axis=(1, 2)).tolist() == [7, 0]
    assert ds.group.values[[0, -1]].tolist() == [500, 999]


def test_sets_are_joined_with_their_own_groups(release):
    first, *_ = release("Maps_Mcdm_IllustrisTNG_LH_z=0.00.npy", 30, "params_LH_IllustrisTNG.txt")
    second, *_ = release("Maps_Mcdm_SIMBA_LH_z=0.00.npy", 30, "params_LH_SIMBA.txt")
    ds = open_field([first, second])
    np.testing.assert_array_equal(ds.group, np.arange(60) // 15)
    assert "suite" not in ds.attrs
    assert ds.attrs["physics"] == "hydrodynamic"


def test_two_redshifts_of_a_set_share_their_groups(release):
    first, *_ = release("Maps_Mtot_Nbody_IllustrisTNG_LH_z=0.00.npy", 30, "params_LH_Nbody_IllustrisTNG.txt")
    second, *_ = release("Maps_Mtot_Nbody_IllustrisTNG_LH_z=1.00.npy", 30)
    ds = open_field([first, second])
    np.testing.assert_array_equal(ds.group, np.tile(np.arange(30) // 15, 2))
    assert "redshift" not in ds.attrs


def test_maps_become_a_file_of_ours(release, tmp_path):
    path, maps, _ = release("Maps_Mcdm_IllustrisTNG_LH_z=0.00.npy", 30, "params_LH_IllustrisTNG.txt")
    write_field(open_field(path), tmp_path / "a.h5", packing="log10")
    back = open_field(tmp_path / "a.h5")
    np.testing.assert_allclose(back.Mcdm, maps, rtol=1e-4)
    assert back.attrs == open_field(path).attrs


def test_suites_and_redshifts_that_are_joined_can_be_selected(tmp_path):
    paths = []
    for suite in ("IllustrisTNG", "SIMBA"):
        np.savetxt(tmp_path / f"params_LH_{suite}.txt", np.random.default_rng(len(suite)).random((2, 6)))
        for redshift in ("0.00", "1.00"):
            paths.append(tmp_path / f"Maps_Mcdm_{suite}_LH_z={redshift}.npy")
            np.save(paths[-1], np.ones((30, 4, 4), np.float32))
    ds = open_field(paths)
    assert ds.redshift.values[::30].tolist() == [0, 1, 0, 1]
    assert "redshift" not in ds.attrs
    assert ds.attrs["set"] == "LH"
    assert np.unique(ds.group).tolist() == [0, 1, 2, 3]
    one = open_field(paths, select={"suite": "SIMBA", "redshift": (0.5, None)})
    assert one.sizes["sample"] == 30
    assert set(one.group.values.tolist()) == {2, 3}
