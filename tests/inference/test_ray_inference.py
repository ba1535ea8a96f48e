"""The same job on a real Ray cluster of two nodes, one of which dies on the way."""

from __future__ import annotations

import csv
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import kanjo
from tests.corpora_fixtures import clip

ray = pytest.importorskip("ray", reason="Ray (extra cluster) is not installed")
pytest.importorskip("fsspec", reason="fsspec (extra cluster) is not installed")


def predict(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kanjo", "predict", "--engine", "ray", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"
)  # Ray's own
def test_every_row_is_there_once_though_a_node_dies(tiny_run: Path, tmp_path: Path) -> None:
    from ray.cluster_utils import Cluster

    folder, out = tmp_path / "in", tmp_path / "out.csv"
    names = [str(clip(folder / f"{n:03d}.wav", n, seconds=2.0, hz=150 + n)) for n in range(200)]
    bad = folder / "bad.wav"
    bad.write_text("no sound")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100 << 20})
    try:
        second = cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
        cluster.wait_for_nodes()
        part = out.with_name("out.csv.part")

        def kill() -> None:
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline and not (part.exists() and part.stat().st_size > 2000):
                time.sleep(0.05)
            cluster.remove_node(second, allow_graceful=False)

        killer = threading.Thread(target=kill)
        killer.start()
        done = predict(f"file://{folder}", "-m", tiny_run, "--address", cluster.address, "-o", out)
        killer.join()
    finally:
        cluster.shutdown()
    assert done.returncode == 1 and done.stderr.strip().endswith("kanjo: 1 of 201 recordings failed"), done.stderr
    with out.open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["part"] == "recording"]
    assert sorted(row["file"] for row in rows) == sorted(f"file://{name}" for name in [*names, str(bad)])
    by_name = {row["file"]: row for row in rows}
    assert by_name[f"file://{bad}"]["error"].startswith("not audio")
    recognizer = kanjo.load(tiny_run)
    for name in names[::40]:
        expected = recognizer.predict(name)
        assert by_name[f"file://{name}"]["emotion"] == expected.label
        assert float(by_name[f"file://{name}"]["confidence"]) == pytest.approx(expected.confidence, abs=1e-4)


def test_what_can_not_be_reached_is_said_at_once(tmp_path: Path) -> None:
    file = clip(tmp_path / "a.wav", seconds=1.0)
    started = time.monotonic()
    done = predict(file, "--address", "127.0.0.1:9")
    assert (done.returncode, done.stderr) == (1, "kanjo: no Ray cluster at 127.0.0.1:9: Connection refused\n")
    done = predict("nope://bucket/a.wav", "-f", "jsonl")
    assert done.returncode == 1 and "can't be listed" in done.stdout
    assert time.monotonic() - started < 30
    assert predict(file, "--engine", "slurm").returncode == 2
