"""What is refused of FITS files before a parser gets them, and what is not."""

import gzip

import numpy as np
import pytest
from astropy.io import fits

from data_loaders import DataError, open_field, write_field
from data_loaders.fits_file import check_fits, opened

BARE = {"box_size": 25.0, "units": "K", "boundary": "periodic"}


@pytest.fixture
def image(tmp_path):
    """Two images and a table, without checksums."""
    values = np.arange(3 * 20 * 20, dtype=np.float32).reshape(3, 20, 20)
    table = fits.BinTableHDU(np.zeros(3, [("z", "f4")]), name="T")
    fits.HDUList([fits.PrimaryHDU(values), fits.ImageHDU(values[0]), table]).writeto(tmp_path / "a.fits")
    return tmp_path / "a.fits"


def with_card(path, key, value, number=0):
    """Write another value into the header of an HDU, its data left where they are."""
    content = path.read_bytes()
    start = content.index(b"XTENSION" if number else b"SIMPLE  ")
    at = content.index(key.ljust(8).encode() + b"=", start)
    path.write_bytes(content[: at + 10] + str(value).rjust(20).encode() + content[at + 30 :])
    return path


def test_whole_files_pass(image):
    assert check_fits(image) == (True, True, True)
    packed = image.with_name("a.fits.gz")
    packed.write_bytes(gzip.compress(image.read_bytes()))
    assert check_fits(packed) == (True, True, True)
    image.with_name("a.txt").write_text("no FITS file")
    assert check_fits(image.with_name("a.txt")) == ()


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("NAXIS", 2147483647, r"NAXIS = 2147483647"),
        ("NAXIS", "'x'", r"NAXIS = 'x'"),
        ("NAXIS3", -3, r"NAXIS3 = -3"),
        ("NAXIS", 4, r"NAXIS4 is missing"),
        ("BITPIX", 33, r"BITPIX = 33"),
        ("SIMPLE", "F", r"SIMPLE  =                    F"),
        ("NAXIS1", 10, r"expected a header at byte 5760: truncated, or a length in a header before it is wrong"),
        ("NAXIS1", 30, r"expected a header at byte 11520"),
    ],
)
def test_headers_that_would_keep_a_parser_busy_or_move_the_data(image, key, value, told):
    with pytest.raises(DataError, match=rf"a\.fits: .*{told}.*copy it anew"):
        open_field(with_card(image, key, value), dataset=0, **BARE)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_what_is_cut_off_is_told_of_each_part(image, suffix):
    content = image.read_bytes()
    # Data of the table; the table and bytes that fill up; data of the second image.
    for cut, expected in ((2880, (True, True, False)), (6700, (True, True)), (8000, (True, False))):
        path = image.with_name(f"{cut}.fits{suffix}")
        path.write_bytes(gzip.compress(content[:-cut]) if suffix else content[:-cut])
        assert check_fits(path) == expected


def test_bytes_behind_the_last_part(image):
    content = image.read_bytes()
    for filling in (b"\0" * 2880, b" " * 100):
        image.with_name("b.fits").write_bytes(content + filling)
        assert len(check_fits(image.with_name("b.fits"))) == 3
    image.write_bytes(content + b"junk" * 720)
    with pytest.raises(DataError, match=f"expected a header at byte {len(content)}"):
        check_fits(image)


@pytest.mark.parametrize("part", ["header", "data", "labels"])
@pytest.mark.parametrize("suffix", [".fits", ".fits.gz"])
def test_a_flipped_bit_in_a_file_with_checksums_is_found(tmp_path, make_field, part, suffix):
    write_field(make_field(("y", "x"), (3, 16, 16)), tmp_path / "plain.fits")
    content = bytearray((tmp_path / "plain.fits").read_bytes())
    at = {"header": content.index(b"surface density"), "data": 2880 * 2 + 99, "labels": content.index(b'"units"')}[part]
    content[at] ^= 1
    path = tmp_path / f"a{suffix}"
    path.write_bytes(gzip.compress(content) if suffix == ".fits.gz" else content)
    sums = "CHECKSUM" if part == "header" else "DATASUM"
    with pytest.raises(DataError, match=rf"a\.fits.*{sums}.*copy it anew; or altered by a program"):
        open_field(path)


def test_checksums_are_those_of_astropy(tmp_path, make_field):
    write_field(make_field(("y", "x"), (3, 16, 16)), tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits", checksum=True) as hdus:
        assert all(hdu.verify_checksum() == hdu.verify_datasum() == 1 for hdu in hdus)
    assert all(check_fits(tmp_path / "a.fits"))


def test_an_edited_header_is_renewed_as_the_error_says(tmp_path, make_field):
    write_field(make_field(("x",), (3, 16)), tmp_path / "a.fits")
    path = with_card(tmp_path / "a.fits", "CRPIX1", "2.0")
    with pytest.raises(DataError, match=r"fits\.open\(path, mode='update', checksum=True\)"):
        open_field(path)
    with fits.open(path, mode="update", checksum=False) as hdus:
        hdus[0].header["CRPIX1"] = 1.0
        hdus[0].add_checksum()
    open_field(path)


def test_large_data_are_not_summed(tmp_path, monkeypatch):
    """A flipped bit in data beyond the limit is left: opening reads kilobytes of them."""
    monkeypatch.setattr("data_loaders.fits_file.CHECKED", 2880)
    fits.PrimaryHDU(np.zeros((3, 20, 20), np.float32)).writeto(tmp_path / "a.fits", checksum=True)
    content = bytearray((tmp_path / "a.fits").read_bytes())
    content[3000] = 1
    (tmp_path / "a.fits").write_bytes(content)
    assert check_fits(tmp_path / "a.fits") == (True,)
    content[900] = ord("x")  # of the header, which is still checked
    (tmp_path / "b.fits").write_bytes(content)
    with pytest.raises(DataError, match="CHECKSUM"):
        check_fits(tmp_path / "b.fits")


def test_no_file_stays_open(image):
    """A parser that gives up leaves its stream to us; warnings are errors here."""
    image.write_bytes(image.read_bytes().replace(b"NAXIS2  =", b"NAXISX  =", 1))
    with pytest.raises(DataError, match="NAXIS2 is missing"), opened(image):
        pass
