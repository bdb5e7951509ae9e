"""Transformers as functions of tensors: a network learns through each of them."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    StandardScaler,
)

from skae import BoxCoxTransformer, JetAutoencoder, KinematicsTransformer, LogRatioTransformer
from skae.datasets import make_jets
from skae.estimators._tensor_steps import as_tensor_step

STEPS = [
    StandardScaler(), RobustScaler(), MinMaxScaler(), MaxAbsScaler(), PCA(3), PCA(2, whiten=True),
    FunctionTransformer(np.log1p, np.expm1), BoxCoxTransformer(),
    BoxCoxTransformer(lmbda=[0, 1, 0.5, -1, 0]), LogRatioTransformer("log1p"),
    LogRatioTransformer("logit"),
]  # fmt: skip


@pytest.fixture
def rows(rng):
    return rng.gamma(2.0, size=(300, 4)) @ rng.uniform(size=(4, 5))


def assert_differentiable(step, X):
    step.fit(X)
    forward, backward = as_tensor_step(step)
    z = forward(torch.from_numpy(X[:5])).requires_grad_()
    np.testing.assert_allclose(z.detach(), step.transform(X[:5]), rtol=1e-9, atol=1e-9)
    assert torch.autograd.gradcheck(backward, z)


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_the_way_back_can_be_differentiated(step, rows):
    assert_differentiable(step, rows)


def test_the_way_back_of_momenta_can_be_differentiated():
    assert_differentiable(KinematicsTransformer(scale=True), make_jets(50, random_state=0))


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_a_network_learns_through_it(step, rows):
    model = JetAutoencoder(
        2, transformer=step, hidden_layer_sizes=(16,), linear_path=False, max_epochs=15, lr=0.02,
        metric="standardised", random_state=0,
    ).fit(rows)  # fmt: skip
    assert model.loss_curve_[-1] < 0.5 * model.loss_curve_[0]
