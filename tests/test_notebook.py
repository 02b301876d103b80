"""The notebooks of docs/notebooks run from top to bottom, and show what they last gave.

`python tests/test_notebook.py` runs them and writes what the cells put out. There is no kernel: the
cells are plain Python, run in this process one after the other.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import matplotlib
import nbformat
import pytest
from matplotlib import pyplot
from nbformat.v4 import new_output

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def run(notebook: Any) -> None:
    """Run the code cells in one namespace, and put what they give into their outputs."""
    matplotlib.use("Agg")
    names: dict[str, Any] = {"__name__": "__main__"}
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(cells, 1):
        cell.execution_count = number
        cell.outputs = outputs_of(cell.source, names, number)


def outputs_of(source: str, names: dict[str, Any], number: int) -> list[Any]:
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(tree, f"cell {number}", "exec"), names)
        value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names) if (
            last
        ) else None  # fmt: skip
    outputs = []
    if printed.getvalue():
        outputs.append(new_output("stream", name="stdout", text=printed.getvalue()))
    if pyplot.get_fignums():
        picture = io.BytesIO()
        pyplot.gcf().savefig(picture, format="png", dpi=80, bbox_inches="tight")
        pyplot.close("all")
        image = base64.b64encode(picture.getvalue()).decode()
        outputs.append(new_output("display_data", data={"image/png": image}))
    elif value is not None:
        data = {"text/plain": repr(value)}
        if hasattr(value, "_repr_html_"):
            data["text/html"] = value._repr_html_()
        outputs.append(new_output("execute_result", data=data, execution_count=number))
    return outputs


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_and_shows_what_it_gives(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    shown = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    run(notebook)
    given = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    kinds = [[output.output_type for output in outputs] for outputs in given]
    assert kinds == [[output.output_type for output in outputs] for outputs in shown]
    assert path.stat().st_size < 150_000


def test_each_notebook_is_linked_from_the_page_of_the_library() -> None:
    text = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
    assert NOTEBOOKS and all(f"(notebooks/{path.name})" in text for path in NOTEBOOKS)


if __name__ == "__main__":
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        run(notebook)
        nbformat.write(notebook, path)
