"""
Killed in the night: fits that go on where they ended
=====================================================

A job that runs for hours is killed at its time limit, by a reboot, by someone who needs the memory. With
``checkpoint=`` the same call goes on, and ends with the same weights as if nothing had happened.
"""

# %%
# A process that is killed
# ------------------------
# The fit runs in a process of its own, which is killed (``SIGKILL``, no farewell) in the midst of it.
# Then the same call is made here.

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler

from skae import JetAutoencoder
from skae.datasets import make_jets
from skae.plotting import LearningCurveDisplay

folder = Path(tempfile.mkdtemp())
SCRIPT = """
from skorch.callbacks import Callback
from sklearn.preprocessing import StandardScaler
from skae import JetAutoencoder
from skae.datasets import make_jets
from skae.training import checkpoints

checkpoints.SECONDS_BETWEEN = 0.2  # a fit of seconds, saved more often than the usual 30 seconds


class Report(Callback):
    def on_epoch_end(self, net, **kwargs):
        print(len(net.history), flush=True)


X = StandardScaler().fit_transform(make_jets(5_000, random_state=0))
JetAutoencoder(
    max_epochs=40, dropout=0.01, random_state=0, device="cpu", checkpoint={folder!r},
    callbacks=[Report()],
).fit(X)
"""  # fmt: skip

process = subprocess.Popen(
    [sys.executable, "-c", SCRIPT.replace("{folder!r}", repr(str(folder)))],
    stdout=subprocess.PIPE,
    text=True,
)
for line in process.stdout:
    if int(line) == 17:
        process.kill()
        break
print(f"killed behind epoch 17, exit code {process.wait()}")
print("what it left:", *(str(f.relative_to(folder)) for f in folder.glob("*/*.safetensors")))

X = StandardScaler().fit_transform(make_jets(5_000, random_state=0))
model = JetAutoencoder(
    max_epochs=40, dropout=0.01, random_state=0, device="cpu", checkpoint=folder, verbose=1
)
begin = time.perf_counter()
model.fit(X)
print(f"the rest took {time.perf_counter() - begin:.1f} s")

# %%
# The same fit without an interruption has the same weights, to the last bit.

begin = time.perf_counter()
whole = clone(model).set_params(checkpoint=None, verbose=0).fit(X)
print(f"the whole took {time.perf_counter() - begin:.1f} s")
same = all(
    torch.equal(a, b)
    for a, b in zip(model.module_.parameters(), whole.module_.parameters(), strict=True)
)
print("equal, bit for bit:", same)

display = LearningCurveDisplay.from_estimator(whole)
display.ax_.lines[0].set_label("not interrupted")
display.ax_.plot(range(1, 41), model.loss_curve_, ".", label="killed behind epoch 17, then gone on")
display.ax_.axvline(17.5, color="grey", linestyle=":")
display.ax_.legend()
display.ax_.set_ylabel("training loss")
display.ax_.set_title("A fit that was killed and went on")
plt.show()

# %%
# A search that is killed
# -----------------------
# Each fit has a subfolder of its own, named after its parameters and its data. What a search has finished
# it need not do again; here the second search finds all of it.

search = GridSearchCV(
    JetAutoencoder(hidden_layer_sizes=(32,), max_epochs=20, device="cpu", random_state=0),
    {"n_components": [1, 2, 3]},
    cv=3,
).set_params(estimator__checkpoint=folder)
for turn in ("first", "second"):
    begin = time.perf_counter()
    best = clone(search).fit(X).best_params_
    print(f"{turn} search: {best}, {time.perf_counter() - begin:.1f} s")
print(len(list(folder.iterdir())), "fits are kept")
