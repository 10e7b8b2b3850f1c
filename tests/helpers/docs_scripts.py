"""The scripts of docs/, as modules that tests can call."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def docs_script(name: str) -> ModuleType:
    """Load a script with those beside it, as Python does when it is called."""
    sys.path.insert(0, str(DOCS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(DOCS))
