"""A poor fit says so, and what to do; a good one says nothing. Slow: of twenty seeds each.

python -m pytest -m slow tests/estimators/test_poor_fit.py
"""

import warnings

import numpy as np
import pytest
from fits import small
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import (
    BoxCoxTransformer,
    CaloShowerVAE,
    JetAutoencoder,
    KinematicsTransformer,
    LogRatioTransformer,
    MultiResRNNRegressor,
    NoiseInjector,
    PulseLocator,
    SpectraVAE,
)
from skae.datasets import (
    make_jets,
    make_photon_correlations,
    make_pulses,
    make_showers,
    make_spectra,
)
from skae.exceptions import PoorFitWarning

IN_DEGREES = np.array([1.0, 1.0, 180.0 / np.pi, 1.0])
IN_MEV = np.array([1e3, 1e3, 1.0, 1.0])


def jets(seed, n=2000):
    return make_jets(n, random_state=seed)


def standard_jets(seed, n=2000):
    return StandardScaler().fit_transform(jets(seed, n))


def features(seed, n=2000):
    return KinematicsTransformer().fit_transform(jets(seed, n))


def spectra(seed, n=2000):
    return make_spectra(n, random_state=seed)[0]


def pulses(seed, n=2000):
    return make_pulses(n, random_state=seed)


def correlations(seed, n=2000, *, noisy=False):
    g2 = make_photon_correlations(n, n_times=256, random_state=seed)
    return (g2.noisy if noisy else g2.clean), g2.clean


def showers(seed, n=2000):
    return make_showers(n, random_state=seed)


def partly_dark(seed, n=2000):
    X = showers(seed, n)
    X[::50, 0] = 0.0
    return X


def shuffled(pair, seed, n=None):
    X, y = pair
    return X, np.random.default_rng(seed).permutation(y)


def shower_pipeline(**parameters):
    model = CaloShowerVAE(voxel_shape=(45, 16, 9), **parameters)
    return make_pipeline(LogRatioTransformer("log1p", reference=0), model)


def poor(model, data):
    """Fit, and return what the warning says; None where there is none."""
    X, y = data if isinstance(data, tuple) else (data, None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", PoorFitWarning)
        model.fit(X, y)
    return str(caught[0].message) if caught else None


def seeded(model, seed):
    model = clone(model)
    names = [name for name in model.get_params() if name.endswith("random_state")]
    return model.set_params(**dict.fromkeys(names, seed))


# -- what must be told: a model, its data, and a word of the message -----------------------------

_ANGULAR = JetAutoencoder(angles=[2])
_NOISE = NoiseInjector({"poisson": 0.95, "gaussian": 0.05}, counts=(1, 1000))

FAILURES = {
    "jets, GeV": (JetAutoencoder(), jets, "is lost"),
    "jets, GeV, angles": (JetAutoencoder(angles=[3]), jets, "is lost"),
    "jets, MeV": (JetAutoencoder(), lambda *s: jets(*s) * IN_MEV, "is lost"),
    "jets, degrees": (_ANGULAR, lambda *s: features(*s) * IN_DEGREES, "np.deg2rad"),
    "jets, scaled angles": (JetAutoencoder(angles=[3]), standard_jets, "must stay in radians"),
    "jets, few steps": (JetAutoencoder(max_epochs=3), standard_jets, "only 24 steps"),
    "spectra, scaled counts": (
        SpectraVAE(likelihood="poisson"), lambda *s: np.rint(spectra(*s) * 10), "Where counts were scaled"
    ),
    "spectra, no counts": (
        SpectraVAE(likelihood="poisson"), lambda *s: spectra(*s) / 100, "X does not hold counts"
    ),
    "spectra, ADC units": (
        SpectraVAE(noise_sigma=1.0), lambda *s: spectra(*s) * 50.0, "noise_sigma in the units of X"
    ),
    "spectra, few steps": (
        SpectraVAE(likelihood="poisson", decoder="lstm", max_epochs=2),
        lambda *s: spectra(*s)[:, :100],
        "only 32 steps",
    ),
    "pulses, other labels": (
        PulseLocator(max_epochs=4), lambda *s: shuffled(pulses(*s), *s), "R² of the mean position"
    ),
    "pulses, few steps": (PulseLocator(max_epochs=1, batch_size=1000), pulses, "only 2 steps"),
    "sequences, other targets": (
        MultiResRNNRegressor(max_epochs=1, batch_size=256),
        lambda *s: shuffled(correlations(*s), *s),
        "resolution 0",
    ),
    "sequences, few steps": (
        MultiResRNNRegressor(max_epochs=1, batch_size=256),
        lambda *s: correlations(*s, noisy=True),
        "only 8 steps",
    ),
    "showers, few steps": (shower_pipeline(max_epochs=1, batch_size=128), showers, "only 16 steps"),
    "showers, no energies": (
        CaloShowerVAE(max_epochs=2), lambda *s: showers(*s)[:, 1:], "column 0"
    ),
    "showers, dark energies": (
        CaloShowerVAE(max_epochs=2), partly_dark, "an incident energy of 0"
    ),
}  # fmt: skip

# -- the guides' pipelines ---------------------------------------------------------------------

GUIDES = {
    "jets": (make_pipeline(KinematicsTransformer(), _ANGULAR), jets),
    "jets, winding": (
        make_pipeline(KinematicsTransformer(), JetAutoencoder(angles=[2], winding=32.0)), jets
    ),
    "jets, Box-Cox": (make_pipeline(BoxCoxTransformer(), JetAutoencoder()), jets),
    "spectra": (SpectraVAE(likelihood="poisson"), spectra),
    "spectra, learnt noise": (SpectraVAE(), spectra),
    "spectra, layers": (SpectraVAE(likelihood="poisson", hidden_layer_sizes=(64, 64)), spectra),
    "pulses": (PulseLocator(), pulses),
    "sequences": (MultiResRNNRegressor(noise=_NOISE), correlations),
    "showers": (shower_pipeline(), showers),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_told_for_nearly_every_seed(name):
    model, data, words = FAILURES[name]
    told = [poor(seeded(model, seed), data(seed)) for seed in range(20)]
    assert sum(words in (message or "") for message in told) >= 19


@pytest.mark.slow
@pytest.mark.parametrize("name", GUIDES)
def test_the_pipelines_of_the_guides_are_quiet_for_nearly_every_seed(name):
    model, data = GUIDES[name]
    told = [poor(seeded(model, seed), data(seed)) for seed in range(20)]
    assert sum(message is not None for message in told) <= 1, told


# -- a few of them, always ---------------------------------------------------------------------

QUICK = {
    "jets, GeV": {"max_epochs": 30},
    "jets, degrees": {"max_epochs": 5},
    "jets, scaled angles": {"max_epochs": 5},
    "spectra, scaled counts": {"max_epochs": 5},
    "spectra, no counts": {"max_epochs": 5},
    "spectra, ADC units": {"max_epochs": 5},
    "pulses, other labels": {"n_channels": 4, "trace_channels": 4, "max_epochs": 1},
    "sequences, other targets": {"hidden_size": 8},
}


@pytest.mark.parametrize("name", QUICK)
def test_a_failure_is_told(name):
    model, data, words = FAILURES[name]
    assert words in poor(seeded(model, 0).set_params(**QUICK[name]), data(0, 300))


def test_showers_are_judged_by_energies_and_hits(rng):
    energy = rng.uniform(1.0, 100.0, size=(300, 1))
    X = np.hstack([energy, energy * rng.dirichlet(np.ones(8), size=300)])
    model = CaloShowerVAE(2, hidden_size=16, max_epochs=30, batch_size=64, random_state=0)
    assert poor(model, X) is None
    dark = X.copy()
    dark[::50, 0] = 0.0
    assert "6 of 300 showers have lit voxels but an incident energy of 0" in poor(model, dark)
    other = np.hstack([rng.permutation(energy), X[:, 1:]])
    assert "does not rise with column 0" in poor(model, other)
    # totals of all are those of the start, but not those of any energy
    told = poor(model.set_params(max_epochs=1), X)
    assert f"training at incident energies of {energy.min():.3g} to" in told


def test_a_warning_of_ours_is_one_of_scikit_learns():
    assert issubclass(PoorFitWarning, ConvergenceWarning)


def test_good_fits_few_rows_and_chunks_are_not_told_of(jets):
    assert poor(small(max_epochs=60), StandardScaler().fit_transform(jets)) is None
    assert poor(small(), jets[:249]) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error", PoorFitWarning)
        small().partial_fit(jets)


def test_columns_that_do_not_vary_are_not_lost(standard_jets):
    X = np.column_stack([standard_jets, np.full(len(standard_jets), 7.0)])
    assert poor(small(max_epochs=60), X) is None


@pytest.mark.parametrize("value", [0.0, 7.0])
@pytest.mark.parametrize(
    "model", [small(n_components=1), SpectraVAE(1, max_epochs=2, random_state=0)], ids=str
)
def test_data_that_do_not_vary_are_not_judged(model, value):
    assert poor(model, np.full((300, 4), value)) is None


@pytest.mark.parametrize("unit", [1e-140, 1e140])
def test_a_fit_is_judged_in_any_unit(unit, standard_jets):
    assert poor(small(max_epochs=60), standard_jets * unit) is None
    assert "comes back, where" in poor(small(max_epochs=1), standard_jets * unit)


def test_rows_are_judged_as_often_as_they_weigh(standard_jets):
    """Rows that weigh nothing are not looked at, however large they are."""
    X, weight = standard_jets.copy(), np.ones(len(standard_jets))
    X[::2] *= 1e6
    weight[::2] = 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("error", PoorFitWarning)
        small(max_epochs=60).fit(X, sample_weight=weight)


def test_few_steps_are_named_as_the_cause(standard_jets):
    assert "only 7 steps: raise max_epochs" in poor(small(max_epochs=1), standard_jets)
