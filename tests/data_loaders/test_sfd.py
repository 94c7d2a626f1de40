"""Maps of dust in Lambert's projection: geometry, patches that share no pixel between sides, rejection, laziness."""

import pickle
import tracemalloc

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, reject
from hypothesis import strategies as st
from makers_fields import SFD_SCALE as SCALE
from makers_fields import sfd_header as header_of
from makers_fields import sfd_values as values_of

from data_loaders import DataError, main_variable, open_field, packaged_data, write_field
from data_loaders import windows as windows_module
from data_loaders.blocks import Cutting, covered, place, sides_of, summed
from data_loaders.lambert import Lambert, lambert_of
from data_loaders.sfd import BITS

ALL = {"stride": 1, "block": "whole"}


@pytest.fixture
def write(tmp_path):
    def write(name, values, **how):
        path = tmp_path / name
        fits.PrimaryHDU(values, header_of(**how)).writeto(path)
        return path

    return write


@pytest.fixture
def north(write):
    return write("SFD_dust_ngp.fits", values_of())


def masks(write, pole, pixels, shape=(2 * SCALE, 2 * SCALE)):
    """A mask with bits set at ``{(row, column): bits}``."""
    values = np.full(shape, 3, np.uint8)  # scans of the detector: no fault
    for pixel, bits in pixels.items():
        values[pixel] |= bits
    return write(f"SFD_mask_{pole}.fits", values, pole=pole, OBJECT="Bitmask")


def origins(ds, values):
    """First row and column of each patch, found by its values."""
    size = ds.sizes["y"]
    place = {float(value): i for i, value in enumerate(values.astype(np.float32).ravel())}
    first = [place[float(value)] for value in main_variable(ds).values[:, 0, 0]]
    top, left = np.unravel_index(first, values.shape)
    for patch, y, x in zip(main_variable(ds).values, top, left):
        np.testing.assert_array_equal(patch, values[y : y + size, x : x + size])
    return top, left


def owners(ds, top, left, extent, shape, names):
    """For each map pixel the names (of group or split) of the patches that hold it."""
    owner = {}
    for name, y, x in zip(names, top, left):
        for row in range(y, y + extent):
            for column in range(x, x + extent):
                owner.setdefault((row, column), set()).add(name)
    return owner


@pytest.mark.parametrize("pole", [1, -1])
def test_the_projection_of_the_paper(pole):
    sky = Lambert(pole, 2048, (2047.5, 2047.5))
    np.testing.assert_allclose(sky.pixel(0.0, 90.0 * pole), (2047.5, 2047.5), atol=1e-4)
    np.testing.assert_allclose(sky.pixel(0.0, 0.0), (2047.5, 2047.5 + 2048))
    np.testing.assert_allclose(sky.pixel(90.0, 0.0), (2047.5 - pole * 2048, 2047.5))
    np.testing.assert_allclose(sky.pixel(180.0, 30.0 * pole), (2047.5, 2047.5 - 2048 / np.sqrt(2)))


@pytest.mark.parametrize("pole", [1, -1])
def test_the_projection_of_astropy(pole):
    wcs = WCS(header_of(pole, 2048, (620.5, 1527.5)))
    lon, lat = np.random.default_rng(0).uniform((0, 0), (360, 90), (200, 2)).T
    column, row = wcs.wcs_world2pix(lon, pole * lat, 0)
    expected = lambert_of(header_of(pole, 2048, (620.5, 1527.5)), "x").pixel(lon, pole * lat)
    np.testing.assert_allclose((row, column), expected, atol=2e-3)  # CD of the headers has twelve digits, the pole 0.5


@given(
    st.sampled_from([1, -1]), st.floats(1, 4096), st.floats(0, 359.99), st.floats(0, 89.9), st.floats(-999, 999)
)  # fmt: skip
def test_pixel_and_sky_are_inverse(pole, scale, lon, lat, center):
    sky = Lambert(pole, scale, (center, -center))
    back = sky.sky(*sky.pixel(lon, pole * lat))
    np.testing.assert_allclose(back[1], pole * lat, atol=1e-6)
    np.testing.assert_allclose(np.cos(np.radians(back[0] - lon)), 1, atol=1e-9)


def test_every_pixel_has_the_same_area():
    sky = Lambert(1, 2048, (0, 0))
    assert np.pi * 2048**2 * np.radians(sky.pixel_size) ** 2 == pytest.approx(2 * np.pi)
    assert 60 * sky.pixel_size == pytest.approx(2.3739, abs=1e-4)


def test_patches_are_pieces_of_the_map(north):
    ds = open_field(north, size=8, **ALL)
    field = main_variable(ds)
    top, left = origins(ds, values_of())
    sky = Lambert(1, SCALE, (SCALE - 0.5, SCALE - 0.5))
    lon, lat = sky.sky(top + 3.5, left + 3.5)
    np.testing.assert_allclose(ds.glon, lon)
    np.testing.assert_allclose(ds.glat, lat)
    np.testing.assert_allclose(ds.y, (np.arange(8) - 3.5) * np.degrees(np.sqrt(2) / SCALE))
    assert ds.x.attrs == {"units": "deg", "boundary": "reflect"}
    assert (field.name, field.attrs["units"], field.attrs["long_name"]) == ("reddening", "mag", "E(B-V)")
    assert "1998, ApJ 500, 525" in ds.attrs["citation"]
    assert field.dtype == np.float32
    # Every position whose corners are on the hemisphere, and no other.
    far = lambda first: np.maximum(abs(first - SCALE + 0.5), abs(first + 7 - SCALE + 0.5))  # noqa: E731
    first = np.arange(2 * SCALE - 7)
    assert len(top) == np.count_nonzero(far(first)[:, None] ** 2 + far(first)[None] ** 2 < SCALE**2)


def test_rebinning_is_the_mean(north):
    fine, coarse = open_field(north, size=12, **ALL), open_field(north, size=4, rebin=3, **ALL)
    expected = main_variable(fine).values.astype(np.float64).reshape(-1, 4, 3, 4, 3).mean((2, 4))
    np.testing.assert_allclose(main_variable(coarse), expected, rtol=1e-6)
    np.testing.assert_array_equal(coarse.glat, fine.glat)
    np.testing.assert_allclose(np.diff(coarse.x), 3 * np.diff(fine.x)[0])


def test_sides_and_groups_share_no_pixel(north):
    ds = open_field(north, size=8, stride=2)
    top, left = origins(ds, values_of())
    for names in (ds.group.values.tolist(), ds.split.values.tolist()):
        owner = owners(ds, top, left, 8, (2 * SCALE,) * 2, names)
        assert all(len(held) == 1 for held in owner.values())
    assert set(ds.split.values) == {"train", "validation", "test"}
    for name in ("validation", "test"):  # they do not overlap either
        mine = np.flatnonzero(ds.split.values == name)
        held = owners(ds, top[mine], left[mine], 8, (2 * SCALE,) * 2, mine.tolist())
        assert len(held) == 64 * len(mine)
    count = {name: len(np.unique(ds.group[ds.split == name])) for name in ("train", "validation", "test")}
    blocks = sum(count.values())
    assert (count["validation"], count["test"]) == (round(0.1 * blocks), round(0.2 * blocks))


@given(
    st.tuples(st.integers(5, 40), st.integers(5, 40)), st.tuples(st.integers(-30, 50), st.integers(-30, 50)),
    st.integers(2, 6), st.integers(1, 7), st.integers(0, 9), st.integers(0, 3),
)  # fmt: skip
def test_no_cutting_shares_a_pixel(shape, origin, size, stride, wider, seed):
    cutting = Cutting(size, 1, stride, size + wider, (0.2, 0.2), seed)
    bad = np.random.default_rng(seed).random(shape) < 0.01
    table = summed(bad)
    try:
        placed = place(shape, origin, cutting, lambda top, left: {"bad": covered(table, top, left, size) > 0})
    except ValueError:
        reject()  # too few blocks, or no patch at all
    owner = np.full(shape, "", "U40")
    for name, row, column, y, x in zip(placed.split, placed.row, placed.column, placed.top, placed.left):
        window = owner[y : y + size, x : x + size]
        assert window.shape == (size, size)
        assert not bad[y : y + size, x : x + size].any()
        assert set(window.ravel()) <= {"", f"{name} {row} {column}"}
        window[:] = f"{name} {row} {column}"
    assert len(set(zip(placed.top.tolist(), placed.left.tolist()))) == len(placed.top)


def test_sides_are_spread_over_the_plane():
    row, column = np.divmod(np.arange(900), 30)
    side = sides_of(row, column, (0.1, 0.2), seed=3)
    np.testing.assert_array_equal(side, sides_of(row, column, (0.1, 0.2), seed=3))
    assert (side != sides_of(row, column, (0.1, 0.2), seed=4)).any()
    for corner in ((row < 15) & (column < 15), (row >= 15) & (column < 15), column % 2 == 0, row % 3 == 1):
        assert np.mean(side[corner] == "test") == pytest.approx(0.2, abs=0.02)
        assert np.mean(side[corner] == "validation") == pytest.approx(0.1, abs=0.02)


def test_bad_pixels_are_in_no_patch(write):
    values = values_of()
    values[40, 50], values[90, 60], values[70, 70], values[60, 40] = 0, -1, np.nan, np.inf
    ds = open_field(write("map.fits", values), size=8, **ALL)
    assert (main_variable(ds).values > 0).all()
    whole = open_field(write("whole.fits", values_of()), size=8, **ALL)
    assert ds.attrs["rejected"]["values not positive"] == 4 * 64
    assert whole.sizes["sample"] - ds.sizes["sample"] == 4 * 64


@pytest.mark.parametrize("minimum", [15.0, 40.0])
def test_latitude_of_every_pixel(north, minimum):
    ds = open_field(north, size=8, min_latitude=minimum, **ALL)
    top, left = origins(ds, values_of())
    sky = Lambert(1, SCALE, (SCALE - 0.5, SCALE - 0.5))
    lowest = min(
        float(sky.sky(row, column)[1].min())
        for dy in (0, 7)
        for dx in (0, 7)
        for row, column in [(top + dy, left + dx)]
    )
    assert minimum < lowest < minimum + 1


@pytest.mark.parametrize(
    ("bits", "lost"), [(None, (6, 7)), (192, (6, 7)), ("no_iras", (7,)), ("source, asteroid", (4, 2)), (0, ())]
)
def test_bits_of_the_mask(write, north, bits, lost):
    places = {2: (30, 64), 4: (64, 30), 6: (90, 64), 7: (64, 90)}
    mask = masks(write, 1, {place: 2**bit for bit, place in places.items()})
    options = {} if bits is None else {"mask_bits": bits}
    ds = open_field(north, size=8, mask=mask, **options, **ALL)
    top, left = origins(ds, values_of())
    held = {bit for bit, (y, x) in places.items() if ((top <= y) & (y < top + 8) & (left <= x) & (x < left + 8)).any()}
    assert held == set(places) - set(lost)
    assert ds.attrs["rejected"].get("masked", 0) == 64 * len(lost)
    assert set(BITS.values()) >= set(lost)


def test_a_cut_out_is_the_same_sky(write, north):
    values, part = values_of(), (slice(22, 91), slice(35, 120))
    path = write("part.fits", values[part], center=(SCALE - 0.5 - 22, SCALE - 0.5 - 35))
    mask = masks(write, 1, {(64, 90): 128})
    options = {"size": 8, "stride": 4, "split": (0, 0), "mask": mask}
    whole, cut = open_field(north, **options), open_field(path, **options)
    known = dict(zip(map(bytes, main_variable(whole).values), whole.group.values.tolist()))
    assert cut.sizes["sample"] < whole.sizes["sample"]
    for patch, group in zip(main_variable(cut).values, cut.group.values.tolist()):
        assert known[bytes(patch)] == group  # the same lattice of patches, the same blocks, the same mask
    top, left = origins(cut, values)
    assert not ((top <= 64) & (top + 8 > 64) & (left <= 90) & (left + 8 > 90)).any()
    both = open_field([north, path], **options)  # blocks of one sky keep their number: no leak between two files
    np.testing.assert_array_equal(both.group, np.concatenate([whole.group, cut.group]))


def test_both_hemispheres(write, north):
    south = write("SFD_dust_sgp.fits", values_of(1), pole=-1)
    both_masks = [masks(write, 1, {(64, 90): 128}), masks(write, -1, {(30, 64): 64})]
    ds = open_field([north, south], size=8, mask=both_masks)
    side = {name: set(ds.group[ds.hemisphere == name].values.tolist()) for name in ("north", "south")}
    assert side["north"]
    assert not side["north"] & side["south"]
    assert (ds.glat[ds.hemisphere == "north"] > 0).all()
    assert (ds.glat[ds.hemisphere == "south"] < 0).all()
    alone = [set(open_field(path, size=8, mask=both_masks).group.values.tolist()) for path in (north, south)]
    assert not alone[0] & alone[1]
    assert ds.group.dtype == np.int64


def test_one_block(north):
    ds = open_field(north, size=8, **ALL)
    assert "split" not in ds.coords
    assert len(np.unique(ds.group)) == 1


def test_compressed_maps_are_decompressed_once(write, tmp_path, monkeypatch):
    plain = write("plain.fits", values_of())
    packed = tmp_path / "packed.fits"
    fits.CompImageHDU(values_of(), header_of(), compression_type="GZIP_2", quantize_level=0).writeto(packed)
    expected, ds = open_field(plain, size=8), open_field(packed, size=8)
    monkeypatch.setattr(windows_module.fits, "open", lambda *a, **k: pytest.fail("decompressed again"))
    np.testing.assert_array_equal(main_variable(ds), main_variable(expected))


def test_gzipped_maps(write, tmp_path, north):
    packed = tmp_path / "map.fits.gz"
    fits.PrimaryHDU(values_of(), header_of()).writeto(packed)
    np.testing.assert_array_equal(main_variable(open_field(packed, size=8)), main_variable(open_field(north, size=8)))


def test_datasets_go_to_worker_processes(north):
    ds = open_field(north, size=8)
    other = pickle.loads(pickle.dumps(ds))
    np.testing.assert_array_equal(main_variable(other)[3:9], main_variable(ds)[3:9])
    picked = main_variable(ds).isel(sample=[5, 2, 5], y=slice(1, 4), x=3).values
    np.testing.assert_array_equal(picked, main_variable(ds).values[[5, 2, 5], 1:4, 3])


def test_what_is_cut_can_be_written(north, tmp_path):
    ds = open_field(north, size=8)
    write_field(ds, tmp_path / "patches.h5")
    back = open_field(tmp_path / "patches.h5")
    assert back.identical(ds.load())


def test_other_quantities(write):
    path = write("i100.fits", values_of(), OBJECT="100 um", BUNIT="MJy/sr")
    field = main_variable(open_field(path, size=8))
    assert (field.name, field.attrs["units"], field.attrs["long_name"]) == ("sky_map", "MJy/sr", "100 um")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 1}, "size: expected a whole number of at least 2, got 1"),
        ({"size": 8.0}, "size: expected a whole number"),
        ({"rebin": 0}, "rebin: expected"),
        ({"stride": 0}, "stride: expected"),
        ({"block": 7}, "block: expected 'whole' or the map pixels of a side, at least the 8 of a patch, got 7"),
        ({"block": "half"}, "block: expected"),
        ({"split": (0.5, 0.5)}, "split: expected two fractions"),
        ({"split": 0.3}, "split: expected two fractions"),
        ({"size": 128}, "no patch of 128 map pixels is left"),
        ({"min_latitude": 89.9}, r"no patch of 8 map pixels is left \(\d+ at \|b\| < 89.9 deg\)"),
        ({"size": 40, "split": [0.4, 0.55]}, "4 blocks of sky are too few for 2 to validate and 2 to test"),
        ({"mask": "none.fits"}, "none.fits: no such mask"),
        ({"mask_bits": "galaxies"}, "unknown bit 'galaxies' of the mask; known: asteroid"),
    ],
)
def test_options_that_do_not_fit(north, options, words):
    with pytest.raises(DataError, match=words):
        open_field(north, **{"size": 8, **options})


def test_masks_that_do_not_fit(write, north):
    south = masks(write, -1, {})
    with pytest.raises(DataError, match=r"one mask of its hemisphere \(LAM_NSGP = 1\), found 0 in .*mask_-1"):
        open_field(north, size=8, mask=south)
    part = write("part.fits", np.zeros((50, 50), np.uint8), OBJECT="Bitmask")
    with pytest.raises(DataError, match=r"part\.fits: does not cover SFD_dust_ngp\.fits pixel by pixel"):
        open_field(north, size=8, mask=part)


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ({"LAM_SCAL": 65}, "the header gives pixels of .* but LAM_SCAL = 65 means"),
        ({"LAM_NSGP": 0}, "expected LAM_NSGP of 1 or -1"),
        ({"CRPIX1": "left"}, "expected numbers LAM_NSGP"),
        ({"LAM_SCAL": 32, "CD2_2": np.degrees(np.sqrt(2) / 32)}, r"shape \(128, 128\) is larger than the hemisphere"),
    ],
)
def test_headers_that_contradict_themselves(write, cards, words):
    with pytest.raises(DataError, match=rf"bad\.fits: .*{words}"):
        open_field(write("bad.fits", values_of(), **cards), size=8)


def test_a_truncated_map(north):
    data = north.read_bytes()
    north.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"SFD_dust_ngp\.fits.*truncated"):
        open_field(north, reader="sfd", size=8)


def test_opening_holds_no_patches():
    open_field(packaged_data("dust"), stride=4)  # the map itself is remembered
    tracemalloc.start()
    ds = open_field(packaged_data("dust"), stride=4)
    main_variable(ds)[:16].load()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert main_variable(ds).nbytes > 250e6
    assert peak < 50e6


def test_real_maps(shared_data):
    north, south = (shared_data / "dust" / f"SFD_dust_4096_{side}gp.fits" for side in "ns")
    ours, theirs = open_field(packaged_data("dust")), open_field(north)
    np.testing.assert_allclose(main_variable(ours), main_variable(theirs), rtol=0, atol=1.01e-6)
    np.testing.assert_array_equal(ours.glat, theirs.glat)
    assert float(theirs.glat.min()) > 11
    assert float(theirs.glat.max()) < 66
    low = open_field(south)
    assert low.attrs["rejected"]["at |b| < 0 deg"] > 0
    assert (main_variable(low).values > 0.03).all()
    both = open_field([north, south])
    assert both.sizes["sample"] == theirs.sizes["sample"] + low.sizes["sample"]
    assert len(np.unique(both.group)) == len(np.unique(theirs.group)) + len(np.unique(low.group))


def test_real_patches_lie_where_another_projection_has_them(shared_data):
    """The HEALPix version of the map was made by others; `benchmarks/sfd_projection.py` compares the whole sky."""
    healpix = pytest.importorskip("astropy_healpix")
    path = shared_data / "dust" / "SFD_dust_4096_ngp.fits"
    sky = lambert_of(fits.getheader(path), path)
    ds = open_field(path, size=32, stride=32, block="whole")
    row, column = sky.pixel(ds.glon.values, ds.glat.values)
    offset = ds.x.values / sky.pixel_size
    lon, lat = sky.sky(row[:, None, None] + offset[:, None], column[:, None, None] + offset)
    pixel = healpix.lonlat_to_healpix(lon.ravel() * u.deg, lat.ravel() * u.deg, 64, order="ring")
    count, total = np.bincount(pixel), np.bincount(pixel, main_variable(ds).values.ravel())
    whole = np.flatnonzero(count > 0.97 * 4 * np.pi / 49152 / np.radians(sky.pixel_size) ** 2)
    expected = fits.getdata(shared_data / "dust" / "dust_ebv_SFD_healpix_lowres.fits", 1).field(0)[whole]
    assert len(whole) > 2000
    assert np.corrcoef(np.log(total[whole] / count[whole]), np.log(expected))[0, 1] > 0.9999
