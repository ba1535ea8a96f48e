"""The pictures of README and docs: each is used, small, and drawn from today's model, page, colors and recordings."""

from __future__ import annotations

import json
import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs" / "pictures"
MAX_BYTES = 2_000_000
ACCURACY = ROOT / "benchmarks" / "accuracy"
#: Pictures of training runs that take hours. `kanjo compare` draws the first (docs/tutorials/reproduce-a-paper.md), and
#: benchmarks/accuracy/published_pictures.py the others from measured results.
PUBLISHED = {path.stem for path in PICTURES.glob("published-*.png")}
NOT_DRAWN_BY_THE_SCRIPT = {"compare-1d-2d", *PUBLISHED}


def load_script() -> ModuleType:
    spec = spec_from_file_location("make_pictures", ROOT / "docs" / "make_pictures.py")
    assert spec and spec.loader
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look the module up
    spec.loader.exec_module(module)
    return module


SCRIPT = load_script()


@pytest.mark.parametrize("name", SCRIPT.DRAWN)
def test_picture_is_up_to_date(name: str) -> None:
    recorded, today = SCRIPT.read_sources().get(name, {}), SCRIPT.describe_picture(name)
    changed = [key for key in today if recorded.get(key) != today[key]]
    assert not changed, f"{name}: {', '.join(changed)} changed since it was drawn; run: make pictures ONLY={name}"


@pytest.mark.parametrize("section", sorted(PUBLISHED))
def test_picture_of_published_models_shows_the_measured_results(section: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow (extra evaluation) is not installed")
    monkeypatch.syspath_prepend(str(ACCURACY))
    import published_pictures  # type: ignore[import-not-found]

    expected = published_pictures.hash_measured(published_pictures.read_measured(ACCURACY, section))
    with image.open(PICTURES / f"{section}.png") as picture:
        assert picture.text[published_pictures.SOURCE_KEY] == expected, "run: make results ONLY=none"


def test_hash_of_the_bundle_is_that_of_its_graph() -> None:
    metadata = json.loads((ROOT / "src/kanjo/bundle/builtin/default/bundle.json").read_text(encoding="utf-8"))
    assert SCRIPT.hash_source("bundle") == metadata["sha256"]


def test_pictures_are_those_of_the_script_and_small() -> None:
    files = list(PICTURES.glob("*.png"))
    assert {path.stem for path in files} == {*SCRIPT.DRAWN, *NOT_DRAWN_BY_THE_SCRIPT}
    assert sum(path.stat().st_size for path in files) < MAX_BYTES
    assert set(SCRIPT.read_sources()) == set(SCRIPT.DRAWN)


def test_every_picture_is_used() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    used = {name for page in pages for name in re.findall(r"pictures/([\w-]+)\.png", page.read_text(encoding="utf-8"))}
    assert used == {*SCRIPT.DRAWN, *NOT_DRAWN_BY_THE_SCRIPT}


@pytest.fixture
def small_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one page file, as the root of the script."""
    page = tmp_path / "page"
    page.mkdir()
    (page / "a.js").write_bytes(b"let a;\nlet b;\n")
    monkeypatch.setattr(SCRIPT, "ROOT", tmp_path)
    monkeypatch.setattr(SCRIPT, "SOURCES", {"page": ("page",)})
    return page


def test_hash_source_changes_with_content_name_and_number_of_files(small_root: Path) -> None:
    hashes = [SCRIPT.hash_source("page")]
    (small_root / "a.js").write_bytes(b"let a;\nlet c;\n")
    hashes.append(SCRIPT.hash_source("page"))
    (small_root / "a.js").rename(small_root / "b.js")
    hashes.append(SCRIPT.hash_source("page"))
    (small_root / "c.js").write_bytes(b"")
    hashes.append(SCRIPT.hash_source("page"))
    assert len(set(hashes)) == 4


def test_hash_source_ignores_the_line_ends_of_text_files(small_root: Path) -> None:
    before = SCRIPT.hash_source("page")
    (small_root / "a.js").write_bytes(b"let a;\r\nlet b;\r\n")
    assert SCRIPT.hash_source("page") == before


def test_picture_without_its_corpus_is_left_out_with_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("PIL", reason="Pillow (extra evaluation) is not installed")
    monkeypatch.setattr(SCRIPT, "CORPORA", tmp_path / "corpora")
    before = (PICTURES / "report.png").read_bytes()
    assert SCRIPT.main(["report"]) == 0
    assert "report was not drawn" in capsys.readouterr().err
    assert (PICTURES / "report.png").read_bytes() == before


def test_unknown_picture_is_an_error_that_names_the_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    assert SCRIPT.main(["page"]) == 2
    assert "page-light" in capsys.readouterr().err
