"""What surrounds an estimator: notebooks, type checkers, routed weights, loggers."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import sklearn
from fits import small
from fitted import FITTED
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr

import skae
from skae import estimators, transformers

ESTIMATORS = [getattr(skae, name) for name in (*estimators.__all__, *transformers.__all__)]


VOID = {"br", "img", "input", "link", "meta"}  # tags that are never closed


class Text(HTMLParser):
    """The words of a page, and whether each tag is closed that has to be."""

    def __init__(self, page):
        super().__init__()
        self.words, self.open = [], []
        self.feed(re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL))

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert tag in VOID or self.open.pop() == tag

    def handle_data(self, data):
        self.words.extend(data.split())


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: e.__name__)
def test_notebooks_show_the_parameters(estimator):
    page = Text(estimator_html_repr(estimator()))
    assert page.open == []
    assert estimator.__name__ in page.words
    assert set(estimator().get_params(deep=False)) <= set(page.words)


@pytest.mark.parametrize("name", ["jets", "showers-bits", "matched-filter", "every-transformer"])
def test_notebooks_show_what_is_fitted(name):
    model, _ = FITTED[name]()
    page = Text(estimator_html_repr(model))
    assert page.open == []
    assert type(model).__name__ in page.words


def test_weights_are_routed_through_a_search_over_a_pipeline(jets):
    weight = np.random.default_rng(0).uniform(0.2, 2.0, size=len(jets))
    seen = []

    class Weighted(skae.JetAutoencoder):
        def fit(self, X, y=None, sample_weight=None):
            seen.append(sample_weight)
            return super().fit(X, y, sample_weight=sample_weight)

    with sklearn.config_context(enable_metadata_routing=True):
        last = Weighted(hidden_layer_sizes=(8,), max_epochs=2, random_state=0)
        last.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), last)
        search = GridSearchCV(pipeline, {"weighted__n_components": [1, 2]}, cv=2)
        search.fit(jets, sample_weight=weight)
        assert [len(part) for part in seen] == [200, 200, 200, 200, 400]
        assert sorted(np.concatenate(seen[:2])) == sorted(weight)
        weighted = search.score(jets, sample_weight=weight)
    assert weighted != search.best_estimator_.score(jets)


def test_skorchs_tensorboard_logger_as_it_is(jets, tmp_path):
    from skorch.callbacks import TensorBoard
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        model = small(early_stopping=True, callbacks=[TensorBoard(writer)]).fit(jets)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    for name, column in (("Loss/train_loss", "train_loss"), ("Loss/valid_loss", "valid_loss")):
        logged = [event.value for event in events.Scalars(name)]
        np.testing.assert_allclose(logged, model.history_[:, column], rtol=1e-6)


def test_type_checkers_are_told_that_there_are_types():
    assert (Path(skae.__file__).parent / "py.typed").exists()
