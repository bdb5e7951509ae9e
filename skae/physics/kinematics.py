"""Four-momenta of jets, and their features log pT, η, φ and m/pT, both ways.

``xp`` is the array namespace: NumPy, or what has its functions, as torch has in an exported graph.
"""

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

__all__ = [
    "COORDINATES",
    "are_below_mass_shell",
    "energy_pt_eta_phi",
    "features_of_momenta",
    "implausible_angles",
    "momenta_of_features",
]

#: sets of columns that fix a four-momentum; what comes first is preferred
COORDINATES = (
    ("E", "pt", "eta", "phi"),
    ("m", "pt", "eta", "phi"),
    ("px", "py", "pz", "E"),
    ("px", "py", "pz", "m"),
)

# What rounding may take from an energy of a nearly massless particle, relative to its momentum.
_ROUNDING = 1e-4
# There a transverse momentum of 1 GeV takes 1.6 PeV, more than any beam has.
_LARGEST_ETA = 15.0


def features_of_momenta(momenta: Mapping[str, Any], xp: Any = np) -> tuple[Any, Any, Any, Any]:
    """Return log pT, η, φ and m/pT, where the sign of m is that of m².

    Parameters
    ----------
    momenta : dict
        Arrays (n,) under the names of one of ``COORDINATES``; in one unit (c = 1), angles in radians. A
        negative m stands for m² < 0.
    xp : namespace, default=numpy
        What the arrays belong to.
    """
    pt, eta, phi = _directions(momenta, xp)
    if "m" in momenta:
        mass = momenta["m"]
    else:
        p = pt * xp.cosh(eta)
        mass_squared = (momenta["E"] - p) * (momenta["E"] + p)
        mass = xp.copysign(xp.sqrt(xp.abs(mass_squared)), mass_squared)
    return xp.log(pt), eta, phi, mass / pt


def energy_pt_eta_phi(momenta: Mapping[str, Any]) -> tuple[Any, Any, Any, Any]:
    """Return E, pT, η and φ, each (n,), of what :func:`features_of_momenta` takes."""
    pt, eta, phi = _directions(momenta, np)
    if "E" in momenta:
        return momenta["E"], pt, eta, phi
    p, mass = pt * np.cosh(eta), momenta["m"]
    # hypot where it can be, which neither overflows nor loses digits
    energy = np.where(
        mass < 0.0, np.sqrt(np.clip((p + mass) * (p - mass), 0.0, None)), np.hypot(p, mass)
    )
    return energy, pt, eta, phi


def _directions(momenta: Mapping[str, Any], xp: Any) -> tuple[Any, Any, Any]:
    """Return pT, η and φ."""
    if "px" not in momenta:
        return momenta["pt"], momenta["eta"], momenta["phi"]
    pt = xp.hypot(momenta["px"], momenta["py"])
    return pt, xp.arcsinh(momenta["pz"] / pt), xp.arctan2(momenta["py"], momenta["px"])


def momenta_of_features(
    features: Collection[Any], names: Collection[str], largest_angle: float, xp: Any = np
) -> list[Any]:
    r"""Return the four-momenta of features, as the components of these names.

    Parameters
    ----------
    features : sequence of four arrays of shape (n,)
        log pT, η, φ and m/pT. A mass term too negative for its momentum gives E = 0.
    names : sequence of str
        What is returned, in order: of E, m, pt, eta, phi, px, py, pz.
    largest_angle : float
        A larger \|φ\| is wrapped into [−π, π]: π in the precision that the angles were stored in,
        which in float32 is a little larger than π.
    xp : namespace, default=numpy
        What the arrays belong to.
    """
    log_pt, eta, phi, mass_over_pt = features
    pt = xp.exp(log_pt)
    turned = xp.remainder(phi + math.pi, 2.0 * math.pi) - math.pi
    phi = xp.where(xp.abs(phi) <= largest_angle, phi, turned)
    momenta = {"pt": pt, "eta": eta, "phi": phi, "m": mass_over_pt * pt}
    if "E" in names:
        square = xp.cosh(eta) ** 2 + mass_over_pt * xp.abs(mass_over_pt)
        momenta["E"] = pt * xp.sqrt(xp.clip(square, 0.0, None))
    if "px" in names:
        momenta |= {"px": pt * xp.cos(phi), "py": pt * xp.sin(phi), "pz": pt * xp.sinh(eta)}
    return [momenta[name] for name in names]


def are_below_mass_shell(momenta: Mapping[str, Any]) -> np.ndarray:
    """Tell which energies are less than the momenta beside them, by more than rounding.

    Parameters
    ----------
    momenta : dict
        Arrays (n,) under the names E and pt, eta or E and px, py, pz.
    """
    if "px" in momenta:
        p = np.sqrt(momenta["px"] ** 2 + momenta["py"] ** 2 + momenta["pz"] ** 2)
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            p = momenta["pt"] * np.cosh(momenta["eta"])
    return momenta["E"] < p * (1.0 - _ROUNDING)


def implausible_angles(eta: np.ndarray, phi: np.ndarray) -> list[str]:
    """Return what looks wrong with pseudorapidities and azimuths (n,), each in a clause."""
    found = []
    if (largest := np.abs(eta).max()) > _LARGEST_ETA:
        found.append(
            f"eta reaches {largest:.6g}, as no particle's does: an angle in degrees, or a marker value?"
        )
    if (largest := np.abs(phi).max()) > 2.0 * np.pi + 1e-6:
        found.append(
            f"phi reaches {largest:.6g}, beyond 2π: in degrees? numpy.deg2rad gives radians"
        )
    return found
