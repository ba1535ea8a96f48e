"""Check the files that describe the project: version, citation, changelog, workflows and templates."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

import kanjo

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

yaml = pytest.importorskip("yaml", reason="PyYAML (extra dev) is not installed")

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ISSUE_FORMS = [ROOT / ".github" / "ISSUE_TEMPLATE" / name for name in ("bug_report.yml", "feature_request.yml")]
YAML_FILES = [
    *WORKFLOWS,
    *sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")),
    ROOT / ".pre-commit-config.yaml",
    ROOT / "CITATION.cff",
]


def file_name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def read_text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def citation() -> dict[str, Any]:
    content = read_yaml(ROOT / "CITATION.cff")
    assert isinstance(content, dict)
    return content


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads(read_text("pyproject.toml"))


def test_pyproject_version_is_read_from_package(pyproject: dict[str, Any]) -> None:
    assert "version" not in pyproject["project"]
    assert pyproject["project"]["dynamic"] == ["version"]
    version_file = pyproject["tool"]["hatch"]["version"]["path"]
    assert (ROOT / version_file).samefile(ROOT / "src" / "kanjo" / "__init__.py")


def test_citation_version_equals_package_version(citation: dict[str, Any]) -> None:
    assert citation["version"] == kanjo.__version__


@pytest.mark.parametrize("name", ["Dockerfile", "mkdocs.yml", "Makefile", "pyproject.toml"])
def test_build_file_text_does_not_repeat_version(name: str) -> None:
    pattern = rf"(?<![\d.]){re.escape(kanjo.__version__)}(?![\d.])"
    assert not re.search(pattern, read_text(name)), f"{name} repeats the version; take it from kanjo.__version__"


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.name)
def test_documentation_kanjo_version_is_current(page: Path) -> None:
    named = re.findall(r"\bkanjo(?:\[[\w,]+\])?(?:==|:| )v?(\d+\.\d+\.\d+)", page.read_text(encoding="utf-8"))
    assert set(named) <= {kanjo.__version__}


def test_citation_required_fields_are_present(citation: dict[str, Any]) -> None:
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["cff-version"] == "1.2.0"
    assert citation["authors"]
    assert all("name" in author or "family-names" in author for author in citation["authors"])


def test_citation_license_and_address_equal_pyproject(citation: dict[str, Any], pyproject: dict[str, Any]) -> None:
    assert citation["license"] == pyproject["project"]["license"]
    assert citation["repository-code"] == pyproject["project"]["urls"]["Repository"]


def test_project_urls_addresses_start_with_repository(pyproject: dict[str, Any]) -> None:
    urls = pyproject["project"]["urls"]
    assert set(urls) == {"Homepage", "Documentation", "Repository", "Issues", "Changelog"}
    assert all(url.startswith(urls["Repository"]) for url in urls.values())


@pytest.mark.parametrize("path", YAML_FILES, ids=file_name)
def test_yaml_file_parsed_gives_a_mapping(path: Path) -> None:
    assert isinstance(read_yaml(path), dict)


def test_workflows_folder_has_expected_files() -> None:
    assert {path.name for path in WORKFLOWS} >= {"tests.yml", "lint.yml", "release.yml"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=file_name)
def test_workflow_parsed_has_triggers_permissions_and_steps(path: Path) -> None:
    workflow = read_yaml(path)
    assert workflow[True]  # YAML 1.1 reads the key "on" as true
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["runs-on"]
        assert all("uses" in step or "run" in step for step in job["steps"])


def test_tests_workflow_python_versions_are_supported(pyproject: dict[str, Any]) -> None:
    classifiers = pyproject["project"]["classifiers"]
    versions = read_yaml(ROOT / ".github" / "workflows" / "tests.yml")["jobs"]["tests"]["strategy"]["matrix"][
        "python-version"
    ]
    assert [f"Programming Language :: Python :: {version}" in classifiers for version in versions] == [True] * len(
        versions
    )
    assert pyproject["project"]["requires-python"] == f">={versions[0]}"


@pytest.mark.parametrize("path", ISSUE_FORMS, ids=file_name)
def test_issue_form_fields_have_unique_ids_and_labels(path: Path) -> None:
    form = read_yaml(path)
    assert form["name"] and form["description"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    ids = [field["id"] for field in fields]
    assert len(set(ids)) == len(ids) > 0
    assert all(field["attributes"]["label"] for field in fields)


def test_pre_commit_ruff_version_equals_constraints() -> None:
    repositories = read_yaml(ROOT / ".pre-commit-config.yaml")["repos"]
    (revision,) = [item["rev"] for item in repositories if item["repo"].endswith("/ruff-pre-commit")]
    assert f"ruff=={revision.removeprefix('v')}" in read_text("constraints.txt").splitlines()


def test_changelog_first_section_is_unreleased() -> None:
    sections = re.findall(r"^## (.*)$", read_text("CHANGELOG.md"), flags=re.MULTILINE)
    assert sections[0] == "[Unreleased]"


def test_changelog_groups_are_those_of_keep_a_changelog() -> None:
    groups = re.findall(r"^### (.*)$", read_text("CHANGELOG.md"), flags=re.MULTILINE)
    assert "Added" in groups
    assert set(groups) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
