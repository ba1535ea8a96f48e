"""Parsing JSON and YAML: equal to the standard parsers for usual texts, a ValueError of one line for hostile ones."""

from __future__ import annotations

import json
import math
import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kanjo.parsing import MAX_DEPTH, MAX_DIGITS, MAX_JSON_LENGTH, MAX_YAML_LENGTH, compose_yaml, parse_json, parse_yaml

_TEXTS = st.text(st.characters(codec="utf-8"))
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXTS,
    lambda children: st.lists(children) | st.dictionaries(_TEXTS, children),
    max_leaves=20,
)
#: Nine aliases of nine aliases ...: 9**9 values.
_LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(8)
)
_MERGES = "a: &a {x: 1, y: 2}\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} {{<<: [{','.join(['*' + chr(97 + n)] * 9)}]}}\n" for n in range(8)
)


@given(_VALUES)
def test_parse_json_any_value_equals_the_written_one(value: object) -> None:
    assert parse_json(json.dumps(value)) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


@given(_VALUES)
def test_parse_yaml_any_value_equals_pyyaml(value: object) -> None:
    text = yaml.safe_dump(value)
    assert parse_yaml(text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Expecting property name"),
        ("[" * 100_000, f"nested more than {MAX_DEPTH} levels"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), f"nested more than {MAX_DEPTH} levels"),
        ("9" * 5_000, f"more than {MAX_DIGITS} digits"),
        ("1e999", "1e999 is too large"),
        ("[NaN]", "NaN is not a number"),
        ("-Infinity", "-Infinity is not a number"),
        ('{"a": "\\ud800"}', "half of a surrogate pair"),
        (" " * MAX_JSON_LENGTH + "1", "longer than 4,000,000 characters"),
        ('["\ud800"]', r"contains \\ud800, half of a surrogate pair"),
        (b"\xff", "can't decode"),
    ],
    ids=lambda value: ascii(value)[:12],
)
def test_parse_json_hostile_text_raises_one_line(text: str | bytes, reason: str) -> None:
    _assert_refused(lambda: parse_json(text), reason)


def test_parse_json_not_strict_accepts_what_python_writes() -> None:
    assert math.isnan(parse_json("[NaN]", strict=False)[0])
    assert parse_json('"\\udc80"', strict=False) == "\udc80"
    assert parse_json("[" * MAX_DEPTH + "]" * MAX_DEPTH)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (_LAUGHS, "more than 50,000 values"),
        (_MERGES, "more than 50,000 values"),
        ("a: &a [*a]", r"the alias \*a contains itself"),
        ("a: &a {<<: *a}", r"the alias \*a contains itself"),
        ("[" * 100_000, f"nested more than {MAX_DEPTH} levels"),
        ("- " * 100_000, f"nested more than {MAX_DEPTH} levels"),
        ("9" * 5_000, f"more than {MAX_DIGITS} digits"),
        ("0x" + "f" * 100_000, f"more than {MAX_DIGITS} digits"),
        ("1:" * 40 + "1", f"more than {MAX_DIGITS} digits"),
        ("2001-99-99", "month must be in 1..12"),
        ("0b_", "invalid literal"),
        ("!!int ''", "does not fit its type"),
        ("!!bool x", "does not fit its type"),
        ("!!timestamp x", "does not fit its type"),
        ("!!python/name:os.system", "could not determine a constructor"),
        ("? [a]\n: b", "unhashable key"),
        ("a: b: c", "mapping values are not allowed here"),
        ("a\0", "unacceptable character"),
        ("a: 1\n---\nb: 2", "expected a single document"),
        ("x" * (MAX_YAML_LENGTH + 1), "longer than 1,000,000 characters"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_parse_yaml_hostile_text_raises_one_line_within_a_second(text: str, reason: str) -> None:
    start = time.process_time()
    _assert_refused(lambda: parse_yaml(text), reason)
    assert time.process_time() - start < 1


def test_parse_yaml_aliases_and_merges_of_usual_size_work() -> None:
    assert parse_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: [*a, *a]") == {
        "a": {"x": 1},
        "b": {"x": 1, "y": 2},
        "c": [{"x": 1}, {"x": 1}],
    }


def test_compose_yaml_gives_positions_and_refuses_bombs() -> None:
    key, value = compose_yaml("lr: 1e-4").value[0]
    assert (key.value, value.start_mark.index, value.end_mark.index) == ("lr", 4, 8)
    assert compose_yaml("") is None
    _assert_refused(lambda: compose_yaml(_LAUGHS), "more than 50,000 values")


def _assert_refused(parse: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        parse()  # type: ignore[operator]
    assert "\n" not in str(caught.value) and len(str(caught.value)) <= 200
