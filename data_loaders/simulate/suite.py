"""A set of simulations over a Latin hypercube of cosmologies, as one labelled dataset of maps.

Every simulation gives ``3 x slabs`` maps, the layout of the CAMELS multifield dataset (Villaescusa-Navarro et al.
2022, ApJS 259, 61): three axes, five slabs of 5 Mpc/h, (Msun/h)/(Mpc/h)^2. It is the *total* matter of a universe
without baryonic physics: the analogue of `Mtot` in CMD's N-body suites, not of `Mcdm` in its hydrodynamic ones, which
leaves the baryons out and is lower in the mean by Omega_b / Omega_m.

Finished simulations are kept in a folder beside the output until the whole set is there, so that a run that was
interrupted goes on where it ended.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from data_loaders.simulate.cosmology import Cosmology
from data_loaders.simulate.maps import surface_density
from data_loaders.simulate.nbody import ParticleMesh, simulate

if TYPE_CHECKING:
    import xarray as xr

UNITS = "(Msun/h)/(Mpc/h)^2"
NOTE = (
    "Total matter from gravity alone, without baryonic physics: the analogue of Mtot in the N-body suites of the "
    "CAMELS multifield dataset, not of the hydrodynamic Mcdm, whose mean is lower by Omega_b / Omega_m (16 % at "
    "Omega_m = 0.3)."
)


@dataclass(frozen=True)
class Suite:
    """Which simulations a set holds.

    Parameters
    ----------
    num : int
        Simulations of a Latin hypercube over the ranges of Omega_m and sigma_8.
    fiducial : int
        Further simulations at the parameters of `cosmology`, marked ``split = "test"``: they show the variance
        between universes of equal parameters.
    Omega_m, sigma_8 : tuple of float
        Smallest and largest value in the hypercube [dimensionless].
    grid : int
        Pixels along a side of a map.
    slabs : int
        Slabs along each of the three axes, ``box_size / slabs`` thick.
    seed : int
        Seed of the hypercube and of the phases.
    cosmology : Cosmology
        The fiducial parameters; the hypercube replaces Omega_m and sigma_8.
    numerics : ParticleMesh
        Box, particles, mesh and steps.

    Raises
    ------
    ValueError
        If the set is empty, or a range or a number makes no sense.

    Examples
    --------
    >>> suite = Suite(num=4, fiducial=1, Omega_m=(0.2, 0.4))
    >>> len(suite.cosmologies()), suite.cosmologies()[-1].Omega_m
    (5, 0.3)
    """

    num: int = 64
    fiducial: int = 0
    Omega_m: tuple[float, float] = (0.1, 0.5)
    sigma_8: tuple[float, float] = (0.6, 1.0)
    grid: int = 64
    slabs: int = 5
    seed: int = 0
    cosmology: Cosmology = field(default_factory=Cosmology)
    numerics: ParticleMesh = field(default_factory=ParticleMesh)

    def __post_init__(self) -> None:
        if self.num < 0 or self.fiducial < 0 or not self.num + self.fiducial:
            raise ValueError(
                f"num = {self.num} and fiducial = {self.fiducial} count simulations: give at least one in all"
            )
        for name in ("grid", "slabs"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, but is {self.seed}")
        for name in ("Omega_m", "sigma_8"):
            low, high = getattr(self, name)
            if not low <= high:
                raise ValueError(f"{name} = {low}:{high} is no range: give the smaller value first")
            for edge in (low, high):
                replace(self.cosmology, **{name: edge})

    def cosmologies(self) -> list[Cosmology]:
        """Return the cosmology of every simulation: first the Latin hypercube, then the fiducial ones."""
        # Imported where it is needed, as xarray is: the flags of the command alone need neither.
        from scipy.stats import qmc

        # In the unit square, so that a range may be a single value.
        generator = np.random.default_rng(self.seed)
        unit = qmc.LatinHypercube(2, seed=generator).random(self.num)  # pyright: ignore[reportCallIssue]
        low, high = np.transpose([self.Omega_m, self.sigma_8])
        points = low + unit * (high - low)
        drawn = [replace(self.cosmology, Omega_m=float(m), sigma_8=float(s)) for m, s in points]
        return drawn + [self.cosmology] * self.fiducial

    def seeds(self) -> NDArray[np.int64]:
        """Return the seed of the phases of every simulation, for `simulate`."""
        numbers = range(self.num + self.fiducial)
        return np.array([np.random.SeedSequence([self.seed, i]).generate_state(1)[0] for i in numbers], np.int64)

    def to_json(self) -> str:
        """Return all settings as text; two suites make the same maps if their texts agree."""
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def piece(self) -> str:
        """What is made at a time, in the plural."""
        return "simulations"

    def names(self) -> list[str]:
        """Return the name of the file of every simulation."""
        return [f"simulation_{number:05d}.npy" for number in range(self.num + self.fiducial)]

    def make(self, number: int, path: Path, workers: int) -> None:
        """Simulate and write the maps."""
        cosmology = self.cosmologies()[number]
        end = simulate(cosmology, self.numerics, int(self.seeds()[number]), workers)
        np.save(path, surface_density(end, cosmology.Omega_m, self.grid, self.slabs))


def collect(suite: Suite, folder: Path, command: str) -> "xr.Dataset":
    """Join the finished simulations of a folder to one labelled dataset.

    Parameters
    ----------
    suite : Suite
        The set that `run` has finished there.
    folder : pathlib.Path
        The folder.
    command : str
        The command that made the set, for the record.

    Returns
    -------
    xarray.Dataset
        ``cdm (sample, y, x)`` with the coordinates Omega_m, sigma_8, group, axis, slab, seed and split.
    """
    import xarray as xr

    maps = np.stack([np.load(folder / name) for name in suite.names()])
    number, axes, slabs, grid = maps.shape[:4]
    group, axis, slab = (index.ravel() for index in np.indices((number, axes, slabs)))
    cosmologies = suite.cosmologies()
    split = np.array([""] * suite.num + ["test"] * suite.fiducial)
    per_sample = {
        "Omega_m": (np.array([c.Omega_m for c in cosmologies])[group], "matter density parameter"),
        "sigma_8": (np.array([c.sigma_8 for c in cosmologies])[group], "linear rms density contrast in 8 Mpc/h"),
        "group": (group.astype(np.int64), "number of the simulation"),
        "axis": (axis.astype(np.int64), "axis of projection: 0 = x, 1 = y, 2 = z of the box"),
        "slab": (slab.astype(np.int64), "slab along the axis of projection"),
        "seed": (suite.seeds()[group], "seed of the phases of the simulation"),
        "split": (split[group], "test: at the fiducial parameters, never to train on; empty: free"),
    }
    coords = {name: ("sample", values, {"long_name": text}) for name, (values, text) in per_sample.items()}
    for name in ("Omega_m", "sigma_8"):
        coords[name][2]["units"] = "1"
    centers = (np.arange(grid) + 0.5) * (suite.numerics.box_size / grid)
    for name in ("y", "x"):
        coords[name] = (name, centers, {"units": "Mpc/h", "boundary": "periodic", "long_name": f"comoving {name}"})
    attrs = {"units": UNITS, "long_name": "surface density of total matter", "component": "total matter"}
    values = maps.reshape(number * axes * slabs, grid, grid)
    return xr.Dataset({"cdm": (("sample", "y", "x"), values, attrs)}, coords, _provenance(suite, command))


def _provenance(suite: Suite, command: str) -> dict[str, str | float]:
    return {
        "field": "cdm",
        "suite": "sciffusion particle mesh",
        "component": "total matter",
        "comment": NOTE,
        "redshift": suite.numerics.redshift,
        "box_size": f"{suite.numerics.box_size} Mpc/h",
        "slab_thickness": f"{suite.numerics.box_size / suite.slabs} Mpc/h",
        "settings": suite.to_json(),
        "command": command,
        "version": f"sciffusion {version('sciffusion')}, numpy {version('numpy')}, scipy {version('scipy')}",
    }
