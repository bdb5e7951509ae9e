"""Fitted estimators are trained further, copied, or left as they are where a fit is refused."""

import pickle

import cloudpickle
import joblib
import numpy as np
import pytest
import torch
from fits import small, weights_of
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from skorch.callbacks import Callback


def test_warm_start_goes_on_and_a_cold_one_does_not(standard_jets):
    model = small(warm_start=True).fit(standard_jets)
    first = model.loss_curve_[0]
    model.fit(standard_jets)
    assert (model.n_iter_, len(model.loss_curve_)) == (3, 6)
    assert model.loss_curve_[3] < first
    assert small().fit(standard_jets).fit(standard_jets).n_iter_ == 3


def test_partial_fit_learns_chunk_by_chunk(standard_jets):
    model = small(lr=0.01)
    for _ in range(30):
        for chunk in np.array_split(standard_jets, 4):
            model.partial_fit(chunk)
    assert model.n_iter_ == 120
    assert model.score(standard_jets) > small(max_epochs=1).fit(standard_jets).score(standard_jets)


def test_a_refused_fit_keeps_the_one_before(standard_jets):
    model = small().fit(standard_jets)
    before = model.transform(standard_jets)
    model.set_params(early_stopping=True)
    with pytest.raises(ValueError, match="holds out"):
        model.fit(standard_jets[:1])
    with pytest.raises(ValueError, match="sum of sample_weight"):
        model.fit(standard_jets, sample_weight=np.zeros(400))
    with pytest.raises(ValueError, match="sum of sample_weight"):
        model.fit(standard_jets[:, :3], sample_weight=np.zeros(400))
    with pytest.raises(ValueError, match="device='quantum'"):
        model.set_params(device="quantum", angles=[0]).fit(standard_jets)
    with pytest.raises(ValueError, match="duplicate user-set callback name"):
        model.set_params(device="cpu", callbacks=[("a", Callback())] * 2).fit(standard_jets)
    np.testing.assert_array_equal(model.transform(standard_jets), before)
    assert model.angles_ == ()
    pickle.dumps(model)


@pytest.mark.parametrize(
    "changed",
    [{"n_components": 2}, {"hidden_layer_sizes": [8]}, {"angles": [0]}, {"optimizer": "sgd"}],
    ids=str,
)
def test_a_net_that_is_trained_further_keeps_its_structure(changed, standard_jets):
    model = small(warm_start=True).fit(standard_jets)
    before = model.transform(standard_jets)
    model.set_params(**changed)
    (name,) = changed
    for go_on in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match=f"{name}=.* set it back, or fit afresh"):
            go_on(standard_jets)
    np.testing.assert_array_equal(model.transform(standard_jets), before)
    model.set_params(hidden_layer_sizes=[16], n_components=3, angles=None, optimizer="adamw")
    assert model.fit(standard_jets).n_iter_ == 3, "a list and a tuple of the same sizes are equal"


@pytest.mark.parametrize(
    "copied",
    [
        lambda model, _: cloudpickle.loads(cloudpickle.dumps(model)),
        lambda model, path: joblib.load(joblib.dump(model, path / "model.joblib")[0]),
    ],
    ids=["cloudpickle", "joblib"],
)
def test_copies_predict_and_go_on_alike(copied, standard_jets, tmp_path):
    model = small(dropout=0.2).fit(standard_jets)
    twin = copied(model, tmp_path)
    np.testing.assert_array_equal(twin.transform(standard_jets), model.transform(standard_jets))
    model.partial_fit(standard_jets)
    twin.partial_fit(standard_jets)
    assert torch.equal(weights_of(model), weights_of(twin))


def test_a_clone_is_not_fitted(standard_jets):
    twin = clone(small().fit(standard_jets))
    with pytest.raises(NotFittedError):
        twin.transform(standard_jets)
    assert not hasattr(twin, "module_")
