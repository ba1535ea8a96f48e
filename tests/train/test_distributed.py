"""Two processes that train together give what one gives."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import BatchSampler, SequentialSampler

from kanjo.train.distributed import SharedBatches
from tests.conftest import TINY_RECIPE


@pytest.mark.parametrize(("n", "batch", "size"), [(10, 4, 2), (9, 4, 2), (8, 4, 2), (13, 5, 3), (11, 5, 3)])
@pytest.mark.parametrize("even", [True, False])
def test_shares_make_up_the_whole(n: int, batch: int, size: int, even: bool) -> None:
    whole = list(BatchSampler(SequentialSampler(range(n)), batch, drop_last=False))
    shares = [
        SharedBatches(BatchSampler(SequentialSampler(range(n)), batch, drop_last=False), rank, size, even)
        for rank in range(size)
    ]
    found = [list(share) for share in shares]
    assert [len(share) for share in shares] == [len(batches) for batches in found]
    if even:
        assert len({len(batches) for batches in found}) == 1
        whole = [items for items in whole if len(items) >= size]
    together = [
        sorted(i for batches in found if k < len(batches) for i in batches[k]) for k in range(max(map(len, found)))
    ]
    assert together == whole


def _run(recipe: Path, corpora: Path, run: Path, processes: int) -> list[dict[str, str]]:
    words = ["-m", "kanjo", "train", str(recipe), "--corpus-root", str(corpora), "-o", str(run), "--threads", "1", "-s"]
    command = [sys.executable, *words]
    if processes > 1:
        # torchrun by its module: the script may not be on the path
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc-per-node={processes}",
            *words,
        ]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    with (run / "metrics.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_two_processes_train_what_one_trains(tiny_corpora: Path, tmp_path: Path) -> None:
    """torchrun on the CPU (gloo): the same batches, norms over all of them, the same losses, scores and weights."""
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(
        TINY_RECIPE.replace("epochs: 25", "epochs: 4").replace("patience: 25", "patience: 25, gradient_clip: 0")
    )
    one = _run(recipe, tiny_corpora, tmp_path / "one", 1)
    two = _run(recipe, tiny_corpora, tmp_path / "two", 2)
    assert len(one) == len(two) == 4
    for mine, theirs in zip(one, two, strict=True):
        for name in ("train_loss", "validation_loss"):
            assert float(mine[name]) == pytest.approx(float(theirs[name]), rel=1e-3)
        assert float(mine["train_uar"]) == pytest.approx(float(theirs["train_uar"]), abs=0.03)
    weights = [load_file(tmp_path / run / "bundle" / "weights.safetensors") for run in ("one", "two")]
    for key, value in weights[0].items():
        torch.testing.assert_close(value.float(), weights[1][key].float(), atol=2e-3, rtol=2e-2, msg=key)
    assert (tmp_path / "two" / "report.html").is_file()
    assert (tmp_path / "two" / "log.txt").read_text().count("epoch 1 of 4") == 1


def test_what_several_processes_can_not_do_is_said(tiny_recipe: Path, tiny_corpora: Path, tmp_path: Path) -> None:
    environment = os.environ | {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    command = [sys.executable, "-m", "kanjo", "train", "--corpus-root", str(tiny_corpora)]
    unnamed = subprocess.run([*command, str(tiny_recipe)], capture_output=True, text=True, env=environment)
    assert unnamed.returncode == 1 and "name its folder with -o" in unnamed.stderr
    staged = [*command, "dcnn-blstm-attention", "-o", str(tmp_path / "r"), "--set", "network.weights=none"]
    refused = subprocess.run(staged, capture_output=True, text=True, env=environment)
    assert refused.returncode == 1 and "two stages, which train in one process" in refused.stderr
