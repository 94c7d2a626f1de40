"""Which image belongs to which spectrum: by what both say of the object, never by the order of the files."""

import numpy as np
import xarray as xr
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from data_loaders.errors import DataError

__all__ = ["grouped", "pair"]

_FIBER = ("fiber", "fiberid")


def pair(images: xr.Dataset, spectra: xr.Dataset, within: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of images and of spectra that belong together, in the order of the spectra.

    Tried in this order: `object_id`; plate, mjd and fiber; `ra` and `dec`. Objects of one name that both place on the
    sky, but apart, are not the same: surveys number their objects each in its own way.

    Parameters
    ----------
    images, spectra : xarray.Dataset
        With what is known of each sample; `encoding["source"]` names the files.
    within : float
        How far apart two positions of one object may be [arcsec].

    Returns
    -------
    tuple of ndarray of int
        An image may have several spectra; a spectrum has one image.

    Raises
    ------
    DataError
        No image has a spectrum: names both files and says what was looked for.

    Examples
    --------
    >>> images = xr.Dataset(coords={"object_id": ("sample", [30, 10, 20])})
    >>> spectra = xr.Dataset(coords={"object_id": ("sample", [10, 40, 30, 10])})
    >>> pair(images, spectra, within=1.0)
    (array([1, 0, 1]), array([0, 2, 3]))
    """
    here, there = _names(images), _names(spectra)
    places = _on_sky(images), _on_sky(spectra)
    for key in (key for key in here if key in there):
        mine, theirs = _of_one_name(here[key], there[key])
        apart = _chord(places[0][mine] - places[1][theirs])
        same = ~(apart > _chord_of(within))  # NaN: one of them does not say where it is
        if same.any():
            return mine[same], theirs[same]
    mine, theirs = _of_one_place(*places, within)
    if not len(theirs):
        raise _nothing(images, spectra, within)
    return mine, theirs


def grouped(ds: xr.Dataset, image: np.ndarray, within: float) -> xr.Dataset:
    """Return `ds` with one `group` for all spectra of an object.

    Those are of one object that share an image (its number is in `image`), an `object_id`, a `group` that is there
    already, or lie within so many arcsec of each other.
    """
    labels = [image.astype(str), *_names(ds).values()]
    labels += [ds["group"].values] if "group" in ds.coords else []
    ties = [_ties_of(label) for label in labels]
    places = _on_sky(ds)
    known = np.flatnonzero(np.isfinite(places).all(axis=1))
    if len(known):
        near = KDTree(places[known]).query_pairs(_chord_of(within), output_type="ndarray")
        ties.append(known[near].T)
    a, b = np.concatenate(ties, axis=1)
    n = ds.sizes["sample"]
    _, group = connected_components(coo_array((np.ones(len(a), bool), (a, b)), shape=(n, n)), directed=False)
    told = {"long_name": "object: samples of one belong together"}
    return ds.assign_coords(group=("sample", group.astype(np.int64), told))


def _names(ds: xr.Dataset) -> dict[str, np.ndarray]:
    """What may name each object, as text; empty where it has no name."""
    known = {str(name).lower(): c.values for name, c in ds.coords.items() if c.dims == ("sample",)}
    found = {}
    if "object_id" in known:
        ids = known["object_id"]
        nameless = ids < 0 if ids.dtype.kind == "i" else np.zeros(len(ids), bool)
        found["object_id"] = np.where(nameless, "", ids.astype(str))
    fiber = next((known[name] for name in _FIBER if name in known), None)
    if fiber is not None and {"plate", "mjd"} <= known.keys():
        parts = [np.asarray(values).astype(str) for values in (known["plate"], known["mjd"], fiber)]
        texts = np.array(["-".join(each) for each in zip(*parts)])
        found["plate-mjd-fiber"] = np.where(np.char.find(texts, "--") >= 0, "", texts)  # -1: not known
    return found


def _of_one_name(here: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of those that have a name in common; of several images of one name the first."""
    names, first = np.unique(here, return_index=True)
    place = np.minimum(np.searchsorted(names, there), len(names) - 1)
    same = (names[place] == there) & (there != "")
    return first[place[same]], np.flatnonzero(same)


def _of_one_place(here: np.ndarray, there: np.ndarray, within: float) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of spectra with an image within so many arcsec, and of the nearest such image."""
    known, asked = (np.flatnonzero(np.isfinite(places).all(axis=1)) for places in (here, there))
    if not len(known) or not len(asked):
        return known[:0], asked[:0]
    distance, nearest = KDTree(here[known]).query(there[asked], distance_upper_bound=_chord_of(within))
    same = np.isfinite(distance)
    return known[np.asarray(nearest)[same]], asked[same]


def _on_sky(ds: xr.Dataset) -> np.ndarray:
    """Unit vectors ``(sample, 3)``, NaN where the position is not known."""
    if not {"ra", "dec"} <= set(ds.coords):
        return np.full((ds.sizes["sample"], 3), np.nan)
    ra, dec = (np.radians(ds[name].values.astype(np.float64)) for name in ("ra", "dec"))
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)


def _chord(difference: np.ndarray) -> np.ndarray:
    return np.linalg.norm(difference, axis=1)


def _chord_of(arcsec: float) -> float:
    return 2 * float(np.sin(np.radians(arcsec / 3600) / 2))


def _ties_of(label: np.ndarray) -> np.ndarray:
    """Pairs (sample, first sample of the same label); samples without a name are tied to none."""
    _, first, inverse = np.unique(label, return_index=True, return_inverse=True)
    named = np.flatnonzero(label != "") if label.dtype.kind == "U" else np.arange(len(label))
    return np.stack([named, first[inverse[named]]])


def _nothing(images: xr.Dataset, spectra: xr.Dataset, within: float) -> DataError:
    said = []
    for what, ds in (("images", images), ("spectra", spectra)):
        names = {key: next(filter(None, values.tolist()), "none") for key, values in _names(ds).items()}
        places = ["ra and dec"] if np.isfinite(_on_sky(ds)).all(axis=1).any() else []
        told = ", ".join([f"{key} (such as {name})" for key, name in names.items()] + places)
        said.append(f"{ds.sizes['sample']} {what} with {told or 'nothing of these'}")
    looked = f"object_id, plate with mjd and fiber, ra and dec within {within:g} arcsec"
    told = f"no image belongs to a spectrum of {spectra.encoding.get('source', 'the spectra')}"
    where = images.encoding.get("source", "the images")
    return DataError(where, f"{told}; looked for: {looked}; found: {'; '.join(said)}. Give files of the same objects")
