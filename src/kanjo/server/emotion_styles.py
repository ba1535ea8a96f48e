"""The style sheet with the colors of a bundle's emotions for the web page."""

from __future__ import annotations

from collections.abc import Sequence

from kanjo.palette import OUTLINE_COLOR, UNSURE_COLOR, emotion_color, text_color


def create_emotion_styles(labels: Sequence[str]) -> str:
    """Return CSS with a class for each label, by its index (``.emotion-0``), and one for "unsure".

    The index is used because a class of a finetuned model can have any characters.
    """
    lines = [f":root {{ --outline: {OUTLINE_COLOR}; }}"]
    for index, label in enumerate(labels):
        lines.append(_rule(f".emotion-{index}", emotion_color(label)))
    lines.append(_rule(".unsure", UNSURE_COLOR))
    return "\n".join(lines) + "\n"


def _rule(selector: str, color: str) -> str:
    return f"{selector} {{ background-color: {color}; color: {text_color(color)}; }}"
