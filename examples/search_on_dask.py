"""
A search over jets' autoencoders on a cluster
=============================================

scikit-learn's searches run their fits through joblib, and joblib runs them on whatever Dask cluster
there is: workers on this machine, on a batch farm (``dask-jobqueue``), in a cloud. Nothing in the
search changes, but for the lines that say where.

.. code-block:: sh

   pip install "dask[distributed]"
   python examples/search_on_dask.py                                # two workers here
   python examples/search_on_dask.py --scheduler tcp://node01:8786  # those of a cluster
   python examples/search_on_dask.py --kill                         # one worker dies half-way

A worker that dies takes nothing with it: its fits are given to the others, and the result is the
same. For that each worker must have all of the data. So rows and folds are named in ``scatter``:
left to itself, joblib gives an array to one worker, with whom it is lost. And Dask's memory
manager, which takes back copies that seem one too many, is stopped meanwhile. Long fits may go on
where they were if all workers see one folder: ``JetAutoencoder(checkpoint="/shared/folder")``.
"""

# sphinx_gallery_thumbnail_path = '_static/search_on_dask.svg'

import argparse
import contextlib
import itertools
import os
import signal
import threading
import time

import dask.array as da
import joblib
import numpy as np
import pandas as pd
from distributed import Client, LocalCluster
from sklearn.model_selection import GridSearchCV, KFold, ParameterGrid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skae
from skae.datasets import make_jets

GRID = {
    "jetautoencoder__n_components": [1, 2, 3],
    "jetautoencoder__hidden_layer_sizes": [(32,), (64, 32)],
}


def make_search(folds, max_epochs=20):
    """Return a search over widths and latent coordinates."""
    model = make_pipeline(
        skae.KinematicsTransformer(),
        StandardScaler(),
        skae.JetAutoencoder(max_epochs=max_epochs, device="cpu", random_state=0),
    )
    return GridSearchCV(model, GRID, cv=folds, error_score="raise")


@contextlib.contextmanager
def copies_are_kept(client):
    """Stop the memory manager, which takes back copies of the data, for a while."""
    was_running = client.amm.running()
    client.amm.stop()
    try:
        yield
    finally:
        if was_running:
            client.amm.start()


@contextlib.contextmanager
def a_worker_dies(client, after):
    """Kill a worker of this machine, without a farewell, as soon as ``after`` fits have ended."""
    pids = list(client.run(os.getpid).values())
    over = threading.Event()

    def ended(dask_scheduler):
        tasks = dask_scheduler.task_prefixes
        return sum(tasks[name].state_counts["memory"] for name in tasks if "_fit_and_score" in name)

    def kill():
        while not over.wait(0.05):
            if client.run_on_scheduler(ended) >= after:
                os.kill(pids[0], signal.SIGKILL)
                print(f"killed worker {pids[0]}", flush=True)
                return

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def main(arguments=None):
    """Search, show, save, and transform an array that is in chunks."""
    parser = argparse.ArgumentParser(description="A search over autoencoders on a Dask cluster.")
    parser.add_argument("--scheduler", help="address of a running one; without, workers start here")
    parser.add_argument("--workers", type=int, default=2, help="how many start here")
    parser.add_argument("--kill", action="store_true", help="kill one of them half-way")
    parser.add_argument("--jets", type=int, default=6000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--out", default="jets.skops")
    options = parser.parse_args(arguments)
    if options.kill and options.scheduler:
        parser.error("--kill is for workers that start here")

    X = make_jets(options.jets, random_state=0)
    with contextlib.ExitStack() as stack:
        cluster = options.scheduler or stack.enter_context(
            LocalCluster(n_workers=options.workers, threads_per_worker=1, dashboard_address=":0")
        )
        client = stack.enter_context(Client(cluster))
        folds = list(KFold(3).split(X))
        search = make_search(folds, options.epochs)
        n_fits = len(folds) * len(ParameterGrid(GRID))
        begin = time.perf_counter()
        with contextlib.ExitStack() as conditions:
            conditions.enter_context(copies_are_kept(client))
            if options.kill:
                conditions.enter_context(a_worker_dies(client, n_fits // 3))
            with joblib.parallel_config(backend="dask", scatter=[X, *itertools.chain(*folds)]):
                search.fit(X)
        seconds = time.perf_counter() - begin
        print(
            f"{n_fits} fits on {len(client.scheduler_info()['workers'])} workers: {seconds:.1f} s"
        )
        table = pd.DataFrame(search.cv_results_)
        columns = [name for name in table if name.startswith("param_")]
        shown = table[[*columns, "mean_test_score", "std_test_score", "mean_fit_time"]]
        print(shown.sort_values("mean_test_score", ascending=False).to_string(index=False))
        skae.save(search.best_estimator_, options.out)
        print(f"saved {options.out}")

        # any array in chunks: of files larger than memory, say
        model = search.best_estimator_
        jets = da.from_array(X, chunks=(len(X) // 4 + 1, 4))
        k = model[-1].n_components_
        latent = jets.map_blocks(model.transform, dtype=X.dtype, chunks=(jets.chunks[0], (k,)))
        difference = np.abs(latent.compute() - model.transform(X)).max()
        print(
            f"latent coordinates in {latent.numblocks[0]} chunks: {latent.shape}, {difference:.1e} off"
        )
    return search


if __name__ == "__main__":
    main()
