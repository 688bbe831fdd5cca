"""The notebooks of the documentation as modules."""

import importlib.util
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"


def notebook(name):
    """The app of a notebook; nothing of it has run."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.app


def twelve_questions():
    """Question → query, of the notebook for analysts; the warehouse is not asked."""
    cells = notebook("twelve_questions")._cell_manager.cells()
    (cell,) = (cell for cell in cells if cell.defs == {"questions"})
    _, defs = cell.run()
    return defs["questions"]
