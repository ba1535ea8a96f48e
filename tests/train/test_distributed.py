"""Two processes that train together give the result of one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import BatchSampler, SequentialSampler

from kanjo.experiments.run_folder import RunFolder
from kanjo.train.distributed import DistributedBatchSampler, all_gather, all_reduce_sum, loss_scale
from tests.conftest import TINY_RECIPE, read_table
from tests.shell import run_kanjo

TWO_PROCESSES = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}


@pytest.mark.parametrize(
    ("n_items", "batch_size", "n_processes"), [(10, 4, 2), (9, 4, 2), (8, 4, 2), (13, 5, 3), (11, 5, 3)]
)
@pytest.mark.parametrize("even", [True, False])
def test_distributed_batch_sampler_parts_make_up_the_batches(
    n_items: int, batch_size: int, n_processes: int, even: bool
) -> None:
    def sample_batches() -> BatchSampler:
        return BatchSampler(SequentialSampler(range(n_items)), batch_size, drop_last=False)

    batches = list(sample_batches())
    samplers = [DistributedBatchSampler(sample_batches(), rank, n_processes, even) for rank in range(n_processes)]
    parts = [list(sampler) for sampler in samplers]
    assert [len(sampler) for sampler in samplers] == [len(part) for part in parts]
    if even:
        assert len({len(part) for part in parts}) == 1
        batches = [batch for batch in batches if len(batch) >= n_processes]
    joined = [sorted(i for part in parts if k < len(part) for i in part[k]) for k in range(max(map(len, parts)))]
    assert joined == batches


def test_reductions_in_one_process_return_their_input() -> None:
    values = torch.tensor([1.0, 2.0])
    assert torch.equal(all_reduce_sum(values), values)
    assert torch.equal(all_gather([values])[0][0], values)
    assert loss_scale(3, torch.device("cpu")) == 1.0


def _train(recipe: Path, corpora: Path, run: Path, n_processes: int) -> list[dict[str, str]]:
    arguments = ["-m", "kanjo", "train", str(recipe), "--corpus-root", str(corpora), "-o", str(run)]
    command = [sys.executable, *arguments, "--threads", "1", "-s"]
    if n_processes > 1:  # torchrun as a module, because its script may not be on the path
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n_processes}"]
        command = [sys.executable, *torchrun, *command[1:]]
    result = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert result.returncode == 0, result.stderr
    return read_table(RunFolder(run).metrics)


@pytest.mark.slow
def test_train_two_processes_gives_metrics_and_weights_of_one(tiny_corpora: Path, tmp_path: Path) -> None:
    """With torchrun on the CPU (gloo)."""
    recipe = tmp_path / "tiny.yaml"
    text = TINY_RECIPE.replace("epochs: 25", "epochs: 4")
    recipe.write_text(text.replace("precision: fp32", "precision: fp32, gradient_clip_norm: 0"), encoding="utf-8")
    one = _train(recipe, tiny_corpora, tmp_path / "one", 1)
    two = _train(recipe, tiny_corpora, tmp_path / "two", 2)
    assert len(one) == len(two) == 4
    for row, expected in zip(two, one, strict=True):
        for name in ("train_loss", "validation_loss"):
            assert float(row[name]) == pytest.approx(float(expected[name]), rel=1e-3)
        assert float(row["train_uar"]) == pytest.approx(float(expected["train_uar"]), abs=0.03)
    weights, expected_weights = (
        load_file(RunFolder(tmp_path / name).bundle / "weights.safetensors") for name in ("two", "one")
    )
    for key, value in expected_weights.items():
        torch.testing.assert_close(weights[key].float(), value.float(), atol=2e-3, rtol=2e-2, msg=key)
    assert RunFolder(tmp_path / "two").report.is_file()
    log = RunFolder(tmp_path / "two").log.read_text(encoding="utf-8")
    assert log.count("epoch 1 of 4") == 1, "only the first process writes the log"


def test_train_two_processes_without_output_folder_fails(tiny_recipe: Path, tiny_corpora: Path) -> None:
    result = run_kanjo("train", tiny_recipe, "--corpus-root", tiny_corpora, **TWO_PROCESSES)
    assert result.returncode == 1 and "-o" in result.stderr


@pytest.mark.parametrize("recipe", ["dcnn-blstm-attention", "whisper-tiny"])
def test_train_two_processes_model_of_one_process_fails(recipe: str, tiny_corpora: Path, tmp_path: Path) -> None:
    arguments = ["train", recipe, "--corpus-root", tiny_corpora, "-o", tmp_path / "run", "--set", "model.weights=none"]
    result = run_kanjo(*arguments, **TWO_PROCESSES)
    assert result.returncode == 1
    assert f"{recipe}" in result.stderr and "without torchrun" in result.stderr
