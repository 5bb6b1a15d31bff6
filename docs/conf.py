"""How the documentation is built: `sphinx-build -W --keep-going -b html docs docs/_build/html`. Needs no network."""

import sys
from pathlib import Path

from zatlas import __version__

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "zatlas"
author = "the zatlas authors"
copyright = "2026, the zatlas authors"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "zatlas_reference",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

autosummary_generate = True
autosummary_ignore_module_all = False
autosummary_filename_map = {"zatlas.study": "zatlas.study-function"}  # beside zatlas.Study where case does not count
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_attr_annotations = False  # axis names such as "*e" in annotations would be taken for markup

copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = f"zatlas {version}"
html_static_path = ["_static"]
html_show_sphinx = False
html_copy_source = False
