from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kanjo.errors import RecipeError
from kanjo.train.config.loading import load_recipe

_CONFIG: dict[str, Any] = {
    "train": {"randseed": 1234, "learning_rate": 5e-6, "batch_size": 16, "epochs": 30, "lr_decay": 0.859},
    "data": {"name": "esd", "max_sec": 3, "training_files": "filelists/esd/female/train.txt", "test_files": 0},
    "model": {"dropout": 0.5, "pretrained": 1},
}


def _error(tmp_path: Path, content: dict[str, Any]) -> str:
    (tmp_path / "esd.json").write_text(json.dumps(content))
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(tmp_path / "esd.json"))
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_load_recipe_config_of_dcnn_lstmwa_names_recipe_and_page(tmp_path: Path) -> None:
    message = _error(tmp_path, _CONFIG)
    assert "kanjo train dcnn-blstm-reference --filelists filelists/esd/female" in message
    assert "docs/how-to/coming-from-dcnn-lstmwa.md" in message and "unknown key" not in message


def test_load_recipe_config_of_dcnn_lstmwa_with_unknown_keys_names_them(tmp_path: Path) -> None:
    message = _error(tmp_path, {**_CONFIG, "train": {"epoch": 3}, "extra": 1})
    assert "unknown key train.epoch (did you mean epochs?), unknown key extra" in message


def test_load_recipe_json_with_unknown_keys_names_them(tmp_path: Path) -> None:
    assert "epoch" in _error(tmp_path, {"base": "cnn-lstm-1d", "training": {"epoch": 3}})
