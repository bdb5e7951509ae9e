"""What tests of fits share: a small estimator, ways to read, save and end it, and what to look at."""

import math
import pickle
import random

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch.callbacks import Callback

from skae import JetAutoencoder
from skae.training import batches, checkpoints, hardware, streaming


def small(**parameters):
    """A network that trains in a blink."""
    defaults = {"hidden_layer_sizes": (16,), "max_epochs": 3, "batch_size": 64, "random_state": 0}
    return JetAutoencoder(**{**defaults, **parameters})


# -- what ends a fit ---------------------------------------------------------------------------


class CrashError(Exception):
    """What a test lets happen in the middle of a fit."""


def crash(*_):
    raise CrashError


def stop(*_):
    raise KeyboardInterrupt  # skorch's way to ask for the end


class Steps(Callback):
    """Count the steps of a fit; at one of them, if it is given, end the fit or the process."""

    def __init__(self, step=None, act=crash):
        self.step, self.act, self.count = step, act, 0

    def on_batch_end(self, net, training=False, **kwargs):
        self.count += training
        if training and self.count == self.step:
            self.act()


def each(moment, act):
    """A callback that does something to the net, or looks at it, at a moment of training."""

    def call(self, net, training=True, **kwargs):
        if training:
            act(net)

    return type("Each", (Callback,), {moment: call})()


def at_epoch(epoch, act=crash, moment="on_epoch_end"):
    """The same in one epoch."""
    return each(moment, lambda net: act(net) if len(net.history) == epoch else None)


def interrupted(model, X, *steps, **fit):
    """Fit up to each step, where the fit crashes; each is counted from where the one before did."""
    for step in steps:
        with pytest.raises(CrashError):
            clone(model).set_params(callbacks=[Steps(step)]).fit(X, **fit)


def assert_goes_on(model, folder, X, *steps, **fit):
    """Whatever steps it crashes at, a fit ends with the weights of one that does not."""
    expected = clone(model).fit(X, **fit)
    saved = clone(model).set_params(checkpoint=folder)
    interrupted(saved, X, *steps, **fit)
    saved.fit(X, **fit)
    assert torch.equal(weights_of(saved), weights_of(expected))
    return expected


def no_space(*_):
    raise OSError(28, "No space left on device")


# -- how it is run -----------------------------------------------------------------------------


def save_always(change=setattr):
    """Let checkpoints be written behind every step."""
    change(checkpoints, "SECONDS_BETWEEN", 0.0)
    change(checkpoints, "_SHARE_OF_TIME", math.inf)


def read_in_pieces(change, run, buffer, share=0.0):
    """Let rows be read in runs and buffers of so many numbers, beyond a share of the memory."""
    change(streaming, "_RUN_NUMBERS", run)
    change(batches, "BUFFER_NUMBERS", buffer)
    change(hardware, "SHARE_OF_MEMORY", share)


def mapped(X, folder):
    """The same array in a file."""
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode="r")


# -- what is left of it ------------------------------------------------------------------------


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


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
