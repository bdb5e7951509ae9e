"""Each transformer of scikit-learn as a step before an autoencoder: saved, and the same to the bit."""

import contextlib
import importlib
import sys

import numpy as np
import pytest
import skops.io
import torch
from fitted import FITTED
from sklearn.decomposition import SparseCoder, TruncatedSVD
from sklearn.ensemble import (
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_extraction import DictVectorizer, FeatureHasher
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.impute import MissingIndicator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils import all_estimators
from sklearn.utils._test_common.instance_generator import _construct_instances

import skae
from skae.physics.calorimeter import CaloGeometry
from skae.physics.correlations import Bins
from skae.training.net_file import optimizers

N = 40
RNG = np.random.default_rng(0)
TABLE = RNG.gamma(2.0, size=(N, 5))
TARGET = (TABLE[:, 0] > np.median(TABLE[:, 0])).astype(int)
WORDS = [f"jet muon{k % 7} tau{k % 3}" for k in range(N)]

TRANSFORMERS = dict(all_estimators(type_filter="transformer"))

# Those that cannot be a step before an autoencoder, whether saved or not.
NO_STEP = {
    "CCA": "fit_transform gives a pair of tables where there are targets",
    "IsotonicRegression": "gives one number a row and no table",
    "LabelBinarizer": "transforms targets",
    "LabelEncoder": "transforms targets",
    "MultiLabelBinarizer": "transforms targets",
    "PLSCanonical": "fit_transform gives a pair of tables where there are targets",
    "PLSRegression": "fit_transform gives a pair of tables where there are targets",
    "PLSSVD": "fit_transform gives a pair of tables where there are targets",
    "PatchExtractor": "gives images, several for each row",
    "TSNE": "transforms only what it was fitted to",
}

# Those that are not saved, and what skae.save says.
NOT_SAVED = {
    "BisectingKMeans": r"_kmeans_single is a function",  # scikit-learn's, and private
    "Birch": "part of itself",  # its tree
    "RandomTreesEmbedding": "a Tree",  # compiled code follows its indices unchecked
}

# What needs other parameters, or other rows, to be a step.
LINEAR = [("a", LinearRegression()), ("b", LinearRegression())]
LOGISTIC = [("a", LogisticRegression()), ("b", LogisticRegression(C=0.1))]
INSTANCES = {
    "DictVectorizer": DictVectorizer(sparse=False),
    "FeatureHasher": FeatureHasher(16),
    "HashingVectorizer": HashingVectorizer(n_features=16),
    "MissingIndicator": MissingIndicator(features="all"),
    "SparseCoder": SparseCoder(np.eye(5)),
    "StackingClassifier": StackingClassifier(LOGISTIC, cv=2),
    "StackingRegressor": StackingRegressor(LINEAR, cv=2),
    "VotingClassifier": VotingClassifier(LOGISTIC, voting="soft", flatten_transform=True),
    "VotingRegressor": VotingRegressor(LINEAR),
}
DICTIONARIES = [dict(zip("abcde", row, strict=True)) for row in TABLE.tolist()]
ROWS = {
    "DictVectorizer": DICTIONARIES,
    "FeatureHasher": DICTIONARIES,
    "HashingVectorizer": WORDS,
    "KernelCenterer": TABLE @ TABLE.T,
}

SAVED = sorted({*TRANSFORMERS} - {*NO_STEP} - {*NOT_SAVED})


def _step_of(name):
    return INSTANCES.get(name) or next(iter(_construct_instances(TRANSFORMERS[name])))


def _fitted_before_an_autoencoder(name):
    step, X = _step_of(name), ROWS.get(name, TABLE)
    dense = []
    if hasattr(step.fit(X, TARGET).transform(X), "toarray"):
        dense = [TruncatedSVD(2, random_state=0)]
    model = skae.JetAutoencoder(1, hidden_layer_sizes=(4,), max_epochs=1, random_state=0)
    return make_pipeline(step, *dense, model).fit(X, TARGET), X


def test_most_transformers_are_saved():
    assert len(SAVED) >= 70
    assert {*NO_STEP, *NOT_SAVED} <= {*TRANSFORMERS}


@pytest.mark.filterwarnings("ignore")  # of scikit-learn, on so few rows
@pytest.mark.parametrize("name", SAVED)
def test_a_step_comes_back_the_same_to_the_bit(name, tmp_path):
    model, X = _fitted_before_an_autoencoder(name)
    skae.save(model, tmp_path / "model")
    copy = skae.load(tmp_path / "model")
    np.testing.assert_array_equal(copy.transform(X), model.transform(X))
    step, same = model[0].transform(X), copy[0].transform(X)
    np.testing.assert_array_equal(_dense(same), _dense(step))
    trusted = skops.io.load(tmp_path / "model", trusted=skae.TRUSTED_TYPES)
    np.testing.assert_array_equal(trusted.transform(X), model.transform(X))


def _dense(table):
    return table.toarray() if hasattr(table, "toarray") else table


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NOT_SAVED)
def test_a_step_that_is_not_saved_says_why(name, tmp_path):
    model, _ = _fitted_before_an_autoencoder(name)
    with pytest.raises(TypeError, match=rf"{NOT_SAVED[name]}.*A pickle can hold it"):
        skae.save(model, tmp_path / "model")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NO_STEP)
def test_what_is_no_step_is_none_before_saving_either(name):
    with pytest.raises((TypeError, ValueError, AttributeError)):
        _fitted_before_an_autoencoder(name)


# -- the types that are trusted --------------------------------------------------------------------


def _thing(name):
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


FOUND_HERE = [n for n in skae.TRUSTED_TYPES if not n.startswith("pathlib._local")]


def test_trusted_types_are_names_of_what_there_is():
    assert sorted(skae.TRUSTED_TYPES) == skae.TRUSTED_TYPES
    for name in FOUND_HERE:
        assert _thing(name) is not None


def test_all_that_is_skaes_own_is_trusted():
    names = (*skae.estimators.__all__, *skae.transformers.__all__)
    public = {getattr(skae, name) for name in names}
    own = {_thing(n) for n in skae.TRUSTED_TYPES if n.startswith("skae.")}
    assert public <= own
    jets, steps, photons = (FITTED[n]()[0] for n in ("jets", "every-transformer", "photons"))
    held = {type(v) for model in (jets[-1], steps[2], photons) for v in vars(model).values()}
    held = {cls for cls in held if cls.__module__.startswith("skae.")}
    assert {cls.__name__ for cls in held} == {"TrainingNet", "BoxCoxMap", "CorrelationModel"}
    assert own - public == {*held, CaloGeometry, Bins}


def test_all_of_torchs_optimizers_are_trusted():
    named = {_thing(n) for n in skae.TRUSTED_TYPES if n.startswith("torch.optim.")}
    assert named == {*optimizers().values()} - {torch.optim.Optimizer}


# What a file can do with a name is to call it: with nothing, or with what the file holds.
ARGUMENTS = [
    (), ("/etc/passwd",), (["touch boom"],), (np.arange(3),), (10**12,),
    (np.ones((3, 2)), np.arange(3)), ({"a": 1},),
]  # fmt: skip
# A MemoryError is none of them.
REFUSALS = (
    ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError
)  # fmt: skip

#: of these any argument is an array or a size of one: they are never called by skae.load (_skops._FORMS)
SIZES = {"scipy.sparse._csr.csr_matrix"}


@pytest.fixture(scope="module")
def listener():
    """What is opened and run while it listens."""
    heard = {"listens": False, "events": []}
    kinds = {"open", "os", "subprocess", "socket", "exec"}

    def hook(event, _):
        if heard["listens"] and event.split(".")[0] in kinds:
            heard["events"].append(event)

    sys.addaudithook(hook)  # which stays to the end of the process
    return heard


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [n for n in FOUND_HERE if n not in SIZES])
def test_a_trusted_type_opens_and_runs_nothing_whatever_it_is_called_with(name, listener):
    thing = _thing(name)
    for listens in (False, True):  # the first time the library may import what it needs
        listener.update(listens=listens, events=[])
        for arguments in ARGUMENTS:
            with contextlib.suppress(*REFUSALS):
                thing(*arguments)
    listener["listens"] = False
    assert not listener["events"]


def test_the_listener_hears(listener, tmp_path):
    listener.update(listens=True, events=[])
    (tmp_path / "file").write_text("heard")
    listener["listens"] = False
    assert listener["events"]
