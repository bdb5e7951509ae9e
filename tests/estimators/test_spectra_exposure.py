"""SpectraVAE of counts with exposures and a background: quadrature, units, doors."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import poisson
from sklearn import config_context
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skae import SpectraVAE

N_BINS = 20


def counted(n=500, seed=0):
    """Return counts, exposures over two decades, backgrounds, and rates of one latent coordinate."""
    rng = np.random.default_rng(seed)
    bins = np.arange(N_BINS)
    rate = np.exp(
        0.2 + 0.3 * np.cos(bins / 5.0) + 0.5 * np.sin(bins / 3.0) * rng.normal(size=(n, 1))
    )
    exposure = 10.0 ** rng.uniform(0.0, 2.0, n)
    background = rng.uniform(0.0, 5.0, (n, N_BINS))
    counts = rng.poisson(exposure[:, None] * rate + background).astype(np.float64)
    return counts, exposure, background, rate


def model(**options):
    options = {"max_epochs": 40, "batch_size": 50, "lr": 3e-3, **options}
    return SpectraVAE(1, likelihood="poisson", hidden_layer_sizes=(16,), random_state=0, **options)


@pytest.fixture(scope="module")
def rows():
    return counted()


@pytest.fixture(scope="module")
def fitted(rows):
    counts, exposure, background, _ = rows
    return model().fit(counts, exposure=exposure, background=background)


def test_likelihoods_and_posteriors_are_those_of_quadrature(fitted):
    counts, exposure, background, _ = counted(60, seed=1)
    given = {"exposure": exposure, "background": background}
    z = np.linspace(-7.0, 7.0, 2801)
    rates = fitted.inverse_transform(z[:, None])
    prior = -0.5 * z**2 - 0.5 * np.log(2.0 * np.pi) + np.log(z[1] - z[0])
    expected = exposure[:, None, None] * rates + background[:, None]
    joint = poisson.logpmf(counts[:, None], expected).sum(axis=2) + prior
    exact = logsumexp(joint, axis=1)
    bound = fitted.score_samples(counts, **given, n_importance=256, n_draws=4096)
    np.testing.assert_allclose(bound, exact, atol=0.1)
    assert np.abs(bound - exact).mean() < 0.02
    elbo = fitted.score_samples(counts, **given)
    assert (elbo < exact + 0.02).all()
    assert np.mean(exact - elbo) < 0.2
    density = np.exp(joint - exact[:, None])
    mean, std = (part[:, 0] for part in fitted.posterior(counts, **given))
    true = density @ z
    width = np.sqrt(density @ z**2 - true**2)
    assert np.sqrt(np.mean(np.square((mean - true) / width))) < 0.5
    assert np.median(np.abs(std / width - 1.0)) < 0.15
    # ten times the exposure tells more
    assert np.corrcoef(np.log(exposure), np.log(std))[0, 1] < -0.8


def test_rates_come_back_with_errors_that_cover(fitted):
    counts, exposure, background, rate = counted(400, seed=2)
    given = {"exposure": exposure, "background": background}
    mean, std = fitted.reconstruct(counts, return_std=True, **given)
    assert np.median(np.abs(mean / rate - 1.0)) < 0.06
    # somewhat narrow: the network does not doubt itself
    assert 0.82 < np.mean(np.abs(mean - rate) < 2.0 * std) < 0.97
    pulls = fitted.pulls(counts, **given)
    assert np.mean(pulls**2) == pytest.approx(19 / 20, abs=0.06)
    expected = exposure[:, None] * mean + background
    np.testing.assert_allclose(pulls, (counts - expected) / np.sqrt(expected), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(fitted.noise_std(mean, **given), np.sqrt(expected), rtol=1e-6)


def test_exposures_have_any_unit(rows, fitted):
    counts, exposure, background, _ = rows
    hours = model().fit(counts, exposure=exposure / 3600.0, background=background)
    in_hours = {"exposure": exposure / 3600.0, "background": background}
    in_seconds = {"exposure": exposure, "background": background}
    scores = hours.score_samples(counts, **in_hours), fitted.score_samples(counts, **in_seconds)
    np.testing.assert_allclose(*scores, atol=0.02)
    rates = hours.reconstruct(counts, **in_hours), fitted.reconstruct(counts, **in_seconds)
    np.testing.assert_allclose(rates[0], 3600.0 * rates[1], rtol=2e-3)


def test_without_exposure_nothing_was_seen(rows, fitted):
    counts, exposure, background, _ = (part[:50] for part in rows)
    exposures = np.repeat(exposure[:, None], N_BINS, axis=1)
    whole = fitted.transform(counts, exposure=exposure, background=background)
    by_bin = fitted.transform(counts, exposure=exposures, background=background)
    np.testing.assert_array_equal(by_bin, whole)
    gap = np.random.default_rng(0).uniform(size=counts.shape) < 0.3
    missing = np.where(gap, np.nan, counts)
    expected = fitted.score_samples(missing, exposure=exposure, background=background)
    assert np.isfinite(expected).all()
    for nothing in (0.0, np.nan, np.inf, -1.0):
        dead = np.where(gap, nothing, exposures)
        scores = fitted.score_samples(counts, exposure=dead, background=background)
        np.testing.assert_array_equal(scores, expected)
    unknown = np.where(gap, np.nan, background)
    scores = fitted.score_samples(counts, exposure=exposure, background=unknown)
    np.testing.assert_array_equal(scores, expected)
    again = model(max_epochs=2).fit(missing, exposure=exposure, background=background)
    assert np.isfinite(again.score(missing, exposure=exposure, background=background))


def test_counts_are_drawn_with_exposures(fitted):
    exposure, background = np.full(20_000, 50.0), np.full((20_000, N_BINS), 3.0)
    drawn = fitted.sample(20_000, random_state=0, exposure=exposure, background=background)
    rates = fitted.sample(20_000, random_state=0, noise=False)
    assert not (drawn % 1.0).any()
    expected = 50.0 * rates + 3.0
    pulls = (drawn - expected) / np.sqrt(expected)
    assert pulls.mean() == pytest.approx(0.0, abs=0.01)
    assert pulls.var() == pytest.approx(1.0, abs=0.02)
    dead = np.full((3, N_BINS), 50.0)
    dead[1, 4] = 0.0
    drawn = fitted.sample(3, random_state=0, exposure=dead, background=background[:3])
    np.testing.assert_array_equal(np.argwhere(np.isnan(drawn)), [[1, 4]])


def test_one_of_the_two_may_be_left_out(rows):
    counts, exposure, background, _ = rows
    exposed = model(max_epochs=3).fit(counts, exposure=exposure)
    nothing = np.zeros(len(counts))
    both = model(max_epochs=3).fit(counts, exposure=exposure, background=nothing)
    scores = (
        exposed.score(counts, exposure=exposure),
        both.score(counts, exposure=exposure, background=nothing),
    )
    assert scores[0] == scores[1]
    alone = model(max_epochs=3).fit(counts, background=background)
    assert alone.reconstruct(counts, background=background).shape == counts.shape


def test_what_was_given_in_a_fit_is_asked_for(rows, fitted):
    counts, exposure, background, _ = (part[:30] for part in rows)
    for call in (fitted.transform, fitted.pulls, fitted.score_samples, fitted.partial_fit):
        with pytest.raises(ValueError, match="exposure is missing"):
            call(counts, background=background)
        with pytest.raises(ValueError, match="background is missing"):
            call(counts, exposure=exposure)
    with pytest.raises(ValueError, match="exposure is missing"):
        fitted.sample(3)
    with pytest.raises(ValueError, match="noise=False draws rates"):
        fitted.sample(3, noise=False, exposure=exposure[:3], background=background[:3])
    plain = SpectraVAE(1, likelihood="poisson", max_epochs=1).fit(counts)
    with pytest.raises(ValueError, match="exposure was given, but"):
        plain.transform(counts, exposure=exposure)


def test_what_cannot_be_used_is_refused(rows):
    counts, exposure, background, _ = (part[:30].copy() for part in rows)
    with pytest.raises(ValueError, match="takes no exposure and no background"):
        SpectraVAE(1).fit(counts, exposure=exposure)
    with pytest.raises(ValueError, match=r"exposure has shape \(29,\), but X \(30, 20\)"):
        model().fit(counts, exposure=exposure[1:])
    background[3, 7] = -2.0
    with pytest.raises(ValueError, match=r"negative counts, -2 in row 3, column 7"):
        model().fit(counts, background=background)
    exposure[4] = 0.0
    with pytest.raises(ValueError, match="1 rows of nothing but NaN, the first is row 4"):
        model().fit(counts, exposure=exposure)


def test_exposures_are_routed_and_held_out_with_their_rows(rows):
    counts, exposure, background, _ = rows
    with config_context(enable_metadata_routing=True):
        vae = model(max_epochs=4, early_stopping=True)
        for method in ("fit", "transform", "score"):
            getattr(vae, f"set_{method}_request")(exposure=True, background=True)
        pipeline = make_pipeline(FunctionTransformer(), vae)
        pipeline.fit(counts, exposure=exposure, background=background)
        found = pipeline.transform(counts, exposure=exposure, background=background)
    alone = model(max_epochs=4, early_stopping=True)
    expected = alone.fit_transform(counts, exposure=exposure, background=background)
    np.testing.assert_array_equal(found, expected)
