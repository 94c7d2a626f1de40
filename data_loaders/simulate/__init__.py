"""Simulations that make fields where no file is at hand, from first principles and published relations, no download.

Dark matter: `simulate` runs one particle-mesh simulation, `surface_density` draws its maps, a `Suite` is a Latin
hypercube of cosmologies. Galaxies with image and spectrum: `Galaxies` says which, `simulated_galaxies` keeps the file
of a set. Both are made piece by piece with `run`, as ``sciffusion-simulate`` does.
"""

from data_loaders.simulate.cached import simulated_galaxies
from data_loaders.simulate.cosmology import Cosmology
from data_loaders.simulate.galaxies import Galaxies
from data_loaders.simulate.maps import surface_density
from data_loaders.simulate.nbody import ParticleMesh, Particles, simulate
from data_loaders.simulate.pieces import run
from data_loaders.simulate.suite import Suite, collect

__all__ = [
    "Cosmology", "Galaxies", "ParticleMesh", "Particles", "Suite", "collect", "run", "simulate", "simulated_galaxies",
    "surface_density",
]  # fmt: skip
