"""What tests of fits look at: their weights, and the random states they must leave alone."""

import pickle
import random

import numpy as np
import torch


def weights_of(estimator):
    """All parameters and buffers in one row."""
    return torch.cat([t.detach().flatten() for t in estimator.module_.state_dict().values()])


def global_states():
    """The global random states of torch, NumPy and Python, byte by byte."""
    return (
        torch.get_rng_state().numpy().tobytes(),
        pickle.dumps(np.random.get_state()),
        pickle.dumps(random.getstate()),
    )
