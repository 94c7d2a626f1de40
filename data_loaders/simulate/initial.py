"""Initial conditions: a Gaussian random field and its displacements in second-order Lagrangian perturbation theory.

Particles start at ``q + s(q)``, on a regular grid q, with

    s = D_1 psi_1 + D_2 psi_2,    psi_1 = -grad phi_1,   lap phi_1 = delta_linear,
                                  psi_2 = grad phi_2,    lap phi_2 = sum_{i<j} (phi_1,ii phi_1,jj - phi_1,ij^2)

(Bouchet et al. 1995, A&A 296, 575; Scoccimarro 1998, MNRAS 299, 1097). ``delta_linear`` is the density contrast of
linear theory at redshift zero.
"""

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from data_loaders.simulate.cosmology import Cosmology
from data_loaders.simulate.mesh import wavenumbers


def lagrangian_start(
    cosmology: Cosmology, delta: NDArray, box_size: float, redshift: float, workers: int = 1
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Displacement and momentum of the growing mode to second order.

    Parameters
    ----------
    cosmology : Cosmology
        The universe.
    delta : ndarray, shape (n, n, n // 2 + 1)
        Modes of the linear density contrast at redshift zero, as of `linear_density_modes`.
    box_size : float
        Side of the box [Mpc/h].
    redshift : float
        Redshift [dimensionless].
    workers : int
        Threads of the Fourier transforms.

    Returns
    -------
    displacement, momentum : ndarray, shape (3, n, n, n), float32
        Comoving displacement ``s`` and ``a^3 E ds/da`` [Mpc/h].
    """
    n, a = delta.shape[0], 1 / (1 + redshift)
    first, first_rate, second, second_rate = cosmology.growth(a)
    k, inverse_square = wavenumbers(n, box_size)

    def to_space(modes):
        return np.asarray(scipy.fft.irfftn(modes, s=(n, n, n), workers=workers))

    potential = -inverse_square * delta
    second_derivative = [to_space(-ki * ki * potential) for ki in k]
    source = np.zeros_like(second_derivative[0])
    for i, j in ((0, 1), (0, 2), (1, 2)):
        source += second_derivative[i] * second_derivative[j] - to_space(-k[i] * k[j] * potential) ** 2
    second_potential = -inverse_square * np.asarray(scipy.fft.rfftn(source, workers=workers))

    velocity_factor = np.float32(a**2 * cosmology.expansion(a))
    displacement, momentum = np.empty((2, 3, *source.shape), np.float32)
    for axis, ki in enumerate(k):
        psi_1 = to_space(-1j * ki * potential)
        psi_2 = to_space(1j * ki * second_potential)
        displacement[axis] = np.float32(first) * psi_1 + np.float32(second) * psi_2
        momentum[axis] = velocity_factor * (np.float32(first_rate) * psi_1 + np.float32(second_rate) * psi_2)
    return displacement, momentum


def linear_density_modes(cosmology: Cosmology, n: int, box_size: float, seed: int) -> NDArray[np.complex64]:
    """Fourier modes of the linear density contrast at redshift zero on the particles' grid.

    Parameters
    ----------
    cosmology : Cosmology
        The universe: its `linear_power` is the mean square of the modes.
    n : int
        Grid points along a side, even.
    box_size : float
        Side of the box [Mpc/h].
    seed : int
        Seed of the phases, see `white_noise_modes`.

    Returns
    -------
    ndarray, shape (n, n, n // 2 + 1), complex64
        As `scipy.fft.rfftn` of the density contrast gives them [dimensionless].
    """
    _, inverse_square = wavenumbers(n, box_size)
    k = np.zeros(inverse_square.shape)
    np.divide(1, np.sqrt(inverse_square, dtype=float), out=k, where=inverse_square > 0)
    # The spectrum is smooth: a fine table replaces the transcendental functions at every mode.
    log_k = np.linspace(np.log(2 * np.pi / box_size) - 0.1, np.log(k.max()) + 0.1, 4000)
    log_power = np.log(cosmology.linear_power(np.exp(log_k)))
    amplitude = np.zeros(k.shape)
    amplitude[k > 0] = np.exp(0.5 * np.interp(np.log(k[k > 0]), log_k, log_power))
    return (white_noise_modes(n, seed) * (amplitude * n**3 / np.sqrt(box_size**3))).astype(np.complex64)


def white_noise_modes(n: int, seed: int) -> NDArray[np.complex128]:
    """Fourier modes of real white noise, of unit mean square each, the same on every grid.

    The modes are drawn shell by shell outwards in ``max(|i|, |j|, |k|)``: a finer grid has the modes of a coarser one
    and more. The modes at zero and at the Nyquist frequency, which two grids cannot share, are zero.

    Parameters
    ----------
    n : int
        Grid points along a side, even.
    seed : int
        Seed.

    Returns
    -------
    ndarray, shape (n, n, n // 2 + 1), complex128
        Modes with the symmetry of the transform of a real field.

    Examples
    --------
    >>> coarse, fine = white_noise_modes(4, seed=0), white_noise_modes(8, seed=0)
    >>> bool(np.all(coarse[:2, :2, :2] == fine[:2, :2, :2]))
    True
    """
    index = np.fft.fftfreq(n, 1 / n).astype(int)
    i, j, k = np.meshgrid(index, index, np.arange(n // 2 + 1), indexing="ij", sparse=True)
    shell = np.maximum(np.maximum(abs(i), abs(j)), k)
    # Lexicographic within the shell: a key that does not know the size of the grid.
    side = 2 * shell.astype(np.int64) + 1
    key = (((shell * 4 * side) + (i + shell)) * side + (j + shell)) * side + k
    inside = np.flatnonzero((shell > 0) & (shell < n // 2))
    order = inside[np.argsort(key.ravel()[inside])]
    draws = np.random.default_rng(seed).standard_normal((len(order), 2))
    modes = np.zeros(shell.size, complex)
    modes[order] = (draws[:, 0] + 1j * draws[:, 1]) / np.sqrt(2)
    modes = modes.reshape(shell.shape)
    # The plane k = 0 holds both a mode and its mirror image, which are conjugate.
    plane = modes[..., 0]
    mirrored = np.roll(plane[::-1, ::-1], 1, axis=(0, 1)).conj()
    negative = (i[..., 0] < 0) | ((i[..., 0] == 0) & (j[..., 0] < 0))
    modes[..., 0] = np.where(negative, mirrored, plane)
    return modes
