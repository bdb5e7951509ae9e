"""PulseDisplay: traces with what a locator says of them; PulseKernelDisplay: what a network looks for."""

import numpy as np

from skae.plotting._columns import last_step
from skae.plotting._display import Display, documented


@documented
class PulseDisplay(Display):
    """Traces of events, the true position, and the predicted distribution on a second axis.

    Parameters
    ----------
    X : ndarray of shape (n_events, n_traces, n_times)
        Traces.
    distribution : ndarray of shape (n_events, n_times)
        Predicted probability of each sample.
    y : ndarray of shape (n_events,) or (n_events, n_pulses), default=None
        True positions, in samples; NaN is no pulse.
    presence : ndarray of shape (n_events,), default=None
        Predicted probability of a pulse. What is drawn is then the probability of a pulse in each sample,
        the distribution times the presence.

    Attributes
    ----------
    ax_ : ndarray of shape (n_events,) of matplotlib.axes.Axes
        Axes of the traces.
    probability_ax_ : ndarray of shape (n_events,) of matplotlib.axes.Axes
        Axes of the probabilities.

    Examples
    --------
    >>> from skae import MatchedFilterLocator
    >>> from skae.datasets import make_pulses
    >>> from skae.plotting import PulseDisplay
    >>> X, y = make_pulses(3, random_state=0)
    >>> display = PulseDisplay.from_estimator(MatchedFilterLocator().fit(X), X, y)
    >>> len(display.ax_)
    3
    """

    def __init__(self, X, distribution, y=None, presence=None):
        self.X = X
        self.distribution = distribution
        self.y = y
        self.presence = presence

    @classmethod
    def from_estimator(cls, estimator, X, y=None, **kwargs):
        """Plot events with the distribution, and the presence of a pulse, that an estimator predicts.

        Parameters
        ----------
        estimator : estimator
            A fitted locator, or a Pipeline that ends in one.
        """
        locator, rows = last_step(estimator, X)
        if "presence" not in kwargs and hasattr(locator, "label_totals_"):  # it knows empty events
            kwargs["presence"] = locator.predict_presence(rows)
        return cls.from_predictions(X, locator.predict_distribution(rows), y, **kwargs)

    @classmethod
    def from_predictions(cls, X, distribution, y=None, *, presence=None, figure=None):
        """Plot events with a predicted distribution.

        Parameters
        ----------
        X : array-like of shape (n_events, n_traces, n_times) or (n_events, n_times)
            Events, a few of them: each gets a row.
        """
        X, distribution = np.asarray(X), np.asarray(distribution)
        if X.ndim == 2:
            X = X[:, np.newaxis]
        if X.ndim != 3 or distribution.shape != (X.shape[0], X.shape[2]):
            raise ValueError(
                f"X has shape {X.shape}, distribution {distribution.shape}; for events of shape "
                "(n_events, n_traces, n_times) it must be (n_events, n_times)."
            )
        y, presence = (None if each is None else np.asarray(each) for each in (y, presence))
        if y is not None and (y.ndim > 2 or y.shape[:1] != X.shape[:1]):
            raise ValueError(
                f"y has shape {y.shape}; it must hold one position for each of {len(X)}, or several."
            )
        if presence is not None and presence.shape != X.shape[:1]:
            raise ValueError(
                f"presence has shape {presence.shape}; it must hold one probability for each of {len(X)}."
            )
        return cls(X, distribution, y, presence).plot(figure=figure)

    def plot(self, *, figure=None):
        """Draw the display."""
        n_events, n_traces, n_times = self.X.shape
        figure = self._draw_on(
            figure, size=(8.0, 1.2 + (1.5 if self.presence is None else 1.7) * n_events)
        )
        self.ax_ = figure.subplots(n_events, 1, squeeze=False, sharex=True)[:, 0]
        self.probability_ax_ = np.array([ax.twinx() for ax in self.ax_])
        bins = np.arange(n_times + 1) - 0.5
        names = [f"trace {k}" for k in range(n_traces)] if n_traces > 1 else "trace"
        for i, (ax, probability_ax) in enumerate(zip(self.ax_, self.probability_ax_, strict=True)):
            ax.plot(self.X[i].T, linewidth=1.0, label=names)
            is_there = 1.0 if self.presence is None else self.presence[i]
            label = "predicted probability"
            probability_ax.stairs(
                is_there * self.distribution[i],
                bins,
                fill=True,
                color="black",
                alpha=0.3,
                label=label,
            )
            probability_ax.set_ylim(0.0, 1.0)
            said = [] if self.presence is None else [f"presence {is_there:.3g}"]
            if self.y is not None:
                there = np.atleast_1d(self.y[i])
                there = there[~np.isnan(there)]
                said += [] if len(there) else ["in truth no pulse"]
                for position in there:
                    ax.axvline(position, color="black", linestyle=":", label="truth")
            if said:
                ax.set_title(", ".join(said), loc="left", fontsize="small")
            ax.set_xlim(bins[0], bins[-1])
        self.ax_[-1].set_xlabel("sample")
        figure.supylabel("amplitude", fontsize="medium")
        self.probability_ax_[n_events // 2].set_ylabel("probability")
        drawn = {}  # each label once
        for ax in (*self.ax_, self.probability_ax_[0]):
            for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
                drawn.setdefault(label, handle)
        figure.legend(
            drawn.values(), drawn.keys(), loc="outside upper center", ncols=6, fontsize="small"
        )
        return self


@documented
class PulseKernelDisplay(Display):
    """Kernels of a network of two convolutional layers: derivatives, and where they are looked for.

    Parameters
    ----------
    first : ndarray of shape (n_filters, width)
        Filters that every trace goes through.
    second : ndarray of shape (n_filters, n_traces, width)
        Weights of the filters' responses around a sample.

    Attributes
    ----------
    ax_ : ndarray of shape (2,) of matplotlib.axes.Axes
        Axes of the first and the second layer.
    derivatives_ : ndarray of shape (n_filters, 2)
        Cosines between the first filters and the finite differences f′ and −f″, which are orthogonal. A
        filter of derivatives alone has squares that sum to one; their rest is the trace's level.

    Examples
    --------
    >>> import numpy as np
    >>> from skae.plotting import PulseKernelDisplay
    >>> first = np.array([[-0.5, 0.0, 0.5], [-1.0, 2.0, -1.0]])
    >>> display = PulseKernelDisplay(first, np.ones((2, 3, 7))).plot()
    >>> display.derivatives_.round(2) + 0.0
    array([[1., 0.],
           [0., 1.]])
    """

    def __init__(self, first, second):
        self.first = first
        self.second = second

    @classmethod
    def from_estimator(cls, estimator, *, figure=None):
        """Plot the kernels of a fitted ``PulseLocator(architecture="reference")``.

        Parameters
        ----------
        estimator : PulseLocator
            The fitted estimator.
        """
        return cls(*estimator.kernels_).plot(figure=figure)

    def plot(self, *, figure=None):
        """Draw the display."""
        figure = self._draw_on(figure, size=(9.0, 3.2))
        self.ax_ = figure.subplots(1, 2)
        self.derivatives_ = np.array([_derivatives_in(kernel) for kernel in self.first])
        n_filters, n_traces, width = self.second.shape
        offsets = np.arange(self.first.shape[1]) - self.first.shape[1] // 2
        for i, (kernel, (slope, bend)) in enumerate(
            zip(self.first, self.derivatives_, strict=True)
        ):
            label = f"filter {i}: {slope:+.2f} f′, {bend:+.2f} (−f″)".replace("-", "−")
            self.ax_[0].plot(offsets, kernel, "o:", label=label)
        self.ax_[0].axhline(0.0, color="grey", linewidth=0.5)
        self.ax_[0].set(title="first layer", xlabel="offset (samples)", ylabel="weight")
        self.ax_[0].set_xticks(offsets)
        self.ax_[0].margins(y=0.35)  # room for the legend
        self.ax_[0].legend(fontsize="small", loc="upper center")
        rows = self.second.transpose(1, 0, 2).reshape(-1, width)  # traces, and in each its filters
        limit = np.abs(rows).max()
        edge = width / 2
        image = self.ax_[1].imshow(
            rows, aspect="auto", cmap="coolwarm", vmin=-limit, vmax=limit,
            extent=(-edge, edge, len(rows) - 0.5, -0.5),
        )  # fmt: skip
        labels = [f"trace {k}, filter {i}" for k in range(n_traces) for i in range(n_filters)]
        self.ax_[1].set_yticks(range(len(rows)), labels, fontsize="small")
        self.ax_[1].set(title="second layer", xlabel="offset (samples)")
        figure.colorbar(image, ax=self.ax_[1], label="weight")
        return self


def _derivatives_in(kernel):
    """Return the cosines between a kernel and the finite differences f′ and −f″ of its width."""
    t = np.arange(len(kernel)) - (len(kernel) - 1) / 2
    norm = max(np.linalg.norm(kernel), np.finfo(float).tiny)
    return [kernel @ shape / norm / np.linalg.norm(shape) for shape in (t, np.mean(t**2) - t**2)]
