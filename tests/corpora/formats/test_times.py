from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanjo.corpora.formats.times import check_times, parse_seconds
from kanjo.errors import CorpusError


@given(st.floats(0, 1e6).map(lambda value: round(value, 3)))
def test_parse_seconds_number_and_duration_give_the_same_value(value: float) -> None:
    assert parse_seconds(str(value), "end_s") == value
    hours, rest = divmod(value, 3600)
    minutes, seconds = divmod(rest, 60)
    text = f"{hours:.0f}:{minutes:02.0f}:{math.floor(seconds * 1000) / 1000:06.3f}"
    assert parse_seconds(text, "end_s") == pytest.approx(value, abs=2e-3)
    assert parse_seconds(text.replace(".", ","), "end_s") == parse_seconds(text, "end_s")


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_parse_seconds_decimal_comma_is_the_point_or_refused(whole: int, fraction: int) -> None:
    cell = f"{whole},{fraction}"
    expected = float(f"{whole}.{fraction}")
    assert parse_seconds(cell, "start_s", decimal_comma=True) == expected
    if len(str(fraction)) == 3 and 1 <= whole <= 999:
        with pytest.raises(CorpusError, match="write a decimal point"):
            parse_seconds(cell, "start_s")
    else:
        assert parse_seconds(cell, "start_s") == expected


@given(st.text(max_size=10))
def test_parse_seconds_any_cell_is_a_number_missing_or_refused(cell: str) -> None:
    try:
        value = parse_seconds(cell, "start_s")
    except CorpusError as error:
        assert "start_s is" in str(error) and len(str(error).splitlines()) == 1
    else:
        assert value is None or isinstance(value, float)


@pytest.mark.parametrize("cell", ["٣", "1_0", "0x1", "1.234,5", "1,234.5", "1 s", "-1 days +23:59:59", "1:99:00"])
def test_parse_seconds_other_text_is_refused(cell: str) -> None:
    with pytest.raises(CorpusError, match="expected seconds"):
        parse_seconds(cell, "start_s")


@pytest.mark.parametrize(
    ("start_s", "end_s", "problem"),
    [
        (None, None, ""),
        (0.0, 4.54, ""),
        (1.0, 4.549, ""),
        (math.nan, 1.0, "start_s is nan"),
        (0.0, math.inf, "end_s is inf"),
        (-1.0, 2.0, "start_s is -1; expected at least 0"),
        (3.0, 3.0, "start_s is 3 and end_s is 3; expected an end after the start"),
        (0.5, 99.0, "end_s is 99, but the recording ends at 4.54 s"),
        (9.0, None, "start_s is 9, but the recording ends at 4.54 s"),
    ],
)
def test_check_times_describes_the_problem(start_s: float | None, end_s: float | None, problem: str) -> None:
    assert check_times(start_s, end_s, 4.54).startswith(problem)
    assert bool(check_times(start_s, end_s, 4.54)) == bool(problem)
