"""Metadata: reading ``bundle.json`` and checking its values."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanjo.bundle import BUILTIN_FOLDER, METADATA_FILE
from kanjo.bundle.metadata import BundleMetadata, parse_metadata
from kanjo.errors import BundleError

DEFAULT_JSON = (BUILTIN_FOLDER / "default" / METADATA_FILE).read_text(encoding="utf-8")


def _parse(**changes: object) -> BundleMetadata:
    """Parse the metadata of the built-in bundle with some values changed."""
    return parse_metadata(json.dumps(json.loads(DEFAULT_JSON) | changes), "bundle.json")


def test_parse_metadata_then_to_json_returns_the_same_text() -> None:
    assert parse_metadata(DEFAULT_JSON, "bundle.json").to_json() == DEFAULT_JSON


def test_parse_metadata_ignores_unknown_keys() -> None:
    assert _parse(unknown_key=1) == _parse()


def test_parse_metadata_newer_format_asks_for_an_upgrade() -> None:
    with pytest.raises(BundleError, match="bundle format 99, but this version of kanjo reads format 2; upgrade"):
        _parse(format_version=99, unknown_key=True)


def test_parse_metadata_format_1_asks_for_a_new_export() -> None:
    with pytest.raises(
        BundleError, match="bundle format 1, .* reads format 2; train and export the run again"
    ) as caught:
        parse_metadata('{"format_version": 1, "doubt": {}}', "bundle.json")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "not the metadata of a kanjo bundle"),
        ("{}", "not the metadata of a kanjo bundle"),
        ('{"format_version": "2"}', "not the metadata of a kanjo bundle"),
        ('{"format_version": 2}', "the key name is missing"),
    ],
)
def test_parse_metadata_damaged_text_raises_one_line(text: str, message: str) -> None:
    with pytest.raises(BundleError, match=message) as caught:
        parse_metadata(text, "bundle.json")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("labels", "anger", "expected a list"),
        ("labels", ["anger"], "expected at least two different strings"),
        ("labels", ["anger", "anger"], "expected at least two different strings"),
        ("labels", ["anger", 3], "expected at least two different strings"),
        ("sample_rate", 0, "expected a positive number of Hz"),
        ("sample_rate", 16_000.5, "expected an integer"),
        ("window_s", "4", "expected a number"),
        ("temperature", True, "expected a number"),
        ("hop_s", 9.0, "expected 0 < hop_s <= window_s"),
        ("ood_temperature", {"median": 1.0}, "expected numbers for median, max_ratio, exponent"),
        ("corpora", [{"title": "x"}], "expected strings for title, language"),
        ("scores", 3, "expected an object or null"),
    ],
)
def test_parse_metadata_invalid_value_names_key_and_expectation(key: str, value: object, message: str) -> None:
    with pytest.raises(BundleError, match=message) as caught:
        _parse(**{key: value})
    assert f"bundle.json: {key} " in str(caught.value)


@given(
    st.dictionaries(
        st.sampled_from(sorted(json.loads(DEFAULT_JSON))), st.none() | st.integers() | st.text(), min_size=1
    )
)
def test_parse_metadata_any_values_are_read_or_refused_in_one_line(changes: dict[str, object]) -> None:
    try:
        assert isinstance(_parse(**changes), BundleMetadata)
    except BundleError as error:
        assert len(str(error).splitlines()) == 1


def test_window_length_is_in_samples() -> None:
    assert _parse(window_s=1.5, hop_s=0.5, sample_rate=16_000).window_length == 24_000


def test_temperature_at_grows_with_the_ood_score_up_to_max_ratio() -> None:
    metadata = _parse(temperature=0.5, ood_temperature={"median": 2.0, "max_ratio": 3.0, "exponent": 2.0})
    scores = np.array([0.0, 2.0, 4.0, 6.0, 100.0], np.float32)
    np.testing.assert_allclose(metadata.temperature_at(scores), [0.5, 0.5, 2.0, 4.5, 4.5])


def test_temperature_at_without_ood_temperature_is_constant() -> None:
    metadata = _parse(temperature=0.5, ood_temperature={})
    np.testing.assert_allclose(metadata.temperature_at(np.array([0.0, 9.0], np.float32)), 0.5)
