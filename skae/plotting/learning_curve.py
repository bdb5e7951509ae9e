"""LearningCurveDisplay: the loss epoch by epoch, to see whether a fit was long enough."""

from skae.plotting._display import Display, documented


@documented
class LearningCurveDisplay(Display):
    """Training, and where there is one validation, loss against the epoch.

    Parameters
    ----------
    train_loss : list of float
        Training loss of each epoch.
    valid_loss : list of float, default=None
        Validation loss of each epoch, NaN where no rows were held out; None where they never were.

    Attributes
    ----------
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
        """Draw the display."""
        ax = self._draw_in(ax)
        from matplotlib.ticker import ScalarFormatter

        epochs = range(1, len(self.train_loss) + 1)
        ax.plot(epochs, self.train_loss, label="training")
        if self.valid_loss is not None:
            ax.plot(epochs, self.valid_loss, label="validation")
        if min(self.train_loss) > 0:
            ax.set_yscale("log")
            if max(self.train_loss) < 2 * min(self.train_loss):  # ticks between the powers of ten
                # the values themselves: an offset of theirs would not be drawn
                formatter = ScalarFormatter(useOffset=False)
                formatter.set_scientific(False)
                ax.yaxis.set_minor_formatter(formatter)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set_xlabel("epoch")
        ax.set_ylabel("loss")
        ax.legend()
        return self
