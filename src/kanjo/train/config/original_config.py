"""Recognize the JSON configuration files of DCNN-LSTMWA, and say what replaces them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

#: The keys of its configuration files.
_KEYS = {
    "train": ("randseed", "learning_rate", "batch_size", "epochs", "lr_decay", "save_dir"),
    "data": (
        "name",
        "num_classes",
        "max_sec",
        "time_sec",
        "sample_rate",
        "frame_size",
        "hop_size",
        "training_files",
        "val_files",
        "test_files",
        "spec_aug",
    ),
    "model": ("extractor_path", "model_path", "dropout", "pretrained"),
}
_RECIPE, _PAGE = "dcnn-blstm-reference", "docs/how-to/coming-from-dcnn-lstmwa.md"


def describe_original_config(content: Mapping[str, Any]) -> str:
    """Return a sentence that names the recipe and the page for a configuration file; "" for any other content."""
    train, data = content.get("train"), content.get("data")
    if not isinstance(train, dict) or not isinstance(data, dict) or "training_files" not in data:
        return ""
    lists = PurePosixPath(str(data["training_files"])).parent.as_posix()
    unknown = _unknown_keys(content)
    problem = f"; {', '.join(unknown)}" if unknown else ""
    return (
        f"a configuration of DCNN-LSTMWA, not a recipe{problem}; train its model with: kanjo train {_RECIPE} "
        f"--filelists {lists} ({_PAGE} lists the keys of both)"
    )


def _unknown_keys(content: Mapping[str, Any]) -> list[str]:
    """Return the keys that the configuration files don't have, with the nearest known one."""
    unknown = []
    for section, values in content.items():
        known = _KEYS.get(section)
        if known is None:
            unknown.append(_describe(section, section, tuple(_KEYS)))
        elif isinstance(values, dict):
            unknown += [_describe(f"{section}.{key}", key, known) for key in values if key not in known]
    return unknown


def _describe(name: str, key: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    return f"unknown key {name}" + (f" (did you mean {near[0]}?)" if near else "")
