"""Scorers draw at the energies of what was held out, and prefer models that are nearer."""

import pickle

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skae
from skae.datasets import CaloGeometry, make_showers
from skae.metrics import frechet_physics_distance, separation_power, shower_features

GEOMETRY = CaloGeometry([(0, 5, 20)] * 4, [4] * 4, 0.1, np.arange(5) * 25.0)
OPTIONS = {
    "frechet": {"n_batches": 3, "n_points": 3},
    "kernel": {"batch_size": 300},
    "classifier": {"classifier": make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))},
    "response": {},
}


class Generator(BaseEstimator):
    """Draws showers, too bright or not."""

    def __init__(self, scale=1.0):
        self.scale = scale

    def fit(self, X, y=None):
        return self

    def sample(self, incident_energy, random_state=None):
        X = make_showers(
            len(incident_energy), energy=incident_energy, geometry=GEOMETRY, random_state=7
        )
        X[:, 1:] *= self.scale
        return X


@pytest.fixture(scope="module")
def showers():
    return make_showers(900, geometry=GEOMETRY, random_state=0)


def response_power(*pair):
    """The separation power of visible over incident energies."""
    response = [part[:, 1:].sum(axis=1, dtype=np.float64) / part[:, 0] for part in pair]
    return separation_power(*response, bins=np.linspace(0.5, 1.5, 101))


@pytest.mark.parametrize("metric", OPTIONS)
def test_the_better_model_scores_higher(showers, metric):
    scorer = skae.make_shower_scorer(metric, geometry=GEOMETRY, **OPTIONS[metric])
    good, bad = scorer(Generator(), showers), scorer(Generator(3.0), showers)
    assert bad < good <= 0.1
    assert pickle.loads(pickle.dumps(scorer))(Generator(), showers) == good
    search = GridSearchCV(Generator(), {"scale": [3.0, 1.0]}, scoring=scorer, cv=2).fit(showers)
    assert search.best_params_ == {"scale": 1.0}


def test_scores_are_the_metrics(showers):
    drawn = Generator().sample(showers[:, 0])
    features = [shower_features(part, geometry=GEOMETRY) for part in (showers, drawn)]
    expected = frechet_physics_distance(
        *features, min_samples=450, max_samples=900, **OPTIONS["frechet"]
    )
    scorer = skae.make_shower_scorer("frechet", geometry=GEOMETRY, **OPTIONS["frechet"])
    assert scorer(Generator(), showers) == -expected.value
    assert np.isfinite(scorer(Generator(), showers[:2]))
    scorer = skae.make_shower_scorer("response", geometry=GEOMETRY)
    assert scorer(Generator(), showers) == -response_power(showers, drawn)
    weight = np.r_[np.ones(450), np.zeros(450)]
    halved = response_power(showers[:450], drawn[:450])
    assert scorer(Generator(), showers, sample_weight=weight) == pytest.approx(-halved)


def test_pipelines_are_scored_in_mev(showers):
    model = make_pipeline(
        skae.LogRatioTransformer("log1p", reference=0, threshold=0.1),
        skae.CaloShowerVAE(n_components=2, hidden_size=8, max_epochs=1, random_state=0),
    ).fit(showers)
    scorer = skae.make_shower_scorer("response", geometry=GEOMETRY)
    expected = response_power(showers, skae.sample(model, showers[:, 0], random_state=0))
    assert scorer(model, showers) == pytest.approx(-expected)
    assert scorer(model, showers) == scorer(model, showers)


class Weighed(Generator):
    """Takes weights, and does nothing with them."""

    def fit(self, X, y=None, sample_weight=None):
        return self


@pytest.mark.parametrize("routing", [False, True])
def test_a_search_hands_weights_on(showers, routing):
    """Of the first half of the showers nothing counts."""
    with sklearn.config_context(enable_metadata_routing=routing):
        scorer = skae.make_shower_scorer("response", geometry=GEOMETRY)
        model = Weighed()
        if routing:
            scorer.set_score_request(sample_weight=True)
            model.set_fit_request(sample_weight=True)
        weight = np.where(np.arange(900) < 450, 0.0, 1.0)
        options = {"scoring": scorer, "cv": KFold(3, shuffle=True, random_state=0)}
        search = GridSearchCV(model, {"scale": [1.0]}, **options).fit(showers, sample_weight=weight)
        expected = [
            scorer(model, showers[test], sample_weight=weight[test])
            for _, test in options["cv"].split(showers)
        ]
        plain = [scorer(model, showers[test]) for _, test in options["cv"].split(showers)]
    found = [search.cv_results_[f"split{i}_test_score"][0] for i in range(3)]
    assert found == pytest.approx(expected)
    assert found != pytest.approx(plain)


def test_bad_input_is_named(showers):
    with pytest.raises(ValueError, match="metric"):
        skae.make_shower_scorer("mmd")
    with pytest.raises(
        TypeError, match="no option 'min_sample'; there are 'max_samples', 'min_samples'"
    ):
        skae.make_shower_scorer("frechet", min_sample=10)
    with pytest.raises(ValueError, match="X has 33 columns; the geometry has 6480"):
        skae.make_shower_scorer()(Generator(), showers)
