"""The parameters that all networks share: how they are trained."""

import os
from numbers import Real
from typing import Any

import numpy as np
import torch

from skae._parameters import COUNT, NOT_NEGATIVE, POSITIVE, Parameters, parameter
from skae._sklearn import HasMethods, Interval, Options, StrOptions
from skae.training.optimisation import OPTIMIZERS, SCHEDULES
from skae.training.step import PRECISIONS


class _Noise(HasMethods):
    """A NoiseInjector, in an error with an example: a number could mean several kinds of noise."""

    def __str__(self) -> str:
        return "a NoiseInjector, NoiseInjector('gaussian', sigma=0.1) say"


class SharedParameters(Parameters):
    """Parameters of the training of all networks, and attributes of a fit.

    Parameters
    ----------
    max_epochs : int, default=100
        Passes through the training data. More is better until the validation loss rises: watch
        ``loss_curve_``.

    batch_size : int, default=256
        Rows in a minibatch. Larger ones are faster by the row and take fewer, less noisy steps.

    lr : float, default=0.003
        Peak learning rate. Lower it when the loss jumps.

    optimizer : str or type, default="adamw"
        "adamw", "adam", "nadam", "radam", "rmsprop", "adagrad", "sgd", or a class of torch.optim.

    weight_decay : float, default=0.0
        Shrinks the weights a little at each step.

    lr_schedule : {"one_cycle", "cosine", "constant"}, default="one_cycle"
        How the learning rate moves: up then down to nearly 0, down only, or not at all.

    early_stopping : bool, default=False
        Hold out ``validation_fraction`` of the rows, end when their loss no longer falls, and keep
        the weights that were best on them.

    validation_fraction : float, default=0.1
        Share of the rows held out with ``early_stopping=True``.

    n_iter_no_change : int or inf, default=10
        Epochs without improvement after which early stopping ends the fit; ``np.inf`` only keeps the
        best weights. With an annealed schedule only those of the annealing phase count.

    tol : float, default=0.0001
        Improvement of the validation loss that counts, relative to its value.

    noise : NoiseInjector or callable, default=None
        Corrupts each training minibatch afresh while the target stays clean, for denoising: a
        :class:`~skae.NoiseInjector`, whose parameters a search reaches as ``noise__sigma``, or a callable
        that gets a tensor of rows and a ``torch.Generator`` to draw from and returns a new tensor.

    device : str or torch.device, default="auto"
        "auto" takes CUDA, else Apple's MPS, else the CPU, when fit is called.

    precision : {"float32", "bf16-mixed"}, default="float32"
        "bf16-mixed" multiplies matrices in bfloat16 while training, faster where the processor or the
        GPU has instructions for it, with three significant digits: reconstructions finer than 1e-2 of
        a column's spread need "float32". What the fitted estimator computes is float32 in any case.

    compile : bool, default=False
        Compile the loss of a full minibatch and its gradients with ``torch.compile``: it takes seconds
        at first and pays on long fits. On CUDA they are replayed as graphs, so that small networks do
        not wait for launches. Dropout gains less: each mask splits what is compiled. Without a C++
        compiler a warning is given and training goes on uncompiled.

    checkpoint : str or path-like, default=None
        Folder in which the fit is saved, at most every 30 seconds, and at its end. The same call, with
        the same parameters and data, goes on from there: bit for bit on the CPU. Each fit has a
        subfolder of its own, so clones in a search do not meet. ``callbacks``, ``device`` and
        ``verbose`` do not make another fit, with ``lr_schedule="constant"`` neither does ``max_epochs``
        unless a warm-up or a second stage is planned by it: callbacks that change what is learnt need a
        folder of their own. Of callbacks only those with ``state_dict`` and ``load_state_dict`` are
        saved; one that ended a fit has ended it. A fit with ``random_state=None`` goes on with the seed
        it drew. Delete the folder to train afresh.

    callbacks : list, default=None
        Callbacks of skorch, used as they are; its LRScheduler needs ``lr_schedule="constant"``.
        scikit-learn's own are set with ``set_callbacks``.

    verbose : int, default=0
        1 shows a progress bar, 2 prints a line for each epoch.

    warm_start : bool, default=False
        Let ``fit`` go on from the weights of the fit before.

    random_state : int, RandomState instance or None, default=None
        An integer makes the fit reproducible; None takes one draw from NumPy's global random state.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The net that trained the module.

    module_ : torch.nn.Module
        The trained module; it takes rows as ``(X - center_) / scale_``.

    center_ : ndarray
        What is subtracted from rows, in float64, before the network sees them; as wide as a row, or what
        broadcasts with it. Taken from the rows of the first fit.

    scale_ : float
        What the rest is divided by. Losses and scores are those of X itself.

    history_ : skorch.history.History
        One row for each epoch, those before a warm start included: losses, duration.

    loss_curve_ : list of float
        Training loss of each epoch.

    n_iter_ : int
        Number of epochs that the last fit ran, and :meth:`partial_fit` since then.

    device_ : torch.device
        Where the module is.

    n_features_in_ : int
        Number of columns seen in fit.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where X had string names.
    """

    max_epochs: Any = parameter(default=100, allowed=COUNT)
    batch_size: Any = parameter(default=256, allowed=COUNT)
    lr: Any = parameter(default=3e-3, allowed=POSITIVE)
    optimizer: Any = parameter(
        default="adamw", allowed=[StrOptions(set(OPTIMIZERS)), type], shapes=True
    )
    weight_decay: Any = parameter(default=0.0, allowed=NOT_NEGATIVE, shapes=True)
    lr_schedule: Any = parameter(default="one_cycle", allowed=StrOptions(set(SCHEDULES)))
    early_stopping: Any = parameter(default=False, allowed="boolean")
    validation_fraction: Any = parameter(
        default=0.1, allowed=Interval(Real, 0, 1, closed="neither")
    )
    n_iter_no_change: Any = parameter(default=10, allowed=[COUNT, Options(Real, {np.inf})])
    tol: Any = parameter(default=1e-4, allowed=NOT_NEGATIVE)
    noise: Any = parameter(default=None, allowed=[_Noise("_resolve_noise"), callable, None])
    device: Any = parameter(default="auto", allowed=[str, torch.device], of_fit=False)
    precision: Any = parameter(default="float32", allowed=StrOptions(set(PRECISIONS)))
    compile: Any = parameter(default=False, allowed="boolean")
    checkpoint: Any = parameter(default=None, allowed=[str, os.PathLike, None], of_fit=False)
    callbacks: Any = parameter(default=None, allowed=[list, None], of_fit=False)
    verbose: Any = parameter(default=0, allowed="verbose", of_fit=False)
    warm_start: Any = parameter(default=False, allowed="boolean", of_fit=False)
    # its seed is a matter of its own
    random_state: Any = parameter(default=None, allowed="random_state", of_fit=False)
