"""The model card."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kanjo.bundle import BUILTIN_FOLDER, CARD_FILE, model_card, read_bundle
from kanjo.bundle.metadata import BundleMetadata


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
        "| all corpora | 54.7 % (95 %: 43.9 to 73.1) |",
        "with enrollment",
        "UAR by speaker: 36.8 % to 90.0 %",
        "| MP3 at 32 kbit/s | 52.1 % |",
        "Quantized: 14 fully connected layers",
        "Optional input: `speaker` (B or 1, 1537)",
        "min(max(1, ood_score / 0.71), 1.69)^3.5",
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
    assert "PyTorch and ONNX Runtime differ by at most 2.0e-06 on 100 recordings." in card
