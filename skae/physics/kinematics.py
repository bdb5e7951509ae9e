"""Four-momenta of jets, and their features log pT, η, φ and m/pT, both ways.

``xp`` is the array namespace: NumPy, or what has its functions, as torch has in an exported graph.
"""

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

__all__ = ["features_of_momenta", "momenta_of_features"]


def features_of_momenta(momenta: Mapping[str, Any], xp: Any = np) -> tuple[Any, Any, Any, Any]:
    """Return log pT, η, φ and m/pT, where the sign of m is that of m².

    Parameters
    ----------
    momenta : dict
        Arrays (n,) under the names E, pt, eta, phi, or m, pt, eta, phi, or px, py, pz, E; in one unit
        (c = 1), angles in radians.
    xp : namespace, default=numpy
        What the arrays belong to.
    """
    if "px" in momenta:
        pt = xp.hypot(momenta["px"], momenta["py"])
        eta = xp.arcsinh(momenta["pz"] / pt)
        phi = xp.arctan2(momenta["py"], momenta["px"])
    else:
        pt, eta, phi = momenta["pt"], momenta["eta"], momenta["phi"]
    if "m" in momenta:
        mass = momenta["m"]
    else:
        p = pt * xp.cosh(eta)
        mass_squared = (momenta["E"] - p) * (momenta["E"] + p)
        mass = xp.copysign(xp.sqrt(xp.abs(mass_squared)), mass_squared)
    return xp.log(pt), eta, phi, mass / pt


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
