"""Sphinx configuration."""

import warnings

from sklearn.experimental import enable_halving_search_cv  # noqa: F401  (the gallery looks names up)

import skae

project = "skae"
author = "the skae developers"
copyright = "2026, the skae developers"
release = version = skae.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
html_title = "skae"
html_static_path = ["_static"]
html_favicon = "_static/icon.svg"
html_theme = "pydata_sphinx_theme"
html_theme_options = {"show_prev_next": False}
# pages that have none beside them
html_sidebars: dict[str, list[str]] = {
    page: [] for page in ("index", "how_do_i", "benchmarks", "comparison", "contributing")
}

autosummary_generate = True
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
# what scikit-learn's mixins add is documented there, with references that resolve there only
autodoc_default_options = {
    "members": True,
    "inherited-members": True,
    "exclude-members": "get_metadata_routing, set_output, set_fit_request, set_partial_fit_request, "
    "set_predict_request, set_score_request, set_transform_request",
}

# the gallery's processes start anew when the examples that they have run fill the memory
warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": "/plot_",
    "remove_config_comments": True,
    "show_memory": False,
    "thumbnail_size": (600, 420),
    "write_computation_times": False,
    "abort_on_example_error": True,
    "parallel": 2,
}
