"""Prediction on a real Ray cluster of two nodes, one of which dies."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import kanjo
from kanjo.bundle import Bundle
from kanjo.errors import KanjoError
from kanjo.inference import ray_inference
from kanjo.inference.options import InferenceOptions
from kanjo.inference.prediction import Prediction, Segment
from tests.corpora_fixtures import write_clip

pytest.importorskip("ray", reason="Ray (extra cluster) is not installed")
pytest.importorskip("fsspec", reason="fsspec (extra cluster) is not installed")


def _predict(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kanjo", "predict", "--engine", "ray", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def _remove_node_after_first_rows(cluster: object, node: object, rows: Path) -> None:
    """Kill a node of the cluster as soon as the file of unfinished rows has 2 kB."""
    deadline_s = time.monotonic() + 120
    while time.monotonic() < deadline_s and not (rows.exists() and rows.stat().st_size > 2000):
        time.sleep(0.05)
    cluster.remove_node(node, allow_graceful=False)  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.filterwarnings(  # from Ray
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"
)
def test_predict_on_cluster_node_dies_each_recording_has_one_row(random_bundle: Bundle, tmp_path: Path) -> None:
    from ray.cluster_utils import Cluster

    folder, output = tmp_path / "in", tmp_path / "out.csv"
    paths = [str(write_clip(folder / f"{n:03d}.wav", n, seconds=2.0, hz=150 + n)) for n in range(200)]
    bad = folder / "bad.wav"
    bad.write_text("no audio")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100 << 20})
    try:
        node = cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
        cluster.wait_for_nodes()
        unfinished = output.with_name("out.csv.part")
        thread = threading.Thread(target=_remove_node_after_first_rows, args=(cluster, node, unfinished))
        thread.start()
        result = _predict(f"file://{folder}", "-m", random_bundle.folder, "--address", cluster.address, "-o", output)
        thread.join()
    finally:
        cluster.shutdown()
    assert result.returncode == 1 and "1 of 201 recordings failed" in result.stderr, result.stderr
    with output.open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["part"] == "recording"]
    assert sorted(row["file"] for row in rows) == sorted(f"file://{path}" for path in [*paths, str(bad)])
    by_file = {row["file"]: row for row in rows}
    assert by_file[f"file://{bad}"]["error"].startswith("not audio")
    recognizer = kanjo.load(random_bundle.folder)
    for path in paths[::40]:
        expected = recognizer.predict(path)
        assert by_file[f"file://{path}"]["emotion"] == expected.label
        assert float(by_file[f"file://{path}"]["confidence"]) == pytest.approx(expected.confidence, abs=1e-4)


def test_ray_worker_returns_predictions_and_errors(random_bundle: Bundle, tmp_path: Path) -> None:
    """A worker, called in this process without a cluster."""
    path = write_clip(tmp_path / "a.wav", seconds=1.5)
    worker = ray_inference.RayWorker(str(random_bundle.folder), InferenceOptions(hop_s=1.0))
    texts = worker({"path": [f"file://{path}", "file:///missing.wav"]})["prediction"]
    prediction, failed = (ray_inference._parse_prediction(text) for text in texts)
    expected = kanjo.load(random_bundle.folder).predict(path, hop_s=1.0)
    assert prediction.probabilities == pytest.approx(expected.probabilities, abs=1e-5)
    assert len(prediction.windows) == len(expected.windows) == 2
    assert failed.file == "file:///missing.wav" and failed.label == "" and failed.error


def test_ray_worker_with_emotions_chooses_among_them(random_bundle: Bundle, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.wav", seconds=1.5)
    worker = ray_inference.RayWorker(str(random_bundle.folder), InferenceOptions(emotions="angry,sad"))
    (text,) = worker({"path": [f"file://{path}"]})["prediction"]
    assert set(ray_inference._parse_prediction(text).probabilities) == {"anger", "sadness"}


def test_parse_prediction_inverts_as_dict() -> None:
    segment = Segment(0.0, 1.0, "anger", 0.75, {"anger": 0.75, "neutral": 0.25})
    prediction = Prediction(
        file="a.wav",
        label="anger",
        confidence=0.75,
        probabilities=segment.probabilities,
        duration_s=1.0,
        segments=(segment,),
        windows=(segment,),
        warnings=("clipped",),
        ood_score=0.5,
    )
    assert ray_inference._parse_prediction(json.dumps(prediction.as_dict())) == prediction


def test_list_recordings_lists_a_folder(tmp_path: Path) -> None:
    paths = [write_clip(tmp_path / "in" / name) for name in ("a.wav", "b/c.flac")]
    (tmp_path / "in" / "notes.txt").write_text("x")
    assert ray_inference.list_recordings(f"file://{tmp_path}/in") == [f"file://{path}" for path in paths]
    assert ray_inference.list_recordings(str(paths[0])) == [str(paths[0])]


def test_list_recordings_unknown_protocol_raises() -> None:
    with pytest.raises(KanjoError, match="nope://bucket/a.wav: can't list this path"):
        ray_inference.list_recordings("nope://bucket/a.wav")


def test_predict_on_cluster_unreachable_address_raises_immediately() -> None:
    start_s = time.monotonic()
    with pytest.raises(KanjoError, match="no Ray cluster at 127.0.0.1:9: Connection refused"):
        next(ray_inference.predict_on_cluster(["a.wav"], "default", InferenceOptions(), "127.0.0.1:9"))
    assert time.monotonic() - start_s < 30


def test_predict_command_ray_errors_are_reported(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.wav", seconds=1.0)
    result = _predict(path, "--address", "127.0.0.1:9")
    assert (result.returncode, result.stderr) == (1, "kanjo: no Ray cluster at 127.0.0.1:9: Connection refused\n")
    result = _predict("nope://bucket/a.wav", "-f", "jsonl")
    assert result.returncode == 1 and "can't list this path" in result.stdout
    assert _predict(path, "--engine", "slurm").returncode == 2
