"""Simulations that make fields where no file is at hand: gravity from first principles, no download.

`simulate` runs one particle-mesh simulation, `surface_density` draws its maps, and a `Suite` with `run` and `collect`
makes a labelled set over a Latin hypercube of cosmologies, as ``sciffusion-simulate`` does.
"""

from data_loaders.simulate.cosmology import Cosmology
from data_loaders.simulate.maps import surface_density
from data_loaders.simulate.nbody import ParticleMesh, Particles, simulate
from data_loaders.simulate.suite import Suite, collect, run

__all__ = ["Cosmology", "ParticleMesh", "Particles", "Suite", "collect", "run", "simulate", "surface_density"]
