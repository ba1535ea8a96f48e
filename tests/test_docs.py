"""The documentation: links, navigation, generated pages, and the commands and code that the pages show."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from kanjo.cli import app

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
#: Texts whose links and examples are checked; not CHANGELOG.md, which names commands that were removed.
TEXTS = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE_COMMAND = re.compile(r"`(kanjo [a-z][^`]*)`")
SHELL_WORDS = {"|", ">", "<", "&&"}
#: Commands whose --set overrides are checked against the recipe.
RECIPE_COMMANDS = ("train", "crossval", "ablate", "tune", "compare", "baseline")


def page_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def code_blocks(path: Path, language: str) -> list[str]:
    return [code for name, code in BLOCK.findall(path.read_text(encoding="utf-8")) if name == language]


def heading_anchors(path: Path) -> set[str]:
    """The anchors of a page, as Python-Markdown and GitHub make them from headings (they agree for these pages)."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings}


@pytest.fixture
def site_folder(tmp_path: Path) -> Path:
    shutil.copytree(DOCS, tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    return tmp_path


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("zensical", reason="zensical (extra docs) is not installed")
    return subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"], cwd=folder, capture_output=True, text=True
    )


def test_site_build_strict_succeeds_and_loads_nothing_from_other_servers(site_folder: Path) -> None:
    result = build(site_folder)
    assert result.returncode == 0, result.stdout + result.stderr
    for page in PAGES:
        path = page.relative_to(DOCS).with_suffix("")
        built = site_folder / "build" / "site" / (path.parent if path.stem == "index" else path) / "index.html"
        loaded = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?://[^"]+)"', built.read_text("utf-8"))
        assert not loaded, f"{page_id(page)} loads {loaded}"


def test_site_build_with_broken_link_fails(site_folder: Path) -> None:
    with (site_folder / "docs" / "index.md").open("a", encoding="utf-8") as stream:
        stream.write("\n[nowhere](nowhere.md)\n")
    assert build(site_folder).returncode != 0


@pytest.mark.parametrize("page", TEXTS, ids=page_id)
def test_page_links_lead_to_existing_files_and_headings(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target, anchor in re.findall(r"\]\((?!https?://)([^)#]*)#?([^)]*)\)", text):
        path = page.parent / target if target else page
        assert path.exists(), f"{target} does not exist"
        assert not anchor or anchor in heading_anchors(path), f"{target} has no heading #{anchor}"


def test_navigation_contains_every_page_once() -> None:
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    named = re.findall(r"[\w/-]+\.md", str(navigation))
    assert sorted(named) == [page.relative_to(DOCS).as_posix() for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_page_begins_with_title_and_purpose(page: Path) -> None:
    title, blank, purpose, *_ = page.read_text(encoding="utf-8").splitlines()
    assert title.startswith("# ") and not blank and purpose[0].isalpha()


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "glossary.md"], ids=page_id)
def test_page_shows_a_command_before_its_first_section(page: Path) -> None:
    beginning = page.read_text(encoding="utf-8").partition("\n## ")[0]
    assert re.search(r"^```(?:console|python)\n", beginning, re.MULTILINE)


def test_pages_contain_no_diagram_that_needs_another_server() -> None:
    assert [page_id(page) for page in PAGES if code_blocks(page, "mermaid")] == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_page_names_no_path_of_a_developer_machine(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "../shared" not in text and "/work/" not in text and "/home/" not in text


# ---------------------------------------------------------------------------------------------- generated pages


def run_script(name: str, *extras: str) -> Any:
    """Import a script of docs/, if the packages that it needs are installed."""
    for package in extras:
        pytest.importorskip(package, reason=f"docs/{name}.py needs {package}")
    spec = spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_recipe_reference_is_up_to_date() -> None:
    script = run_script("make_recipe_reference", "pydantic")
    assert script.render_page() == script.PAGE.read_text(encoding="utf-8"), "run: make reference"


def test_command_line_reference_is_up_to_date() -> None:
    script = run_script("make_cli_reference")
    assert script.render_page() == script.PAGE.read_text(encoding="utf-8"), "run: make reference"


def test_python_reference_is_up_to_date() -> None:
    script = run_script("make_python_reference", "pydantic", "fastapi", "sklearn")
    assert script.render_page() == script.PAGE.read_text(encoding="utf-8"), "run: make reference"


def test_architecture_diagram_is_up_to_date() -> None:
    script = run_script("make_architecture_diagram")
    assert script.render_picture() == script.PICTURE.read_text(encoding="utf-8"), "run: make reference"


def walk_commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    yield name, command
    for child_name, child in getattr(command, "commands", {}).items():
        yield from walk_commands(child, f"{name} {child_name}")


def test_command_line_reference_names_every_command_and_option() -> None:
    page = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^###+ (kanjo .*)\n((?:(?!^#).*\n)*)", page, re.MULTILINE))
    for name, command in walk_commands(typer.main.get_command(app), "kanjo"):
        if name != "kanjo" and not command.hidden:
            shown = [parameter for parameter in command.params if not parameter.hidden]
            options = [option for parameter in shown for option in parameter.opts if option[0] == "-"]
            assert [option for option in options if f"`{option}" not in sections[name]] == [], name


def test_python_reference_names_every_public_name_and_method() -> None:
    import kanjo

    page = (DOCS / "reference" / "python-api.md").read_text(encoding="utf-8")
    assert [name for name in kanjo.__all__ if f"\n### {name}\n" not in page and name != "__version__"] == []
    for name in (name for name in vars(kanjo.Recognizer) if not name.startswith("_")):
        assert f"Recognizer.{name}\n" in page or f"| `{name}` |" in page, name


def test_bundle_page_names_every_key_of_the_metadata() -> None:
    from kanjo.bundle import BundleMetadata

    page = (DOCS / "reference" / "bundle.md").read_text(encoding="utf-8")
    assert [field.name for field in fields(BundleMetadata) if f"`{field.name}`" not in page] == []


def test_corpora_table_equals_output_of_corpus_list() -> None:
    from kanjo.cli.corpus import _markdown

    page = (DOCS / "reference" / "corpora.md").read_text(encoding="utf-8")
    assert _markdown().strip() in page, "replace the table by the output of: kanjo corpus list --markdown"


def test_platforms_page_names_every_environment_variable_of_kanjo() -> None:
    sources = " ".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    page = (DOCS / "reference" / "platforms.md").read_text(encoding="utf-8")
    public = set(re.findall(r"\bKANJO_(?:CORPORA|CACHE|WEIGHTS|SPEAKERS|TOKEN)\b", sources))
    assert public == set(re.findall(r"\bKANJO_\w+", page))


def test_python_page_names_every_public_name() -> None:
    import kanjo

    page = (DOCS / "reference" / "python.md").read_text(encoding="utf-8")
    assert [name for name in kanjo.__all__ if name not in page and name != "__version__"] == []


def test_pages_state_the_scores_of_the_builtin_model() -> None:
    folder = ROOT / "src" / "kanjo" / "bundle" / "builtin" / "default"
    metadata = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    scores, enrolled = metadata["scores"], metadata["scores_enrolled"]
    speakers = scores["uar_by_speaker"].values()
    page = (DOCS / "explanation" / "responsible-use.md").read_text(encoding="utf-8")
    women, men = (f"{scores['uar_by_sex'][sex]:.1%}".replace("%", " %") for sex in ("female", "male"))
    assert f"UAR of women is {women}, that of men is {men}." in page
    assert f"between {100 * min(speakers):.1f} % and {100 * max(speakers):.1f} %." in page
    page = (DOCS / "how-to" / "enroll-speakers.md").read_text(encoding="utf-8")
    without, with_profile = (f"{100 * result['uar']['value']:.1f} %" for result in (scores, enrolled))
    assert f"{without} without and {with_profile} with enrollment" in page


# ---------------------------------------------------------------------------------------------- commands


def split_command(line: str) -> list[str]:
    """The words of a command line up to the first pipe or redirection, without the program."""
    words = shlex.split(line, comments=True)
    end = next((i for i, word in enumerate(words) if word in SHELL_WORDS), len(words))
    return words[1:end]


def console_commands(path: Path) -> list[str]:
    lines = [line for block in code_blocks(path, "console") for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ kanjo ")]


def check_command(words: list[str], complete: bool = True) -> None:
    """Raise AssertionError for an unknown command or option, and for an option without value in a complete line."""
    command: Any = typer.main.get_command(app)
    words = list(words)
    while hasattr(command, "commands"):
        while words and words[0] in ("--debug", "--version", "-h", "--help"):
            words.pop(0)
        if not words:
            return
        name = words.pop(0)
        assert name in command.commands, f"there is no command {name!r}"
        command = command.commands[name]
    options = {name: option for option in command.params for name in (*option.opts, *option.secondary_opts)}
    while words:
        word = words.pop(0)
        if not word.startswith("-") or word == "-":
            continue
        name, equals, _ = word.partition("=")
        assert name in (*options, "-h", "--help"), f"{command.name} has no option {name}"
        if not equals and name in options and not options[name].is_flag:
            assert words or not complete, f"{command.name} {name} needs a value"
            del words[:1]


@pytest.mark.parametrize("page", TEXTS, ids=page_id)
def test_console_commands_name_existing_commands_and_options(page: Path) -> None:
    for line in console_commands(page):
        try:
            check_command(split_command(line))
        except AssertionError as error:
            raise AssertionError(f"{line}: {error}") from None


@pytest.mark.parametrize("page", TEXTS, ids=page_id)
def test_inline_commands_name_existing_commands_and_options(page: Path) -> None:
    for line in INLINE_COMMAND.findall(page.read_text(encoding="utf-8")):
        try:
            check_command(split_command(line), complete=False)
        except AssertionError as error:
            raise AssertionError(f"{line}: {error}") from None


def test_check_command_with_unknown_names_fails() -> None:
    for line in ("kanjo hear x.wav", "kanjo predict --loud x.wav", "kanjo corpus audit ravdess", "kanjo predict --hop"):
        with pytest.raises(AssertionError):
            check_command(split_command(line))


@pytest.mark.parametrize("page", TEXTS, ids=page_id)
def test_overrides_in_commands_are_valid_for_the_recipe(page: Path) -> None:
    pytest.importorskip("pydantic", reason="recipes need the extra train")
    from kanjo.train.config.loading import list_recipes, load_recipe

    for line in [*console_commands(page), *INLINE_COMMAND.findall(page.read_text(encoding="utf-8"))]:
        words = split_command(line)
        overrides = [value for option, value in itertools.pairwise(words) if option == "--set"]
        recipes = [word for word in words if word in list_recipes()]
        if words[0] in RECIPE_COMMANDS and recipes:
            load_recipe(recipes[0], overrides, corpus_root="corpora")


@pytest.mark.parametrize("page", TEXTS, ids=page_id)
def test_yaml_examples_are_valid_recipes(page: Path, tmp_path: Path) -> None:
    pytest.importorskip("pydantic", reason="recipes need the extra train")
    from kanjo.train.config.loading import load_recipe

    for number, block in enumerate(code_blocks(page, "yaml")):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block, encoding="utf-8")
        load_recipe(str(path))


# ---------------------------------------------------------------------------------------------- outputs and code

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_BAR = re.compile("[▏▎▍▌▋▊▉█]+")


def assert_same_output(output: str, shown: str) -> None:
    """Compare words exactly, and numbers and bars approximately, because probabilities depend on the processor."""
    output, shown = _BAR.sub("=", output), _BAR.sub("=", shown)
    assert _NUMBER.sub("#", output).split() == _NUMBER.sub("#", shown).split()
    for value, expected in zip(_NUMBER.findall(output), _NUMBER.findall(shown), strict=True):
        assert float(value) == pytest.approx(float(expected), abs=0.01 if "." in expected else 1)


def shown_predictions(path: Path) -> list[tuple[str, str]]:
    blocks = [block.partition("\n") for block in code_blocks(path, "console")]
    return [
        (first.removeprefix("$ "), rest)
        for first, _, rest in blocks
        if first.startswith("$ kanjo predict examples/") and rest.strip() and not rest.startswith("$ ")
    ]


@pytest.mark.parametrize("page", [page for page in PAGES if shown_predictions(page)], ids=page_id)
def test_predict_commands_print_the_shown_output(page: Path) -> None:
    for line, shown in shown_predictions(page):
        command = [sys.executable, "-m", "kanjo", *split_command(line)]
        result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert result.returncode == 0, result.stderr
        assert_same_output(result.stdout, shown)


@pytest.mark.parametrize("page", [page for page in PAGES if code_blocks(page, "python")], ids=page_id)
def test_python_examples_run(page: Path, tmp_path: Path) -> None:
    if page.name == "python.md":
        pytest.importorskip("fastapi", reason="the service needs the extra serve")
    shutil.copytree(ROOT / "examples" / "recordings", tmp_path / "examples" / "recordings")
    builtin = Path("src", "kanjo", "bundle", "builtin", "default")
    shutil.copytree(ROOT / builtin, tmp_path / builtin)
    if page.name == "pandas.md":
        pytest.importorskip("pandas", reason="the page shows pandas")
        pytest.importorskip("pyarrow", reason="Parquet files need the extra parquet")
    for words in map(split_command, console_commands(page)):
        if words[:1] == ["predict"] and words[1].startswith("examples/") and "-o" in words:  # the code reads its output
            subprocess.run([sys.executable, "-m", "kanjo", *words], check=True, cwd=tmp_path)
    (tmp_path / "mine.csv").write_text("file,emotion,speaker\nexamples/recordings/sadness-1.flac,calm,ana\n", "utf-8")
    code = "\n".join(code_blocks(page, "python"))
    result = subprocess.run(
        [sys.executable, "-W", "ignore::ResourceWarning", "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip()
