"""The model card."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kanjo.bundle import BUILTIN_FOLDER, CARD_FILE, model_card, read_bundle
from kanjo.bundle.metadata import BundleMetadata
from kanjo.bundle.model_card import OWN_LICENSE


@pytest.fixture(scope="module")
def metadata() -> BundleMetadata:
    return read_bundle("default").metadata


def test_model_card_of_the_built_in_bundle_is_up_to_date(metadata: BundleMetadata) -> None:
    assert (BUILTIN_FOLDER / "default" / CARD_FILE).read_text(encoding="utf-8") == model_card(metadata)


def test_model_card_contains_license_corpora_scores_and_limitations(metadata: BundleMetadata) -> None:
    card = model_card(metadata)
    for text in (
        "CC BY-NC-SA 4.0",
        "| RAVDESS, speech | en | 1140 | 19 |",
        "speaker-independent",
        "| UAR | accuracy |",
        "| all corpora | 68.2 % (95 %: 60.3 to 75.3) |",
        "with enrollment",
        "UAR by speaker: 56.3 % to 100.0 %",
        "| MP3 at 32 kbit/s | 66.6 % |",
        "Quantized: 26 fully connected layers",
        "Optional input: `speaker` (B or 1, 4097)",
        "min(max(1, ood_score / 0.77), 1.75)^3.5",
        "Do not use it to judge people",
    ):
        assert text in " ".join(card.split()), text


def test_model_card_of_a_minimal_bundle_omits_what_is_missing() -> None:
    minimal = BundleMetadata("small", "1", ("anger", "neutral"), 16_000, 1.0, 0.5, "0" * 64, "MIT", temperature=1.25)
    card = model_card(minimal)
    assert "Protocol: not recorded\n\nThere are no test scores" in card
    assert "softmax with temperature 1.250." in card
    assert "Optional input" not in card and "ood_score" not in card and "None" not in card


def test_model_card_without_quantization_states_the_export_check(metadata: BundleMetadata) -> None:
    card = model_card(replace(metadata, quantization=""))
    assert "PyTorch and ONNX Runtime differ by at most 1.7e-06 on 100 recordings." in card


def test_model_card_of_own_recordings_claims_nothing_about_acted_speech(metadata: BundleMetadata) -> None:
    own = {"name": "mine", "title": "mine", "language": "", "license": OWN_LICENSE, "citation": ""}
    scores = {**(metadata.scores or {}), "uar_by_sex": {}, "uar_by_speaker": {"mine/a": 0.5, "mine/b": 0.6}}
    corpora = ({**own, "utterances": "160", "speakers": "2"},)
    card = model_card(replace(metadata, corpora=corpora, split={"note": "five folds"}, scores=scores))
    assert "acted speech" not in card and "test speakers are not counted" not in card and "## Sources" not in card
    assert "All clips that the model was trained on" in card and "See the UAR by speaker above, and evaluate" in card
