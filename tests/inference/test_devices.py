"""The device that a model runs on: automatic choice, requests that can't be fulfilled, and the message."""

from __future__ import annotations

from pathlib import Path

import pytest

import kanjo
from kanjo.errors import KanjoError
from kanjo.inference import onnx_session
from tests.conftest import run_kanjo

RECORDING = Path(__file__).parents[2] / "examples" / "recordings" / "sadness-1.flac"
HAS_CUDA = "CUDAExecutionProvider" in onnx_session.available_providers()


@pytest.mark.parametrize(
    ("providers", "requested", "expected"),
    [
        (["CPUExecutionProvider"], "auto", "cpu"),
        (["CUDAExecutionProvider", "CPUExecutionProvider"], "auto", "cuda"),
        (["CUDAExecutionProvider", "CPUExecutionProvider"], "cpu", "cpu"),
    ],
)
def test_choose_device_takes_the_gpu_if_onnx_runtime_has_cuda(
    monkeypatch: pytest.MonkeyPatch, providers: list[str], requested: str, expected: str
) -> None:
    monkeypatch.setattr(onnx_session, "available_providers", lambda: providers)
    assert onnx_session.choose_device(requested) == expected


def test_choose_device_unknown_name_is_an_error() -> None:
    with pytest.raises(KanjoError, match="unknown device 'tpu'; expected auto, cpu, cuda"):
        kanjo.load(device="tpu")


@pytest.mark.skipif(HAS_CUDA, reason="this ONNX Runtime has CUDA")
@pytest.mark.parametrize("command", ["predict", "embed"])
def test_predict_on_cuda_without_cuda_is_one_line(command: str, tmp_path: Path) -> None:
    output = ["-o", tmp_path / "vectors.npy"] if command == "embed" else []
    result = run_kanjo(command, RECORDING, "--device", "cuda", *output)
    assert result.returncode == 1 and result.stderr.count("\n") == 1
    assert "the installed ONNX Runtime has no CUDA" in result.stderr and "kanjo[gpu]" in result.stderr


def test_predict_requested_device_is_printed() -> None:
    result = run_kanjo("predict", RECORDING, "--device", "cpu", "--format", "csv")
    assert result.returncode == 0 and "device: cpu" in result.stderr and "device" not in result.stdout


@pytest.mark.skipif(not HAS_CUDA, reason="this ONNX Runtime has no CUDA, or no GPU is there")
def test_predict_on_cuda_equals_the_cpu() -> None:
    expected, actual = (kanjo.load(device=device).predict(RECORDING).probabilities for device in ("cpu", "cuda"))
    assert actual == pytest.approx(expected, abs=0.02)


def test_train_on_cuda_without_a_gpu_is_one_line(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    result = run_kanjo("train", "cnn-lstm-2d", "--device", "cuda", "--corpus-root", tmp_path)
    assert result.returncode == 1 and "PyTorch" not in result.stdout
    assert result.stderr.count("\n") == 1
