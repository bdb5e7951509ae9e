"""The documentation of the parameters and attributes that all estimators share, written once."""

from textwrap import indent

_SHARED_PARAMETERS = """\
max_epochs : int, default={max_epochs}
    Passes through the training data. More is better until the validation loss rises: watch
    ``loss_curve_``.

batch_size : int, default={batch_size}
    Rows in a minibatch. Larger ones are faster by the row and take fewer, less noisy steps.

lr : float, default={lr}
    Peak learning rate. Lower it when the loss jumps.

optimizer : str or type, default="{optimizer}"
    "adamw", "adam", "nadam", "radam", "rmsprop", "adagrad", "sgd", or a class of torch.optim.

weight_decay : float, default={weight_decay}
    Shrinks the weights a little at each step.

lr_schedule : {{"one_cycle", "cosine", "constant"}}, default="{lr_schedule}"
    How the learning rate moves: up then down to nearly 0, down only, or not at all.

early_stopping : bool, default={early_stopping}
    Hold out ``validation_fraction`` of the rows, end when their loss no longer falls, and keep
    the weights that were best on them.

validation_fraction : float, default={validation_fraction}
    Share of the rows held out with ``early_stopping=True``.

n_iter_no_change : int, default={n_iter_no_change}
    Epochs without improvement after which early stopping ends the fit. With an annealed schedule
    only those of the annealing phase count.

tol : float, default={tol}
    Improvement of the validation loss that counts, relative to its value.

noise : NoiseInjector or callable, default={noise}
    Corrupts each training minibatch afresh while the target stays clean, for denoising: a
    :class:`~skae.NoiseInjector`, whose parameters a search reaches as ``noise__sigma``, or a callable
    that gets a tensor of rows and a ``torch.Generator`` to draw from and returns a new tensor.

device : str or torch.device, default="{device}"
    "auto" takes CUDA, else Apple's MPS, else the CPU, when fit is called.

precision : {{"float32", "bf16-mixed"}}, default="{precision}"
    "bf16-mixed" multiplies matrices in bfloat16 while training, faster where the processor or the
    GPU has instructions for it, with three significant digits: reconstructions finer than 1e-2 of
    a column's spread need "float32". What the fitted estimator computes is float32 in any case.

compile : bool, default={compile}
    Compile the loss of a full minibatch and its gradients with ``torch.compile``: it takes seconds at
    first and pays on long fits. On CUDA they are replayed as graphs, so that small networks do not wait
    for launches. Dropout gains less: each mask splits what is compiled. Without a C++ compiler a
    warning is given and training goes on uncompiled.

checkpoint : str or path-like, default={checkpoint}
    Folder in which the fit is saved, at most every 30 seconds, and at its end. The same call, with
    the same parameters and data, goes on from there: bit for bit on the CPU. Each fit has a
    subfolder of its own, so clones in a search do not meet. ``callbacks``, ``device`` and ``verbose`` do
    not make another fit, with ``lr_schedule="constant"`` neither does ``max_epochs`` unless a warm-up or
    a second stage is planned by it: callbacks that change what is learnt need a folder of their own.
    Of callbacks only those with ``state_dict`` and ``load_state_dict`` are saved; one that ended a fit
    has ended it. A fit with ``random_state=None`` goes on with the seed it drew. Delete the folder to
    train afresh.

callbacks : list, default={callbacks}
    Callbacks of skorch, used as they are; its LRScheduler needs ``lr_schedule="constant"``.
    scikit-learn's own are set with ``set_callbacks``.

verbose : int, default={verbose}
    1 shows a progress bar, 2 prints a line for each epoch.

warm_start : bool, default={warm_start}
    Let ``fit`` go on from the weights of the fit before.

random_state : int, RandomState instance or None, default={random_state}
    An integer makes the fit reproducible. No global random state is used or changed."""

_SHARED_ATTRIBUTES = """\
net_ : skorch.NeuralNet
    The net that trained the module.

module_ : torch.nn.Module
    The trained module.

history_ : skorch.history.History
    One row for each epoch: losses, duration.

loss_curve_ : list of float
    Training loss of each epoch.

n_iter_ : int
    Number of epochs run.

device_ : torch.device
    Where the module is.

n_features_in_ : int
    Number of columns seen in fit.

feature_names_in_ : ndarray of shape (`n_features_in_`,)
    Names of the columns, where X had string names."""


def document_shared_parameters(cls: type) -> type:
    """Put the shared parameters, with the class's own defaults, where its docstring asks for them."""
    defaults = cls.__init__.__kwdefaults__
    cls.__doc__ = cls.__doc__.replace(
        "    {shared_parameters}", indent(_SHARED_PARAMETERS.format(**defaults), "    ")
    ).replace("    {shared_attributes}", indent(_SHARED_ATTRIBUTES, "    "))
    return cls
