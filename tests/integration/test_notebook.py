"""The notebook examples/tutorial.ipynb: its links, and that every cell runs."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOK = EXAMPLES / "tutorial.ipynb"


def read_cells(kind: str) -> list[dict[str, Any]]:
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return [cell for cell in content["cells"] if cell["cell_type"] == kind]


def test_notebook_is_committed_without_outputs() -> None:
    cells = read_cells("code")
    assert len(cells) >= 7
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells)


def test_links_of_the_notebook_lead_to_files() -> None:
    text = "".join("".join(cell["source"]) for cell in read_cells("markdown"))
    targets = re.findall(r"\]\(([^)#]+)", text)
    assert len(targets) >= 4
    assert [target for target in targets if not (EXAMPLES / target).is_file()] == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the Jupyter packages
def test_every_cell_of_the_notebook_runs(tmp_path: Path) -> None:
    for package in ("nbclient", "nbformat", "ipykernel", "pandas", "torch"):
        pytest.importorskip(package, reason=f"{package} (extra dev-all) is not installed")
    import nbclient
    import nbformat

    folder = tmp_path / "examples"
    shutil.copytree(EXAMPLES / "recordings", folder / "recordings")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    resources = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=1800, kernel_name="python3", resources=resources).execute()

    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    tables = [output.get("data", {}).get("text/html", "") for output in outputs]
    assert any("<th>confidence</th>" in table and "<th>happiness</th>" in table for table in tables)
    texts = [output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in outputs]
    assert any(re.search(r"finetuned +UAR \d", text) and "difference" in text for text in texts)
    assert any("intended" in text and "original" in text and "finetuned" in text for text in texts)
    assert (tmp_path / "runs" / "notebook" / "model" / "report.html").is_file()
