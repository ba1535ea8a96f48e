from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kanjo.errors import KanjoError
from kanjo.tools.hparams import find_value, set_value

JSON = (
    '{\n\t"train": {"learning_rate": 1e-4,  "epochs": 30},\n'
    '  "data" : {"name":"esd", "max_sec": 3, "aug": false,\n"p": null}\n}'
)
YAML = """# a comment
train:   # another one
  learning_rate: 1.0e-4
  name: 'it''s'   # quoted
list: [1, 2,   3]
text: plain words
"""


@pytest.fixture
def json_file(tmp_path: Path) -> Path:
    (tmp_path / "a.json").write_text(JSON)
    return tmp_path / "a.json"


@pytest.fixture
def yaml_file(tmp_path: Path) -> Path:
    (tmp_path / "b.yaml").write_text(YAML)
    return tmp_path / "b.yaml"


JSON_CHANGES = [
    ("train.learning_rate", "5e-6", "1e-4", "5e-6"),
    ("epochs", "100", "30", "100"),
    ("max_sec", "3.5", '"max_sec": 3', '"max_sec": 3.5'),
    ("data.name", "jtes", '"esd"', '"jtes"'),
    ("data.name", '感情 "x"', '"esd"', '"感情 \\"x\\""'),
    ("data.name", "30", '"esd"', '"30"'),
    ("aug", "true", "false", "true"),
    ("p", "runs/x", "null", '"runs/x"'),
]
YAML_CHANGES = [
    ("learning_rate", "5e-6", "1.0e-4", "5e-6"),
    ("train.name", "that's", "'it''s'", "'that''s'"),
    ("list.1", "7", "[1, 2,", "[1, 7,"),
    ("text", "other words", "plain words", "other words"),
    ("text", "yes", "plain words", '"yes"'),
    ("text", "a: b # c", "plain words", '"a: b # c"'),
]


@pytest.mark.parametrize(("name", "text", "old", "new"), JSON_CHANGES)
def test_set_value_json_changes_only_the_value(json_file: Path, name: str, text: str, old: str, new: str) -> None:
    (edit,) = set_value([json_file], name, text)
    assert json_file.read_text() == JSON.replace(old, new, 1)
    assert edit.old in old and edit.new in new
    json.loads(json_file.read_text())


@pytest.mark.parametrize(("name", "text", "old", "new"), YAML_CHANGES)
def test_set_value_yaml_changes_only_the_value(yaml_file: Path, name: str, text: str, old: str, new: str) -> None:
    set_value([yaml_file], name, text)
    assert yaml_file.read_text() == YAML.replace(old, new, 1)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("epochs", "many", "train.epochs is 30, a number; 'many' is text; nothing was written"),
        ("epochs", "true", "'true' is true or false"),
        ("aug", "1", "data.aug is False, true or false; '1' is a number"),
        ("epochs", ".inf", "is not a finite number"),
        ("epochs", "[1, 2]", "is a list or a group"),
        ("epoch", "3", "no value named epoch; did you mean train.epochs"),
        ("train", "3", "no value named train"),
    ],
)
def test_set_value_invalid_value_is_refused(json_file: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(KanjoError, match=message):
        set_value([json_file], name, text)
    assert json_file.read_text() == JSON


def test_set_value_error_in_one_file_changes_no_file(tmp_path: Path) -> None:
    for n in range(3):
        (tmp_path / f"{n}.json").write_text('{"a": 1}')
    (tmp_path / "3.json").write_text('{"b": 1}')
    paths = sorted(tmp_path.glob("*.json"))
    with pytest.raises(KanjoError, match=r"3.json: no value named a"):
        set_value(paths, "a", "2")
    assert {path.read_text() for path in paths[:3]} == {'{"a": 1}'}


def test_set_value_dry_run_writes_nothing(json_file: Path) -> None:
    (edit,) = set_value([json_file], "epochs", "2", dry_run=True)
    assert (edit.old, edit.new) == ("30", "2")
    assert json_file.read_text() == JSON


def test_set_value_ambiguous_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("a: {lr: 1}\nb: {lr: 2}\n")
    with pytest.raises(KanjoError, match="lr is not unique; use one of a.lr, b.lr"):
        set_value([tmp_path / "c.yaml"], "lr", "3")
    set_value([tmp_path / "c.yaml"], "b.lr", "3")
    assert (tmp_path / "c.yaml").read_text() == "a: {lr: 1}\nb: {lr: 3}\n"


@pytest.mark.parametrize(
    ("name", "content"), [("x.json", "{"), ("x.yaml", "a: [1"), ("x.txt", "a"), ("x.json", ""), ("x.yaml", "")]
)
def test_find_value_invalid_file_is_refused_in_one_line(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(KanjoError) as caught:
        find_value(tmp_path / name, "a")
    assert len(str(caught.value).splitlines()) == 1


_CHARACTERS = st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"])


@given(
    st.dictionaries(
        st.text(st.characters(categories=["L"]), min_size=1, max_size=6),
        st.integers() | st.text(_CHARACTERS, max_size=8) | st.booleans(),
        min_size=1,
        max_size=4,
    ),
    st.text(_CHARACTERS, max_size=10),
    st.sampled_from([None, 2]),
)
def test_set_value_any_text_is_read_back_unchanged(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, object], text: str, indent: int | None
) -> None:
    folder = tmp_path_factory.mktemp("h")
    content = {**content, "target": "before"}
    (folder / "a.json").write_text(json.dumps(content, indent=indent), encoding="utf-8")
    (folder / "a.yaml").write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    for path, load in ((folder / "a.json", json.loads), (folder / "a.yaml", yaml.safe_load)):
        try:
            set_value([path], "target", text)
        except KanjoError:
            assert load(path.read_text(encoding="utf-8")) == content
        else:
            assert load(path.read_text(encoding="utf-8")) == {**content, "target": text}


@pytest.mark.parametrize(
    ("name", "text", "old", "new"),
    [
        ("test_files", "filelists/esd/test.txt", '"test_files": 0', '"test_files": "filelists/esd/test.txt"'),
        ("test_files", "C:\\lists\\t.txt", '"test_files": 0', '"test_files": "C:\\\\lists\\\\t.txt"'),
        ("learning_rate", "1e-4", "5e-06", "1e-4"),
        ("lr_decay", "0.80", "0.70", "0.80"),
    ],
)
def test_set_value_config_of_dcnn_lstmwa_changes_only_the_value(
    tmp_path: Path, name: str, text: str, old: str, new: str
) -> None:
    content = (
        '\ufeff{\r\n    "train": {\r\n\t\t"learning_rate": 5e-06,\r\n        "lr_decay": 0.70\r\n    },\r\n'
        '    "data": {"name": "ä\\u00e4", "test_files": 0 ,"empty": {}, "none": []}\r\n}'
    )
    path = tmp_path / "a.json"
    path.write_bytes(content.encode())
    set_value([path], name, text)
    assert path.read_bytes() == content.replace(old, new, 1).encode()


def test_set_value_word_where_zero_stood_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"epochs": 0, "rate": 1}')
    for name, text in (("epochs", "many"), ("rate", "lists/a.txt")):
        with pytest.raises(KanjoError, match="is text; nothing was written"):
            set_value([tmp_path / "a.json"], name, text)


def test_set_value_json_needs_no_yaml(json_file: Path, yaml_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from kanjo import parsing

    monkeypatch.setitem(sys.modules, "yaml", None)
    parsing._import_yaml.cache_clear()
    try:
        set_value([json_file], "epochs", "31")
        assert json_file.read_text() == JSON.replace("30", "31", 1)
        with pytest.raises(KanjoError, match=r"YAML files need PyYAML: pip install 'kanjo\[train\]'"):
            set_value([yaml_file], "text", "x")
    finally:
        parsing._import_yaml.cache_clear()
