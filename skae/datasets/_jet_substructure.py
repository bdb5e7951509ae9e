"""Columns of the inside of jets, as functions of a few hidden variables and noise.

What is hidden is whether a quark or a gluon made the jet, how much of its mass a hard splitting makes,
and how that shares the momentum. Angles are in units of the jet's radius.
"""

import numpy as np

NAMES = (
    "mass", "girth", "lha", "width", "n_constituents", "n_charged", "n_subjets", "charged_fraction",
    "em_fraction", "muon_fraction", "pt_dispersion", "leading_fraction", "charge",
    "tau1", "tau21", "tau32", "C2", "D2", "soft_drop_mass", "zg", "rg",
)  # fmt: skip

# Shares of jets that grooming leaves a single particle of, and that have a muon.
_BARE, _WITH_MUON = 0.05, 0.06


def add_substructure(X: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Return E, pT, η, φ (n, 4) with the columns that NAMES lists beside them, (n, 25)."""
    energy, pt, eta, _ = X.T
    mass = np.sqrt(np.maximum(energy**2 - (pt * np.cosh(eta)) ** 2, 0.0))
    is_gluon = rng.uniform(size=len(X)) < 0.6
    hard = rng.beta(
        0.7, 0.9, size=len(X)
    )  # the share of the mass, squared, that the hard splitting makes
    columns = {"mass": mass}
    columns |= _splitting(mass, pt, hard, rng)
    columns |= _angularities(mass / pt, hard, rng)
    columns |= _contents(mass / pt, pt, is_gluon, rng)
    columns |= _prongs(columns, hard, is_gluon, rng)
    return np.column_stack([X, *(columns[name] for name in NAMES)])


def _splitting(mass, pt, hard, rng):
    """The hard splitting's momentum share z, its angle R and mass: m² = z (1 − z) R² pT²."""
    zg = 0.1 * 5.0 ** rng.uniform(size=len(mass))
    groomed = mass * np.sqrt(hard)
    rg = groomed / (pt * np.sqrt(zg * (1.0 - zg)))
    is_kept = rng.uniform(size=len(mass)) >= _BARE
    return {"zg": zg * is_kept, "rg": rg * is_kept, "soft_drop_mass": groomed * is_kept}


def _angularities(ratio, hard, rng):
    """Σ z Δ², Σ z Δ and Σ z √Δ, which falls off as Jensen's inequality has it."""
    width = ratio**2 * np.exp(0.05 * rng.standard_normal(len(ratio)))
    girth = np.sqrt(width) * (0.5 + 0.4 * hard + 0.08 * rng.beta(2.0, 2.0, size=len(ratio)))
    lha = np.sqrt(girth) * (0.8 + 0.1 * hard + 0.08 * rng.beta(2.0, 2.0, size=len(ratio)))
    return {"width": width, "girth": girth, "lha": lha}


def _contents(ratio, pt, is_gluon, rng):
    """How many particles of which kinds there are, and how unevenly they share the momentum."""
    n = len(pt)
    expected = (
        (4.0 + 4.0 * is_gluon)
        * np.log(pt / 4.0)
        * (0.6 + 2.0 * ratio)
        * rng.gamma(12.0, 1 / 12.0, n)
    )
    n_constituents = 2 + rng.poisson(expected)
    n_charged = rng.binomial(n_constituents - 1, 0.55) + 1
    charged = rng.beta(6.0, 3.7, size=n)
    electromagnetic = (1.0 - charged) * rng.beta(7.0, 3.0, size=n)
    muon = charged * rng.beta(1.0, 15.0, size=n) * (rng.uniform(size=n) < _WITH_MUON)
    dispersion = n_constituents**-0.5 * (
        1.0 + rng.gamma(3.0, 0.25, n) * (1.0 - n_constituents**-0.5)
    )
    dispersion = np.minimum(dispersion, 1.0)
    # between Σ z² and its square root, as the largest z is
    leading = dispersion ** (1.0 + 0.7 * rng.beta(2.0, 4.0, size=n))
    charge = rng.choice([-0.35, 0.35], n) * ~is_gluon + 0.35 * rng.standard_normal(n)
    return {
        "n_constituents": n_constituents,
        "n_charged": n_charged,
        "charged_fraction": charged,
        "em_fraction": electromagnetic,
        "muon_fraction": muon,
        "pt_dispersion": dispersion,
        "leading_fraction": leading,
        "charge": charge,
    }


def _prongs(columns, hard, is_gluon, rng):
    """N-subjettiness, ratios of energy correlators with D2 = C2 / e2, and subjets."""
    n = len(hard)
    tau1 = columns["girth"] * (0.7 + 0.15 * rng.beta(3.0, 3.0, size=n))
    tau21 = (0.85 - 0.65 * hard) * rng.beta(12.0, 2.0, size=n)
    tau32 = (0.75 + 0.15 * is_gluon) * rng.beta(14.0, 2.0, size=n)
    c2 = 0.45 * tau21 * tau32**0.5 * np.exp(0.15 * rng.standard_normal(n))
    e2 = 0.8 * tau1 * np.exp(0.05 * rng.standard_normal(n))
    subjets = 1 + rng.poisson(4.0 * columns["girth"] * (1.0 + is_gluon)) + (columns["rg"] > 0.2)
    return {
        "tau1": tau1,
        "tau21": tau21,
        "tau32": tau32,
        "C2": c2,
        "D2": c2 / e2,
        "n_subjets": subjets,
    }
