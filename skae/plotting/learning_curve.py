"""LearningCurveDisplay: the loss epoch by epoch, to see whether a fit was long enough."""

from skae.plotting._columns import pyplot


class LearningCurveDisplay:
    """Training, and where there is one validation, loss against the epoch.

    It is recommended to use :meth:`from_estimator`.

    Parameters
    ----------
    train_loss : list of float
        Training loss of each epoch.
    valid_loss : list of float, default=None
        Validation loss of each epoch, NaN where no rows were held out; None where they never were.

    Attributes
    ----------
    figure_ : matplotlib.figure.Figure
        The figure.
    ax_ : matplotlib.axes.Axes
        The axes.

    Examples
    --------
    >>> from skae.plotting import LearningCurveDisplay
    >>> LearningCurveDisplay([1.0, 0.1, 0.01]).plot().ax_.get_xlabel()
    'epoch'
    """

    def __init__(self, train_loss, valid_loss=None):
        self.train_loss = train_loss
        self.valid_loss = valid_loss

    @classmethod
    def from_estimator(cls, estimator, *, ax=None):
        """Plot the losses of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            A fitted estimator of skae, a Pipeline that ends in one, or a search over either.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : LearningCurveDisplay
            The drawn display.
        """
        estimator = getattr(estimator, "best_estimator_", estimator)
        if hasattr(estimator, "steps"):
            estimator = estimator.steps[-1][1]
        if not hasattr(estimator, "history_"):
            raise ValueError(
                f"estimator={estimator!r} has no history_; pass a fitted estimator of skae, or a "
                "Pipeline or search around one."
            )
        history = estimator.history_
        if len(history) == 0:
            raise ValueError(f"estimator={estimator!r} has not finished an epoch yet.")
        valid = [epoch.get("valid_loss", float("nan")) for epoch in history]
        has_valid = any("valid_loss" in epoch for epoch in history)
        return cls(estimator.loss_curve_, valid if has_valid else None).plot(ax=ax)

    def plot(self, *, ax=None):
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : LearningCurveDisplay
            Itself.
        """
        plt = pyplot("LearningCurveDisplay")
        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        epochs = range(1, len(self.train_loss) + 1)
        ax.plot(epochs, self.train_loss, label="training")
        if self.valid_loss is not None:
            ax.plot(epochs, self.valid_loss, label="validation")
        if min(self.train_loss) > 0:
            ax.set_yscale("log")
            if max(self.train_loss) < 2 * min(self.train_loss):  # ticks between the powers of ten
                # the values themselves: an offset of theirs would not be drawn
                formatter = plt.ScalarFormatter(useOffset=False)
                formatter.set_scientific(False)
                ax.yaxis.set_minor_formatter(formatter)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set_xlabel("epoch")
        ax.set_ylabel("loss")
        ax.legend()
        return self
