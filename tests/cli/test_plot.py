"""kanjo plot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kanjo.train.config.loading import load_recipe
from kanjo.train.features.spectrogram_images import log_mel_images, segment_images
from tests.corpora_fixtures import make_tone, write_clip
from tests.shell import run_kanjo


def test_plot_draws_images_of_the_documented_size(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.wav", seconds=3.0)
    mel = run_kanjo("plot", "mel", clip, "-o", tmp_path / "mel.png")
    assert mel.returncode == 0 and mel.stderr == "128 mels x 251 frames\n"
    assert mel.stdout == f"{tmp_path / 'mel.png'}\n"
    assert run_kanjo("plot", "mel", clip, "-o", tmp_path / "mel.svg").returncode == 0
    svg = (tmp_path / "mel.svg").read_text()
    assert all(f"<!-- {text} -->" in svg for text in ("Hz", "dB", "s", "1000", "4000"))
    segments = run_kanjo("plot", "segments", clip, "-o", tmp_path / "s.svg")
    assert segments.returncode == 0 and segments.stderr == "8 segments of 3 x 64 x 64\n"
    assert "<svg" in (tmp_path / "s.svg").read_text()
    assert run_kanjo("plot", "wave", clip, "-o", tmp_path / "w.png").returncode == 0
    for name in ("mel", "w"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_log_mel_image_of_a_tone_peaks_in_its_row() -> None:
    recipe = load_recipe("cnn-lstm-2d", ["features.normalization=none"])
    feature_extractor = recipe.features.build(recipe.audio.sample_rate)
    signals = [make_tone(2.0, 300), make_tone(2.0, 3000)]
    low, high = log_mel_images(feature_extractor, signals, recipe.audio.window)  # type: ignore[arg-type]
    assert low.shape == (128, 251)
    assert low[:, 20].argmax() < 20 < 60 < high[:, 20].argmax()
    assert np.allclose(low[:, 100:], low.min())  # padding after two seconds


def test_segment_images_have_the_size_of_the_segments() -> None:
    recipe = load_recipe("dcnn-blstm-attention")
    feature_extractor = recipe.features.build(recipe.audio.sample_rate)
    images = segment_images(feature_extractor, make_tone(2.0, 300), 64, 32)  # type: ignore[arg-type]
    assert {image.shape for image in images} == {(3, 64, 64)} and len(images) >= 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mel", "a.gif"), ".png or .svg"),
        (("mel", "a.png", "--recipe", "cnn-lstm-1d"), "receives raw samples, no log-mel spectrogram"),
        (("segments", "a.png", "--recipe", "cnn-lstm-2d"), "does not use segments"),
    ],
)
def test_plot_that_is_not_possible_is_one_line(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    kind, output, *options = arguments
    clip = write_clip(tmp_path / "a.wav")
    result = run_kanjo("plot", kind, clip, "-o", tmp_path / output, *options)
    assert result.returncode == 1 and message in result.stderr and len(result.stderr.splitlines()) == 1


def _run_without_matplotlib(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    code = "import sys; sys.modules['matplotlib'] = None\nfrom kanjo.cli import main\nmain()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "missing.wav", "--plot", "a.png"),
        ("plot", "wave", "missing.wav"),
        ("plot", "mel", "missing.wav"),
        ("plot", "segments", "missing.wav"),
        ("corpus", "check", "ravdess", "missing", "--plot", "a.png"),
    ],
)
def test_plot_without_matplotlib_says_so_before_any_work(arguments: tuple[str, ...], tmp_path: Path) -> None:
    result = _run_without_matplotlib(*arguments, cwd=tmp_path)
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr == "kanjo: figures need matplotlib: pip install 'kanjo[plot]'\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "missing.wav", "--plot", "a.gif"),
        ("plot", "wave", "missing.wav", "-o", "a.gif"),
        ("plot", "mel", "missing.wav", "-o", "a"),
        ("corpus", "check", "ravdess", "missing", "--plot", "a.jpg"),
    ],
)
def test_plot_with_another_suffix_says_so_before_any_work(arguments: tuple[str, ...], tmp_path: Path) -> None:
    result = run_kanjo(*arguments, cwd=tmp_path)
    assert result.returncode == 1 and result.stdout == "" and not list(tmp_path.iterdir())
    assert "expected a file name that ends in .png or .svg" in result.stderr and len(result.stderr.splitlines()) == 1


def test_predict_plot_needs_only_the_extra_plot(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.wav", seconds=1.0)
    code = (
        "import sys\nfor name in ('sklearn', 'jinja2', 'torch', 'yaml', 'scipy'): sys.modules[name] = None\n"
        "from kanjo.cli import main\nmain()"
    )
    command = [sys.executable, "-c", code, "predict", str(clip), "--plot", str(tmp_path / "a.png")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
