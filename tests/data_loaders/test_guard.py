"""Damage in a file ends in one error that names the file, when it is opened or when it is read; nothing is hidden."""

import gzip
import multiprocessing
import shutil
import tracemalloc
import warnings

import h5py
import numpy as np
import pytest
import xarray as xr
from astropy.io import fits

from data_loaders import DataError, main_variable, open_field, readers, registry, write_field
from data_loaders.guard import check_size
from data_loaders.lazy import lazy_variable

BARE = {"box_size": 25.0, "units": "K", "boundary": "periodic"}


@pytest.fixture
def own_readers(monkeypatch):
    readers()
    monkeypatch.setattr(registry, "_READERS", dict(registry._READERS))


@pytest.mark.parametrize(
    "error", [KeyError("x"), TypeError("no"), RuntimeError("zlib"), MemoryError(), ZeroDivisionError()]
)
def test_any_error_of_a_reader_names_the_file(tmp_path, own_readers, error):
    def fail(path):
        raise error

    registry.reader("broken", lambda path, head: path.name == "a.dat")(fail)
    (tmp_path / "a.dat").write_text("hello")
    with pytest.raises(DataError, match=rf"a\.dat: cannot be read .*{type(error).__name__}") as caught:
        open_field(tmp_path / "a.dat")
    assert caught.value.__cause__ is error


def test_a_missing_package_is_no_damage(tmp_path, own_readers):
    def fail(path):
        raise ImportError("pip install 'sciffusion[zarr]'")

    registry.reader("broken", lambda path, head: path.name == "a.dat")(fail)
    (tmp_path / "a.dat").write_text("hello")
    with pytest.raises(ImportError, match="pip install"):
        open_field(tmp_path / "a.dat")


def test_any_error_of_reading_names_the_file(tmp_path, own_readers):
    class Broken:
        shape, dtype = (3, 4), np.dtype("f4")

        def read(self, index):
            raise RuntimeError("inflate failed")

    def read(path):
        return xr.Dataset({"a": lazy_variable(("sample", "x"), Broken())}, attrs={"field": "a"})

    registry.reader("broken", lambda path, head: path.name == "a.dat")(read)
    (tmp_path / "a.dat").write_text("hello")
    ds = open_field(tmp_path / "a.dat", **BARE)
    for attempt in (lambda: ds.a.load(), lambda: ds.a[1].values, lambda: ds.isel(sample=[0, 2]).load()):
        with pytest.raises(DataError, match=r"a\.dat: cannot be read .*inflate failed"):
            attempt()


def test_sizes_are_checked_before_memory_is_taken(tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(b"0" * 1000)
    check_size(path, "small", 10**6)
    with pytest.raises(DataError, match=r"a\.h5: maps would take 1e\+12 bytes, the file has 1000"):
        check_size(path, "maps", 10**12)


@pytest.mark.parametrize("kind", ["label", "sample"])
def test_absurd_shapes_in_hdf5(tmp_path, make_field, kind):
    """Labels are read whole and samples one by one: neither may be larger than what the file can hold."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        shape = (2, 1 << 40) if kind == "sample" else (1 << 40, 2)
        file.create_dataset("maps", shape, "f4", chunks=(1, 1) if kind == "sample" else (1 << 20, 1))
        file.create_dataset("z", shape[:1], "f4", chunks=(1,))
    options = {"coords": "z"} if kind == "label" else {}
    with pytest.raises(DataError, match=r"a\.h5: .*would take 4.4e\+12 bytes"):
        open_field(tmp_path / "a.h5", dataset="maps", **options, **BARE)


@pytest.fixture
def sparse(tmp_path):
    """Ten gigabytes that take no room: a file of each kind that is mapped or chunked."""
    samples, n = 40_000, 256
    size = samples * n * n * 4
    with open(tmp_path / "a.npy", "wb") as stream:
        head = {"descr": "<f4", "fortran_order": False, "shape": (samples, n, n)}
        np.lib.format.write_array_header_1_0(stream, head)
        stream.truncate(stream.tell() + size)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("maps", (samples, n, n), "f4", chunks=(1, n, n))
    header = fits.PrimaryHDU(np.zeros((1, n, n), np.float32)).header
    header["NAXIS3"] = samples
    header.tofile(tmp_path / "a.fits")
    with open(tmp_path / "a.fits", "r+b") as stream:
        stream.truncate(-(-((tmp_path / "a.fits").stat().st_size + size) // 2880) * 2880)
    # A table of labels behind the image, and labels with all names.
    with open(tmp_path / "b.fits", "wb") as stream:
        header.tofile(stream)
        stream.seek(-(-(stream.tell() + size) // 2880) * 2880)
        fits.BinTableHDU(np.zeros(3, [("z", "f4")])).writeto(tmp_path / "table.fits")
        stream.write((tmp_path / "table.fits").read_bytes()[2880:])
    _write_sparse_layout(tmp_path / "b.h5", (samples, n, n))
    return [tmp_path / name for name in ("a.npy", "a.h5", "a.fits", "b.fits", "b.h5")]


def _write_sparse_layout(path, shape):
    with h5py.File(path, "w") as file:
        file.attrs.update(format_version=1, field="maps")
        maps = file.create_dataset("maps", shape, "f4", chunks=(1, *shape[1:]), fletcher32=True)
        maps.attrs["units"] = "K"
        for axis, (dim, length) in enumerate(zip(("sample", "y", "x"), shape)):
            file[dim] = np.arange(length) if dim == "sample" else (np.arange(length) + 0.5) * 25 / length
            file[dim].make_scale(dim)
            maps.dims[axis].attach_scale(file[dim])
        for dim in ("y", "x"):
            file[dim].attrs.update(units="Mpc/h", boundary="periodic")


def _bytes_read():
    with open("/proc/self/io", encoding="ascii") as stream:
        return int(dict(line.split(": ") for line in stream.read().splitlines())["rchar"])


def test_opening_ten_gigabytes_reads_kilobytes(sparse):
    for path in sparse:
        options = {} if path.name == "b.h5" else BARE
        open_field(path, **options)
        before = _bytes_read()
        tracemalloc.start()
        ds = open_field(path, **options)
        assert ds.nbytes > 1e10
        assert _bytes_read() - before < 100_000 + 3 * ds.drop_vars(main_variable(ds).name).nbytes
        assert float(main_variable(ds)[[39_999, 5], 3:5].sum()) == 0
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 3e6, path


def _sum(ds):
    return float(main_variable(ds)[[2, 0]].sum()) + float(main_variable(ds).mask[1].sum())


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_worker_processes_read(tmp_path, make_field, method):
    """Every kind of source is pickled and read in processes of their own, started anew or forked."""
    ds = make_field(("y", "x"), (4, 6, 8))
    ds = ds.assign_coords(mask=(ds.density.dims, ds.density.values > 1e12))
    names = ["a.h5", "a.npy", "a.fits", "a.zarr"]
    for name in names:
        write_field(ds, tmp_path / name)
    with open(tmp_path / "a.fits", "rb") as plain, gzip.open(tmp_path / "b.fits.gz", "wb") as packed:
        shutil.copyfileobj(plain, packed)
    opened = [open_field(tmp_path / name) for name in [*names, "b.fits.gz"]]
    other = ds.drop_vars(["group", "split", "axis", "good", "Omega_m"])
    paths = [tmp_path / f"{i}.h5" for i in range(2)]
    for path, name in zip(paths, ("density", "gas")):
        write_field(other.rename(density=name).assign_attrs(field=name), path)
    opened.append(open_field(paths))
    bare = [tmp_path / "c.npz", tmp_path / "z.npz"]
    np.savez(bare[0], a=ds.density.values)
    np.savez_compressed(bare[1], a=ds.density.values)
    tiled = fits.CompImageHDU((ds.density.values / 1e6).astype(np.int32))
    tiled.writeto(tmp_path / "t.fits")
    for path in (*bare, tmp_path / "t.fits"):
        each = open_field(path, **BARE)
        opened.append(each.assign_coords(mask=(main_variable(each).dims, np.ones((4, 6, 8), bool))))
    expected = [_sum(each) for each in opened]
    with warnings.catch_warnings():
        # zarr starts a thread, and Python says that forking is then at one's own risk.
        warnings.filterwarnings("ignore", message=".*use of fork", category=DeprecationWarning)
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(_sum, opened) == expected


SEEDS = ["a.h5", "a.fits", "a.npy", "s.npz", "c.npz", "b.h5", "z.fits", "t.fits", "n.nc"]


@pytest.fixture
def small_files(tmp_path, make_field):
    ds = make_field(("y", "x"), (3, 4, 6))
    values = ds.density.values
    for suffix in (".h5", ".fits", ".npy"):
        write_field(ds, tmp_path / f"a{suffix}")
    np.savez(tmp_path / "s.npz", maps=values, z_spec=np.arange(3.0))
    np.savez_compressed(tmp_path / "c.npz", maps=values, z_spec=np.arange(3.0))
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["maps"] = values
    fits.CompImageHDU((values / values.max() * 1000).astype(np.int32)).writeto(tmp_path / "z.fits")
    columns = [fits.Column("FLUX", "24E", dim="(6,4)", array=values), fits.Column("NAME", "5A", array=["a", "b", "c"])]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "t.fits")
    ds.to_netcdf(tmp_path / "n.nc", engine="h5netcdf")
    return tmp_path


def _problem(path, options):
    try:
        open_field(path, **options).load()
    except DataError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", SEEDS)
@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_damage_ends_in_data_or_in_an_error_that_names_the_file(small_files, name, damage):
    path = small_files / name
    content = path.read_bytes()
    options = {} if name[0] in "an" else BARE
    rng = np.random.default_rng(0)
    for _ in range(8):
        damaged = bytearray(content)
        if damage == "truncated":
            damaged = damaged[: rng.integers(1, len(content))]
        else:
            for at in rng.integers(0, min(len(content), 3000), 4):
                damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of astropy, on the headers of damaged files
            said = _problem(path, options)
        assert said == "" or name in said


def test_a_type_that_crashes_hdf5_is_refused_before_it_is_read(small_files):
    """One flipped bit makes of a list of texts a list of addresses, which HDF5 follows to where nothing is."""
    path = small_files / "b.h5"
    with h5py.File(path, "a") as file:
        file["maps"].attrs["names"] = ["left", "right"]
    content = bytearray(path.read_bytes())
    # After the name come the version and class of the type (1, 9: variable length) and that it is text (1).
    at = content.find(b"names\0\0\0\x19\x01")
    assert at > 0
    content[at + 9] = 0
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"b\.h5: attribute 'names' of maps has a type that is no number or text"):
        open_field(path, **BARE)
