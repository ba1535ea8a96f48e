"""kanjo embed, kanjo listen, and the bundle's graph in JavaScript."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

import kanjo
from tests.clips import RECORDINGS, TWO_TURNS
from tests.shell import run_kanjo

ROOT = Path(__file__).parents[2]


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for path in (RECORDINGS / "sadness-1.flac", TWO_TURNS):
        shutil.copy(path, folder)
    (folder / "bad 声.wav").write_text("no sound")
    return folder


def test_embed_writes_parquet(clips: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow (extra parquet) is not installed")
    result = run_kanjo("embed", clips, "-o", tmp_path / "v.parquet")
    assert result.returncode == 1 and result.stderr == "kanjo: 1 of 3 recordings failed\n"
    table = parquet.read_table(tmp_path / "v.parquet")
    rows = table.to_pylist()
    assert [Path(row["file"]).name for row in rows] == ["bad 声.wav", "sadness-1.flac", "two-turns.flac"]
    assert rows[0]["error"].startswith("not audio") and rows[0]["embedding"] is None
    expected = kanjo.load().predict(clips / "two-turns.flac")
    np.testing.assert_allclose(rows[2]["embedding"], expected.embedding, atol=1e-5)
    np.testing.assert_allclose(rows[2]["probabilities"], list(expected.probabilities.values()), atol=1e-5)
    assert table.schema.metadata[b"labels"].decode().split() == list(kanjo.load().labels)


def test_embed_writes_npy(clips: Path, tmp_path: Path) -> None:
    assert run_kanjo("embed", clips, "-o", tmp_path / "v.npy").returncode == 1
    vectors = np.load(tmp_path / "v.npy", allow_pickle=False)
    with (tmp_path / "v.csv").open(newline="", encoding="utf-8") as stream:
        names = list(csv.DictReader(stream))
    assert vectors.dtype == np.float32 and len(vectors) == len(names) == 3
    assert np.isnan(vectors[0]).all() and names[0]["error"]
    expected = kanjo.load().predict(clips / "sadness-1.flac")
    assert expected.embedding is not None
    np.testing.assert_allclose(vectors[1], [*expected.probabilities.values(), *expected.embedding], atol=1e-5)


def test_embed_with_emotions_writes_their_probabilities(clips: Path, tmp_path: Path) -> None:
    clip = clips / "sadness-1.flac"
    assert run_kanjo("embed", clip, "-o", tmp_path / "v.npy", "--emotions", "anger,sad").returncode == 0
    expected = kanjo.load().predict(clip, emotions=("anger", "sadness"))
    assert expected.embedding is not None
    (vector,) = np.load(tmp_path / "v.npy", allow_pickle=False)
    np.testing.assert_allclose(vector, [*expected.probabilities.values(), *expected.embedding], atol=1e-5)


def test_embed_into_an_unknown_format_is_a_usage_error(clips: Path, tmp_path: Path) -> None:
    result = run_kanjo("embed", clips, "-o", tmp_path / "v.pickle")
    assert result.returncode == 2 and "ends in .parquet, .npy or .csv" in result.stderr.replace("\n", " ")
    assert run_kanjo("embed", clips).returncode == 2
    assert run_kanjo("embed", tmp_path / "none.wav", "-o", tmp_path / "v.npy").returncode == 1


def test_listen_to_a_file_equals_predict() -> None:
    result = run_kanjo("listen", "--from", TWO_TURNS, "--format", "jsonl")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    expected = kanjo.load().predict(TWO_TURNS)
    assert result.returncode == 0
    final = [line["start_s"] for line in lines[:-1] if line.get("is_final", True)]
    assert final == [round(window.start_s, 3) for window in expected.windows[: len(final)]] and final
    assert sum(line.get("is_final") is False for line in lines[:-1]) >= 3
    assert lines[-1]["label"] == expected.label
    assert lines[-1]["probabilities"] == pytest.approx(expected.as_dict()["probabilities"], abs=1e-5)
    short = run_kanjo("listen", "--from", TWO_TURNS, "--seconds", "5", "--hop", "0.5", "--min-confidence", "0.95")
    assert short.returncode == 0 and "unsure" in short.stdout and re.search(r"5\.[01]", short.stdout)


def test_listen_with_emotions_chooses_among_them() -> None:
    result = run_kanjo("listen", "--from", TWO_TURNS, "--format", "jsonl", "--emotions", "anger,neutral")
    for line in result.stdout.splitlines():
        assert set(json.loads(line)["probabilities"]) == {"anger", "neutral"}
    assert run_kanjo("listen", "--from", TWO_TURNS, "--emotions", "anger").returncode == 1


def test_listen_without_a_microphone_is_one_line() -> None:
    result = run_kanjo("listen", "--device", "no such microphone")
    assert result.returncode == 1
    assert result.stderr.startswith(("kanjo: the microphone needs", "kanjo: no microphone can be opened"))
    assert len(result.stderr.splitlines()) == 1
    assert run_kanjo("listen", "--format", "srt").returncode == 2
    missing = run_kanjo("listen", "--from", "nowhere.wav")
    assert (missing.returncode, missing.stderr) == (1, "kanjo: nowhere.wav: no such file\n")


def test_javascript_predicts_the_same_probabilities(tmp_path: Path) -> None:
    """The same graph in onnxruntime-web under Node, within the rounding of its int8 layers."""
    node, here = shutil.which("node"), ROOT / "examples" / "javascript"
    if not node or not (here / "node_modules" / "onnxruntime-web").is_dir():
        pytest.skip("Node with onnxruntime-web is not installed (npm install --prefix examples/javascript)")
    recognizer = kanjo.load()
    rate = recognizer.metadata.sample_rate
    samples = np.rint(32767 * kanjo.audio.load(RECORDINGS / "sadness-1.flac", rate)).astype(np.int16)
    soundfile.write(tmp_path / "clip.wav", samples, rate, subtype="PCM_16")
    result = subprocess.run(
        [node, here / "predict.mjs", recognizer.bundle.folder, tmp_path / "clip.wav"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    probabilities = recognizer.probabilities(samples[None, : recognizer.metadata.window_length])[0]
    assert list(json.loads(result.stdout).values()) == pytest.approx(probabilities.tolist(), abs=5e-3)
