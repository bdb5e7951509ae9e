"""A parameter stands in one place, and a subclass that gives it another default means it."""

import inspect
import pickle
from numbers import Real
from typing import Any

import cloudpickle
import numpy as np
import pytest
from minimal import LinearAutoencoder
from remaining_checks import MINIBATCHES
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import Interval, InvalidParameterError
from sklearn.utils.estimator_checks import parametrize_with_checks

import skae
from skae._parameters import estimator, parameter
from skae.datasets import make_jets


@estimator
class Decorated(LinearAutoencoder):
    lr: Any = 0.5
    tilt: Any = parameter(default=0.0, allowed=Interval(Real, -1, 1, closed="both"), shapes=True)


class Undecorated(LinearAutoencoder):
    lr: Any = 0.5


class Unannotated(LinearAutoencoder):
    lr = 0.5


class Fast:
    """Knows of no estimator."""

    lr = 0.5


class Mixed(Fast, LinearAutoencoder):
    """Takes a default from what is mixed in."""


class BelowMixed(Mixed):
    max_epochs = 7


class ByHand(LinearAutoencoder):
    def __init__(self, n_components=2, *, lr=0.5, max_epochs=5, tilt=0.0, random_state=None):
        super().__init__(n_components, lr=lr, max_epochs=max_epochs, random_state=random_state)
        self.tilt = tilt


class BelowByHand(ByHand):
    """Adds nothing."""


SUBCLASSES = [Decorated, Undecorated, Unannotated, Mixed, BelowMixed, ByHand, BelowByHand]
each_subclass = pytest.mark.parametrize("cls", SUBCLASSES)


@each_subclass
def test_a_new_default_reaches_the_object_and_its_copies(cls):
    model = cls(max_epochs=2)
    assert (model.lr, model.max_epochs, model.n_components) == (0.5, 2, 2)
    assert inspect.signature(cls).parameters["lr"].default == 0.5
    for copy in (clone(model), pickle.loads(pickle.dumps(model))):
        assert copy.get_params() == model.get_params()
    assert clone(model).set_params(lr=0.1).lr == 0.1
    assert repr(cls(lr=0.5)) == f"{cls.__name__}()"


@each_subclass
def test_a_subclass_is_searched_and_pickled_when_it_is_fitted(cls, standard_jets):
    search = GridSearchCV(cls(max_epochs=1), {"lr": [0.1, 0.5]}, cv=2).fit(standard_jets)
    model = pickle.loads(pickle.dumps(search.best_estimator_))
    assert model.lr == search.best_params_["lr"]
    expected = search.transform(standard_jets)
    assert (model.transform(standard_jets) == expected).all()


@parametrize_with_checks(
    [cls(max_epochs=5) for cls in (LinearAutoencoder, *SUBCLASSES)],
    expected_failed_checks=lambda _: MINIBATCHES,
)
def test_scikit_learn_checks_of_subclasses(estimator, check):
    check(estimator)


def test_what_the_contributing_guide_shows_finds_principal_components():
    X = StandardScaler().fit_transform(make_jets(1000, random_state=0))
    model = LinearAutoencoder(2, batch_size=32, random_state=0).fit(X)
    pca = PCA(2).fit(X)
    least = np.mean((X - pca.inverse_transform(pca.transform(X))) ** 2)
    assert -model.score(X) == pytest.approx(least, rel=1e-3)


@each_subclass
def test_constraints_are_inherited(cls, jets):
    with pytest.raises(InvalidParameterError, match="'lr' parameter"):
        cls(lr=-1.0).fit(jets)


def test_a_new_parameter_is_constrained_and_shapes_the_network(jets):
    with pytest.raises(InvalidParameterError, match="'tilt' parameter"):
        Decorated(tilt=2.0).fit(jets)
    model = Decorated(warm_start=True, max_epochs=1).fit(jets)
    with pytest.raises(ValueError, match=r"tilt=0\.5, but the network"):
        model.set_params(tilt=0.5).fit(jets)


def test_a_default_given_below_a_mixin_stays():
    class Slower(Mixed):
        lr = 0.1

    class Below(Slower):
        """Adds nothing."""

    assert (Slower().lr, Below().lr) == (0.1, 0.1)


def test_a_method_that_is_mixed_in_is_refused_by_name_too():
    class Noisy:
        def noise(self):
            """Is a parameter's name."""

    with pytest.raises(TypeError, match="noise is a parameter of Mine"):
        type("Mine", (Noisy, LinearAutoencoder), {})


def test_own_parameters_stand_before_those_of_the_base():
    names = list(inspect.signature(skae.JetAutoencoder).parameters)
    assert names[:3] == ["n_components", "hidden_layer_sizes", "activation"]
    assert names[-1] == "random_state"
    names = list(inspect.signature(Decorated).parameters)
    assert names[:3] == ["n_components", "tilt", "max_epochs"]  # positional ones first
    with pytest.raises(TypeError, match="positional"):
        skae.JetAutoencoder(3, (8,))


def test_an_annotation_that_is_no_parameter_is_left_alone():
    class Noted(LinearAutoencoder):
        """Adds to the constraints as scikit-learn's classes do."""

        _parameter_constraints: dict = {"tol": [float]}
        found_: int

    assert set(Noted().get_params()) == set(LinearAutoencoder().get_params())
    assert Noted._parameter_constraints["tol"] == [float]
    assert Noted._parameter_constraints["lr"] is LinearAutoencoder._parameter_constraints["lr"]


def test_a_subclass_of_a_notebook_goes_to_other_processes(standard_jets):
    class Local(skae.JetAutoencoder):
        max_epochs = 1

    model = Local(1, hidden_layer_sizes=(4,), random_state=0).fit(standard_jets)
    copy = cloudpickle.loads(cloudpickle.dumps(model))
    assert copy.n_iter_ == 1
    assert (copy.transform(standard_jets) == model.transform(standard_jets)).all()


def test_the_matched_filter_takes_another_default_too():
    class Wide(skae.MatchedFilterLocator):
        width: Any = 7.0

    assert Wide().width == 7.0


# -- what cannot be meant ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [lambda self: 1, property(lambda self: 1), staticmethod(abs)], ids=lambda v: type(v)
)
def test_a_method_with_the_name_of_a_parameter_is_refused(value):
    with pytest.raises(TypeError, match="lr is a parameter of Mine"):
        type("Mine", (LinearAutoencoder,), {"lr": value})


def test_a_default_beside_a_constructor_by_hand_is_refused():
    with pytest.raises(TypeError, match="lr, but Mine writes its constructor by hand"):

        class Mine(LinearAutoencoder):
            lr: Any = 0.5

            def __init__(self, n_components=2):
                super().__init__(n_components)

    with pytest.raises(TypeError, match="lr, but ByHand writes its constructor by hand"):

        class Below(ByHand):
            lr = 0.1


def test_a_parameter_without_a_default_is_refused():
    with pytest.raises(TypeError, match="tilt of Mine needs a default"):

        class Mine(LinearAutoencoder):
            tilt: float


# -- what is said of it ------------------------------------------------------------------------


def test_a_subclass_can_show_what_its_base_documents():
    class Fast(skae.JetAutoencoder):
        """Jets in a hurry.

        Parameters
        ----------
        {shared_parameters}

        Attributes
        ----------
        {shared_attributes}
        """

        lr: Any = 0.1

    lines = inspect.getdoc(Fast).splitlines()
    assert lines.count("lr : float, default=0.1") == 1
    assert lines.count("n_components : int, default=3") == 1
    assert lines.count("n_components_ : int") == 1
    assert not any("{shared" in line for line in lines)


def test_a_subclass_that_says_nothing_says_nothing_new():
    assert Undecorated.__doc__ is None
    assert inspect.getdoc(Undecorated) == inspect.getdoc(LinearAutoencoder)


# -- words of other libraries ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "ours"),
    [
        ("epochs", "max_epochs"),
        ("max_iter", "max_epochs"),
        ("n_epochs", "max_epochs"),
        ("learning_rate", "lr"),
        ("learning_rate_init", "lr"),
        ("hidden_layers", "hidden_layer_sizes"),
        ("latent_dim", "n_components"),
        ("patience", "n_iter_no_change"),
        ("seed", "random_state"),
        ("optimiser", "optimizer"),
    ],
)
def test_a_word_of_another_library_is_answered_with_ours(word, ours):
    said = f"JetAutoencoder has no parameter '{word}': use {ours}\\."
    with pytest.raises(TypeError, match=said):
        skae.JetAutoencoder(**{word: 3})
    with pytest.raises(ValueError, match=said):
        skae.JetAutoencoder().set_params(**{word: 3})
    with pytest.raises(ValueError, match=said):
        make_pipeline(skae.JetAutoencoder()).set_params(**{f"jetautoencoder__{word}": 3})


def test_only_what_a_class_has_is_recommended():
    with pytest.raises(TypeError, match="has no parameter 'hidden_layers': use hidden_size"):
        skae.MultiResRNNRegressor(hidden_layers=3)
    with pytest.raises(TypeError, match="unexpected keyword argument 'latent_dim'"):
        skae.PulseLocator(latent_dim=3)
    with pytest.raises(TypeError, match="has no parameter 'lambda_': use lmbda"):
        skae.BoxCoxTransformer(lambda_=0.5)
    with pytest.raises(ValueError, match=r"Valid parameters are: \[[^]]*\]\.$"):
        skae.JetAutoencoder().set_params(wavelet=3)


def test_a_constructor_by_hand_may_have_any_words():
    class Trained(LinearAutoencoder):
        def __init__(self, epochs=3):
            super().__init__(max_epochs=epochs)
            self.epochs = epochs

    assert Trained(epochs=5).max_epochs == 5
    assert Trained().set_params(epochs=5).epochs == 5


def test_a_number_for_noise_is_answered_with_a_noise_injector(jets):
    with pytest.raises(InvalidParameterError, match=r"NoiseInjector\('gaussian', sigma=0.1\)"):
        skae.JetAutoencoder(noise=0.1).fit(jets)
