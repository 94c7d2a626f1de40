"""A periodic mesh: cloud-in-cell assignment, and the force of gravity by Fourier transform.

Masses are assigned to the mesh and forces read from it by the same weights, so that no particle pulls itself and the
total momentum is conserved. The force is ``g = grad lap^-1 (-delta)``, in Fourier space ``i k / k^2 delta_k``, with
the wavenumber of a finite difference for the gradient.
"""

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.sparse import csr_array


def wavenumbers(n: int, box_size: float) -> tuple[list[NDArray], NDArray]:
    """Return the components of k on an rfftn grid, each along its axis [h/Mpc], and 1/k^2, zero at k = 0."""
    full = (2 * np.pi * np.fft.fftfreq(n, box_size / n)).astype(np.float32)
    half = (2 * np.pi * np.fft.rfftfreq(n, box_size / n)).astype(np.float32)
    k = [full[:, None, None], full[None, :, None], half[None, None, :]]
    square = k[0] ** 2 + k[1] ** 2 + k[2] ** 2
    inverse = np.zeros_like(square)
    np.divide(1, square, out=inverse, where=square > 0)
    return k, inverse


def cloud_in_cell(displacement: NDArray, box_size: float, mesh: int) -> csr_array:
    """Weights of the eight mesh points around every particle (Hockney & Eastwood 1981, section 5-3).

    The mesh points lie at ``(i - 1/2) box_size / mesh``: the particles' own grid sits in the middle between them. On
    them the weights have a kink, and the force on particles that have hardly moved would be wrong by tens of percent.

    Parameters
    ----------
    displacement : ndarray, shape (3, n, n, n)
        Displacement of the particles from their grid [Mpc/h].
    box_size : float
        Side of the box [Mpc/h].
    mesh : int
        Mesh points along a side.

    Returns
    -------
    csr_array, shape (n**3, mesh**3), float32
        The weights W: ``W.T @ mass`` assigns masses to the mesh, ``W @ values`` reads a field at the particles.

    Examples
    --------
    >>> weights = cloud_in_cell(np.zeros((3, 4, 4, 4), np.float32), box_size=1.0, mesh=8)
    >>> float((weights.T @ np.ones(64, np.float32)).sum())
    64.0
    """
    n = displacement.shape[1]
    grid = (np.arange(n) * (mesh / n) + 0.5).astype(np.float32)
    cells, weights = [], []
    for axis in range(3):
        position = displacement[axis] * np.float32(mesh / box_size)
        position += grid.reshape([-1 if a == axis else 1 for a in range(3)])
        lower = np.floor(position)
        upper_weight = (position - lower).ravel()
        cell = lower.astype(np.int32).ravel() % mesh
        following = cell + 1
        following[following == mesh] = 0
        cells.append(np.stack([cell, following], axis=1))
        weights.append(np.stack([1 - upper_weight, upper_weight], axis=1))
    (ix, iy, iz), (wx, wy, wz) = cells, weights
    columns = (ix * np.int32(mesh))[:, :, None] + iy[:, None, :]
    columns = (columns * np.int32(mesh))[..., None] + iz[:, None, None, :]
    values = (wx[:, :, None] * wy[:, None, :])[..., None] * wz[:, None, None, :]
    rows = np.arange(0, 8 * n**3 + 1, 8, dtype=np.int32)
    return csr_array((values.ravel(), columns.ravel(), rows), shape=(n**3, mesh**3))


def density_contrast(displacement: NDArray, box_size: float, mesh: int) -> NDArray[np.float32]:
    """Density contrast of the particles on a mesh by cloud-in-cell assignment.

    Parameters
    ----------
    displacement, box_size
        As of `cloud_in_cell`.
    mesh : int
        Mesh points along a side.

    Returns
    -------
    ndarray, shape (mesh, mesh, mesh), float32
        ``rho / mean(rho) - 1`` at the points ``(i - 1/2) box_size / mesh`` [dimensionless].
    """
    return _contrast(cloud_in_cell(displacement, box_size, mesh), displacement[0].size, mesh)


def _contrast(weights: csr_array, particles: int, mesh: int) -> NDArray[np.float32]:
    mass = np.full(particles, mesh**3 / particles, np.float32)
    return (weights.T @ mass).reshape(mesh, mesh, mesh) - np.float32(1)


def _difference(k: NDArray, spacing: float) -> NDArray[np.float32]:
    """Wavenumber of the four-point difference, ``(8 sin(k h) - sin(2 k h)) / 6 h``.

    It vanishes at the Nyquist frequency, where the exact derivative jumps. A harmonic of the particles' own grid falls
    on that jump if the mesh is twice as fine: the exact derivative then moves power to large scales.
    """
    return ((8 * np.sin(k * spacing) - np.sin(2 * k * spacing)) / (6 * spacing)).astype(np.float32)


class Gravity:
    """The force ``g = grad lap^-1 (-delta)`` on every particle, from the particles' displacement.

    In linear theory it equals the displacement of first order, ``D_1 psi_1`` [Mpc/h].

    Parameters
    ----------
    box_size : float
        Side of the box [Mpc/h].
    mesh : int
        Mesh points along a side.
    workers : int
        Threads of the Fourier transforms.

    Examples
    --------
    >>> at_rest = np.zeros((3, 4, 4, 4), np.float32)
    >>> bool(np.all(Gravity(box_size=1.0, mesh=8)(at_rest) == 0))
    True
    """

    def __init__(self, box_size: float, mesh: int, workers: int = 1):
        self.box_size, self.mesh, self.workers = box_size, mesh, workers
        k, self.inverse_square = wavenumbers(self.mesh, self.box_size)
        self.gradient = [_difference(ki, box_size / mesh) for ki in k]

    def __call__(self, displacement: NDArray) -> NDArray[np.float32]:
        """Force on every particle, shape (3, n, n, n) as `displacement`."""
        weights = cloud_in_cell(displacement, self.box_size, self.mesh)
        delta = np.asarray(scipy.fft.rfftn(_contrast(weights, displacement[0].size, self.mesh), workers=self.workers))
        delta *= self.inverse_square
        force = np.empty_like(displacement)
        for axis, ki in enumerate(self.gradient):
            modes = delta * (1j * ki)
            shape = (self.mesh,) * 3
            component = np.asarray(scipy.fft.irfftn(modes, s=shape, workers=self.workers, overwrite_x=True))
            force[axis] = (weights @ component.ravel()).reshape(displacement.shape[1:])
        return force
