r"""The parametrisation of electromagnetic showers by Grindhammer and Peters (2000), hep-ex/0001020.

Depths t are in radiation lengths, radii in Molière radii, energies E in GeV; y is the energy in units of
the critical one. Formulas, and what keeps them in bounds at low energies, are those of GFLASH in Geant4.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import gammainc

from skae.physics.calorimeter import LEAD_ARGON_RADIATION_LENGTH

# Lower bounds of ln T and ln α on average, of α itself, and the upper one of their spread.
_LEAST_LOG = 0.1
LEAST_ALPHA = 1.1
_LEAST_T = 0.5
_MOST_SPREAD = 0.5

# Upper bound of the exponent that the tail's radius grows with.
_MOST_EXPONENT = 10.0


_MATERIALS = {
    "tungsten_silicon": {},
    "lead_argon": {
        "z": 65.8,
        "critical_energy": 9.95,
        "radiation_length": LEAD_ARGON_RADIATION_LENGTH,
        "moliere_radius": 40.4,
        "sampling_frequency": 3.30,
        "e_over_mip": 0.691,
        "resolution": 0.10,
    },
}


@dataclass(frozen=True)
class CaloMaterial:
    """Material of a calorimeter: a homogeneous medium, or an absorber with active layers between.

    The default is the calorimeter of the CaloChallenge's data sets 2 and 3, 1.4 mm of tungsten and
    0.3 mm of silicon in turn; :meth:`named` has that of data set 1 as well.

    Parameters
    ----------
    z : float, default=72.5
        Effective atomic number.
    critical_energy : float, default=8.2
        In MeV.
    radiation_length : float, default=4.2
        In mm.
    moliere_radius : float, default=10.9
        In mm.
    sampling_frequency : float or None, default=2.47
        Radiation length over the thickness of one absorber and one active layer; None is a homogeneous
        medium.
    e_over_mip : float, default=0.704
        Ratio of the responses to electrons and to minimally ionising particles,
        1 / (1 + 0.007 (Z₁ − Z₂)) of absorber and active layer.
    resolution : float, default=0.11
        Sampling resolution at 1 GeV; sets how many spots of energy a shower consists of.

    Examples
    --------
    >>> from skae.datasets import CaloMaterial
    >>> lead_tungstate = CaloMaterial(
    ...     z=68.4, critical_energy=9.6, radiation_length=8.9, moliere_radius=19.6,
    ...     sampling_frequency=None,
    ... )
    """

    z: float = 72.5
    critical_energy: float = 8.2
    radiation_length: float = 4.2
    moliere_radius: float = 10.9
    sampling_frequency: float | None = 2.47
    e_over_mip: float = 0.704
    resolution: float = 0.11

    def __post_init__(self):
        """Check that all are positive."""
        for name, value in vars(self).items():
            if value is None and name == "sampling_frequency":
                continue
            if not 0.0 < value < np.inf:
                raise ValueError(f"{name}={value!r} must be a positive number.")

    @classmethod
    def named(cls, name):
        """Return the material of a calorimeter of the CaloChallenge.

        Parameters
        ----------
        name : {"tungsten_silicon", "lead_argon"}
            That of data sets 2 and 3, or of the liquid-argon barrel of ATLAS: 1.53 mm of lead and 4.2 mm
            of liquid argon in turn, with a resolution of 10 % at 1 GeV. Steel, glue and electrodes are
            left out. Both are weighted means of the media, as GFLASH has them.

        Returns
        -------
        material : CaloMaterial
            Data set 1's tile calorimeter is of iron, and taken for lead and liquid argon too.

        References
        ----------
        ATLAS Collaboration, "The ATLAS experiment at the CERN Large Hadron Collider", JINST 3 (2008)
        S08003.

        M. Aharrouche et al., "Energy linearity and resolution of the ATLAS electromagnetic barrel
        calorimeter in an electron test-beam", Nucl. Instrum. Meth. A 568 (2006) 601, physics/0608012.

        Examples
        --------
        >>> from skae.datasets import CaloMaterial
        >>> CaloMaterial.named("lead_argon").radiation_length
        18.9
        """
        if name not in _MATERIALS:
            raise ValueError(f"name={name!r} is none of {', '.join(map(repr, _MATERIALS))}.")
        return cls(**_MATERIALS[name])

    def n_spots(self, energy):
        """Return how many spots showers consist of, on average.

        Parameters
        ----------
        energy : float or ndarray
            Incident energies, in GeV.

        Returns
        -------
        n_spots : float or ndarray
            Each with as much energy as the others, on average.
        """
        if self.sampling_frequency is None:
            return 93.0 * np.log(self.z) * energy**0.876
        return 10.3 / self.resolution * energy**0.959


class Moments(NamedTuple):
    """Means, standard deviations and correlation of ln T and ln α."""

    log_t: np.ndarray
    log_alpha: np.ndarray
    sigma_t: np.ndarray
    sigma_alpha: np.ndarray
    rho: np.ndarray


class Profiles(NamedTuple):
    """Shapes of single showers along their axis: T and α of the energy, and of the spots."""

    t: np.ndarray
    alpha: np.ndarray
    t_spots: np.ndarray
    alpha_spots: np.ndarray


def longitudinal_moments(energy, material, *, sampling):
    """Return the :class:`Moments` of showers of some energies ``(n,)``, in GeV.

    Of the sampling calorimeter, or of a homogeneous one of the same material.
    """
    log_y = np.log(energy * 1e3 / material.critical_energy)
    t = np.maximum(log_y - 0.812, _LEAST_LOG)
    alpha = np.maximum(0.81 + (0.458 + 2.26 / material.z) * log_y, _LEAST_LOG)
    if sampling:
        per_frequency, less = 1.0 / material.sampling_frequency, 1.0 - material.e_over_mip
        least = np.exp(_LEAST_LOG)
        t = np.maximum(t - 0.55 * per_frequency - 0.69 * less, least)
        alpha = np.maximum(alpha - 0.476 * per_frequency, least)
        inverse_t, inverse_alpha, rho = -2.5 + 1.25 * log_y, -0.82 + 0.79 * log_y, 0.784
    else:
        inverse_t, inverse_alpha, rho = -1.4 + 1.26 * log_y, -0.58 + 0.86 * log_y, 0.705
    rho = np.clip(rho - 0.023 * log_y, -1.0, 1.0)
    return Moments(np.log(t), np.log(alpha), _spread(inverse_t), _spread(inverse_alpha), rho)


def _spread(inverse):
    return 1.0 / np.maximum(inverse, 1.0 / _MOST_SPREAD)


def draw_profiles(energy, material, rng):
    """Return :class:`Profiles` of showers of some energies (GeV), each with fluctuations of its own.

    Energy and spots share them. Spots lie along a profile of the homogeneous medium, scaled.
    """
    normal = rng.standard_normal((2, len(energy)))
    homogeneous = longitudinal_moments(energy, material, sampling=False)
    t_spots, alpha_spots = _fluctuate(homogeneous, normal)
    if material.sampling_frequency is None:
        t, alpha = t_spots, alpha_spots
    else:
        t, alpha = _fluctuate(longitudinal_moments(energy, material, sampling=True), normal)
    return Profiles(
        np.maximum(t, _LEAST_T),
        np.maximum(alpha, LEAST_ALPHA),
        np.maximum(t_spots * (0.698 + 0.00212 * material.z), _LEAST_T),
        np.maximum(alpha_spots * (0.639 + 0.00334 * material.z), LEAST_ALPHA),
    )


def _fluctuate(moments, normal):
    both, against = np.sqrt((1.0 + moments.rho) / 2.0), np.sqrt((1.0 - moments.rho) / 2.0)
    t = np.exp(moments.log_t + moments.sigma_t * (both * normal[0] + against * normal[1]))
    alpha = np.exp(
        moments.log_alpha + moments.sigma_alpha * (both * normal[0] - against * normal[1])
    )
    return t, alpha


def shares_of_layers(t, alpha, edges):
    """Return the share of a Gamma profile between depths ``edges``, shape (n, n_edges − 1)."""
    beta = (alpha - 1.0) / t
    return np.diff(gammainc(alpha[:, None], beta[:, None] * edges), axis=1)


def radial_shape(energy, tau, material):
    r"""Return core radius, tail radius and weight of the core of the radial profile.

    .. math:: f(r) = p \frac{2 r R_C^2}{(r^2 + R_C^2)^2} + (1 - p) \frac{2 r R_T^2}{(r^2 + R_T^2)^2}

    Energies ``(n, 1)`` are in GeV, depths ``tau`` ``(n, n_layers)`` in units of the shower's centre of
    gravity.
    """
    z, log_energy = material.z, np.log(energy)
    core = 0.0251 + 0.00319 * log_energy + (0.1162 - 0.000381 * z) * tau
    # far behind a shower, where nothing of it is left, the tail's radius must stay finite
    rising = np.exp(np.minimum((0.3585 + 0.0412 * log_energy) * (tau - 0.645), _MOST_EXPONENT))
    tail = (0.659 - 0.00309 * z) * (np.exp(-2.59 * (tau - 0.645)) + rising)
    q = (0.401 + 0.00187 * z - tau) / (1.313 - 0.0686 * log_energy)
    weight = (2.632 - 0.00094 * z) * np.exp(q - np.exp(q))
    if material.sampling_frequency is not None:
        per_frequency, less = 1.0 / material.sampling_frequency, 1.0 - material.e_over_mip
        core = core - 0.0203 * less + 0.0397 * per_frequency * np.exp(-tau)
        tail = tail - 0.14 * less - 0.495 * per_frequency * np.exp(-tau)
        weight = weight + less * (0.348 - 0.642 * per_frequency * np.exp(-((tau - 1.0) ** 2)))
    return np.maximum(core, 1e-3), np.maximum(tail, 1e-3), np.clip(weight, 0.0, 1.0)


def shares_of_rings(core, tail, weight, edges):
    """Return the share of the radial profile between radii ``edges``; a last axis is added."""
    squared = np.asarray(edges) ** 2

    def within(radius):
        return squared / (squared + radius[..., None] ** 2)

    weight = weight[..., None]
    return np.diff(weight * within(core) + (1.0 - weight) * within(tail), axis=-1)
