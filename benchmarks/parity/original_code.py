# needs: librosa keras h5py torchaudio torchvision tqdm
"""Compare the code of DCNN-LSTMWA and of the two Keras ports with kanjo's, on real clips.

    python benchmarks/parity/original_code.py --dcnn-lstmwa DIR --keras-2d DIR --keras-1d DIR --corpus-root DIR

The first three folders are checkouts of github.com/tkhrtnk/DCNN-LSTMWA, buaaaaang/20210507-2D-CNN-LSTM and
buaaaaang/20210504-1D-CNN-LSTM. Their functions are imported and run as they are. The fourth is a folder of recordings,
such as RAVDESS; 20 of them are used. The result is a table of the largest differences, in Markdown. It needs kanjo with
the extra train, and the packages of the first line.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import soundfile
import torch
import torch.nn.functional as F
from original_files import compare_files
from originals import Row, load_modules, not_compared, replace_keras_optimizer, replace_old_calls, replaced

from kanjo import audio
from kanjo.train.config.loading import load_recipe
from kanjo.train.features.log_mel import deltas
from kanjo.train.models.emotion_model import EmotionModel, build_emotion_model

N_CLIPS, N_EMOTIONS_DCNN, N_EMOTIONS_KERAS = 20, 4, 5
#: Clips for the networks, which are slower than the features.
N_CLIPS_NETWORK = 4
RATE_DCNN, RATE_2D, RATE_1D = 16_000, 48_000, 16_000
MAX_S, SEGMENT, HOP, SIZE, N_SEGMENTS = 4.0, 64, 32, 227, 11
HOP_SAMPLES, OFFSET, FLOOR_DB, DB_PER_NEPER = 160, 1e-8, -100.0, 10 / math.log(10)
#: Lower levels in the original are the rounding error of its FFT over zeros.
SILENCE_DB = -200.0
Tensor = torch.Tensor

#: The rows of the features, and the causes of their differences.
_FEATURES = {
    "log-mel above -100 dB": "(a) the original adds 1e-8 to the samples",
    "log-mel above -100 dB, first and last two frames": "(b) the original mirrors the signal at its ends",
    "log-mel below -100 dB and in padding": "(a), (b): silence and padding",
    "deltas": "",
    "delta-deltas": "",
    "scaling to 0-1, then ImageNet's mean and deviation": "",
    "segments of 3 x 64 x 64": "",
    "segments resized to 227 x 227": "",
    "all steps: images, scaled to 0-1": "(a), (b)",
    "log-mel above -100 dB, without (a) and (b)": "",
    "all steps without (a) and (b), clips without padding or zeros": "",
    "all steps without (a) and (b), clips with padding or zeros": "there, the original's FFT has a rounding error",
}


def largest(values: list[Any]) -> float:
    """Return the largest absolute value."""
    return max((float(np.abs(np.asarray(value)).max(initial=0.0)) for value in values), default=0.0)


def spread(values: Tensor) -> str:
    """Describe the standard deviation over the clips, which a difference is small or large against."""
    return f"deviation over clips: {float(values.std(0).mean()):.2g}"


def write_clips(root: Path, folder: Path) -> list[Path]:
    """Write 16-bit WAV files at 16 kHz of recordings that are spread evenly over a folder."""
    recordings = sorted(audio.find_recordings(root))
    chosen = recordings[:: max(1, len(recordings) // N_CLIPS)][:N_CLIPS]
    paths = []
    for number, recording in enumerate(chosen):
        paths.append(folder / f"{number:02d}.wav")
        soundfile.write(paths[-1], audio.load(recording, RATE_DCNN), RATE_DCNN, subtype="PCM_16")
    return paths


def window(path: Path, rate: int, seconds: float) -> Tensor:
    """Return the first seconds of a clip with zeros at the end, (1, N)."""
    signal = torch.zeros(1, int(rate * seconds))
    samples = torch.from_numpy(audio.load(path, rate))[: signal.shape[1]]
    signal[0, : len(samples)] = samples
    return signal


# ---------------------------------------------------------------------------------------------- DCNN-LSTMWA


def original_log_mel(mel: ModuleType, path: Path) -> Tensor:
    """Return static, delta and delta-delta of the original, natural logarithm (3, 64, 401)."""
    return mel.get_3dmelspec_from_file(str(path), MAX_S, True, 25e-3, 10e-3, 25e-3, 64)  # type: ignore[no-any-return]


def stack_deltas(static: Tensor) -> Tensor:
    """Return static, delta and delta-delta with kanjo's function: (M, T) -> (3, M, T)."""
    delta = deltas(static[None])
    return torch.cat([static[None], delta, deltas(delta)])


def decibels_like_original(extractor: Any, signal: Tensor) -> Tensor:
    """Return kanjo's log-mel spectrogram (M, T) with mirrored ends, 1e-8 added to the samples, and no lowest level."""
    filtered = torch.cat([signal[:, :1], signal[:, 1:] - extractor.preemphasis * signal[:, :-1]], 1) + OFFSET
    hops = extractor.power.n_fft // 2 // HOP_SAMPLES + 1
    padded = F.pad(filtered[None], (hops * HOP_SAMPLES,) * 2, mode="reflect")[0]
    power = extractor.power(padded)[0, :, hops:-hops]
    return 10 * torch.log10(power.clamp(min=torch.finfo().tiny))


def compare_features(mel: ModuleType, preprocess: ModuleType, paths: list[Path], model: EmotionModel) -> list[Row]:
    """Compare each step of the features alone, on the original's input of this step, then all steps together."""
    import torchvision.transforms as transforms

    extractor: Any = model.feature_extractor
    splitter = model.model.segments
    normalize = transforms.Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    differences: dict[str, list[Tensor]] = {name: [] for name in _FEATURES}

    def note(name: str, a: Tensor, b: Tensor) -> None:
        differences[name].append((a - b).abs())

    for path in paths:
        original, signal = original_log_mel(mel, path), window(path, RATE_DCNN, MAX_S)
        static = original[0] * DB_PER_NEPER
        ours = extractor.unnormalized(signal, torch.tensor([401]))[0]
        inner, ends, floored = slice(2, 399), [0, 1, 399, 400], static.clamp(min=FLOOR_DB)
        ours_floored = ours[0].clamp(min=FLOOR_DB)
        note("log-mel above -100 dB", floored[:, inner], ours_floored[:, inner])
        note("log-mel above -100 dB, first and last two frames", floored[:, ends], ours_floored[:, ends])
        note("log-mel below -100 dB and in padding", static, ours[0])
        note("deltas", original[1] * DB_PER_NEPER, deltas(original[:1] * DB_PER_NEPER)[0])
        note("delta-deltas", original[2] * DB_PER_NEPER, deltas(original[1:2] * DB_PER_NEPER)[0])
        unit_range = preprocess.normalize_image(original)
        scaled = normalize(unit_range)
        note("scaling to 0-1, then ImageNet's mean and deviation", scaled, extractor._normalize(original[None])[0])
        segments = preprocess.segmentation(scaled, SEGMENT, HOP)
        note("segments of 3 x 64 x 64", segments, scaled.unfold(2, SEGMENT, HOP).permute(2, 0, 1, 3))
        images = preprocess.resize_segments(segments, (SIZE, SIZE))
        note("segments resized to 227 x 227", images, splitter(scaled[None])[0])
        note("all steps: images, scaled to 0-1", unit_range, preprocess.normalize_image(ours))
        like_original = decibels_like_original(extractor, signal)
        note("log-mel above -100 dB, without (a) and (b)", floored, like_original.clamp(min=FLOOR_DB))
        zeros = "with" if float(static.min()) < SILENCE_DB else "without"
        name = f"all steps without (a) and (b), clips {zeros} padding or zeros"
        note(name, unit_range, preprocess.normalize_image(stack_deltas(like_original)))
    rows = []
    for name, values in differences.items():
        unit = "dB" if name[:3] in ("log", "del") else "of the value"
        if name.startswith("all steps"):
            unit += f" (mean: {float(torch.stack(values).mean()):.2g})"
        rows.append(Row(name, largest(values), unit, len(values), _FEATURES[name]))
    return rows


def copy_lstm(original: torch.nn.LSTM, head: Any) -> None:
    """Copy the weights of the original's stacked BLSTM into kanjo's LSTMs."""
    for layer, lstm in enumerate([head.lstm, *head.upper_lstms]):
        for name in list(lstm.forwards.state_dict()):
            lstm.forwards.get_parameter(name).data.copy_(original.get_parameter(name.replace("l0", f"l{layer}")))
            reverse = original.get_parameter(name.replace("l0", f"l{layer}_reverse"))
            lstm.backwards.get_parameter(name).data.copy_(reverse)


def compare_network(models: ModuleType, preprocess: ModuleType, paths: list[Path], model: EmotionModel) -> list[Row]:
    """Compare the parts of the network with the same weights, on the original's images of clips."""
    cnn = models.DCNN(N_EMOTIONS_DCNN, pretrained=False)
    with patch("torch.load", lambda path: cnn):
        original = models.LSTMEmoClf(N_EMOTIONS_DCNN, N_SEGMENTS, 0.1, "cnn.pth").eval()
    replaced.append("torch.load: returns the CNN (the original reads a pickled module)")
    for parameter in original.bilstm_stack.parameters():  # with initial weights the output of 11 layers is constant
        parameter.uniform_(-0.3, 0.3)
    ours, attention = model.model, model.model.head.attention
    weights = {f"net.net.{name}": value for name, value in ours.extractor.state_dict().items()}
    original.extractor.load_state_dict({name: weights[name] for name in original.extractor.state_dict()})
    copy_lstm(original.bilstm_stack, ours.head)
    attention.load_state_dict(original.self_attention.state_dict())
    ours.head.dense.load_state_dict(original.linear_relu_stack.state_dict())
    steps, mask = torch.randn(20, N_SEGMENTS, 256), torch.ones(20, N_SEGMENTS, dtype=torch.bool)
    features = torch.randn(20, N_SEGMENTS, 4096)
    counts = torch.full((20,), N_SEGMENTS)
    logits = original.linear_relu_stack(original.self_attention(original.bilstm_stack(features)[0]))
    sums = original.self_attention(steps)
    rows = [
        Row("attention", largest([sums - attention(steps, mask)]), f"of sums ({spread(sums)})", 20),
        Row(
            "BLSTM, attention, dense layers",
            largest([logits - ours.head(features, counts)[0]]),
            f"logits ({spread(logits)})",
            20,
        ),
    ]
    images = torch.stack([preprocess.extract_resized_segments_from_file(str(path), max_sec=MAX_S) for path in paths])
    embedded = ours.extractor.embed(images.flatten(0, 1)).reshape(len(paths), N_SEGMENTS, -1)
    expected = torch.stack([original.extractor(images[:, n])["feature"] for n in range(N_SEGMENTS)], 1)
    all_logits, n = original(images), len(paths)
    difference = largest([all_logits - ours.head(embedded, counts[:n])[0]])
    return [
        *rows,
        Row("AlexNet up to its features", largest([expected - embedded]), f"of features ({spread(expected)})", n),
        Row("AlexNet, BLSTM, attention, dense layers", difference, f"logits ({spread(all_logits)})", n),
    ]


def compare_dcnn(folder: Path, paths: list[Path]) -> list[Row]:
    """All rows about the features and the network of DCNN-LSTMWA."""
    replace_old_calls()
    mel, preprocess, models = load_modules(folder, "mel_processing", "preprocess", "models")
    recipe = load_recipe("dcnn-blstm-reference", ["model.weights=none"])
    model = build_emotion_model(recipe, N_EMOTIONS_DCNN).eval()
    rows = compare_features(mel, preprocess, paths, model)
    return rows + compare_network(models, preprocess, paths[:N_CLIPS_NETWORK], model)


# ---------------------------------------------------------------------------------------------- the Keras ports


def copy_keras_weights(original: Any, model: Any, one_dimensional: bool) -> None:
    """Copy the weights of a Keras model; the gates have the same order, and a bias becomes part of the batch norm."""
    blocks, bias = iter(model.blocks), np.zeros(0)
    for layer in original.layers:
        weights = [np.asarray(weight) for weight in layer.get_weights()]
        kind = type(layer).__name__
        if kind.startswith("Conv"):
            block, (kernel, bias) = next(blocks), weights
            kernel = kernel[None] if one_dimensional else kernel
            block.conv.weight.data.copy_(torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy()))
        elif kind == "BatchNormalization":
            gamma, beta, mean, variance = weights
            block.norm.weight.data.copy_(torch.from_numpy(gamma))
            block.norm.bias.data.copy_(torch.from_numpy(beta))
            block.norm.running_mean.copy_(torch.from_numpy(mean - bias))
            # Keras adds 1e-3 to the variance, PyTorch 1e-5.
            block.norm.running_var.copy_(torch.from_numpy(variance + layer.epsilon - block.norm.eps))
        elif kind == "LSTM":
            kernel, recurrent, gate_bias = weights
            model.lstm.weight_ih_l0.data.copy_(torch.from_numpy(kernel.T.copy()))
            model.lstm.weight_hh_l0.data.copy_(torch.from_numpy(recurrent.T.copy()))
            model.lstm.bias_ih_l0.data.copy_(torch.from_numpy(gate_bias))
            model.lstm.bias_hh_l0.data.zero_()
        elif kind == "Dense":
            model.output.weight.data.copy_(torch.from_numpy(weights[0].T.copy()))
            model.output.bias.data.copy_(torch.from_numpy(weights[1]))


def compare_keras_2d(folder: Path, paths: list[Path]) -> list[Row]:
    """Samples at 48 kHz, log-mel spectrograms, and the network with the published weights."""
    import librosa

    preprocess, model_module = load_modules(folder, "preprocess", "model")
    model = build_emotion_model(load_recipe("cnn-lstm-2d-keras"), N_EMOTIONS_KERAS).eval()
    samples, log_mel, log_mel_old, spectrograms = [], [], [], []
    mirrored = librosa.feature.melspectrogram

    for path in paths:
        loaded, ours = librosa.load(path, sr=RATE_2D)[0], audio.load(path, RATE_2D)
        n = min(len(loaded), len(ours))
        samples += [(loaded[:n] - ours[:n]) * 32768, np.array(float(abs(len(loaded) - len(ours))))]
        signal = preprocess.matchsize(loaded)
        features = model.feature_extractor(torch.from_numpy(signal)[None])[0][0, 0].numpy()
        spectrograms.append(preprocess.log_mel(signal))
        log_mel.append(spectrograms[-1] - features)
        with patch("librosa.feature.melspectrogram", lambda **options: mirrored(**options, pad_mode="reflect")):
            log_mel_old.append(preprocess.log_mel(signal) - features)
    rows = [
        Row("2D: samples, resampled to 48 kHz", largest(samples), "LSB at 16 bits", len(paths)),
        Row("2D: log-mel relative to the maximum", largest(log_mel), "dB", len(paths)),
        Row(
            "2D: the same with librosa before 0.9",
            largest(log_mel_old),
            "dB",
            len(paths),
            "it mirrors the signal at its ends: first and last two frames",
        ),
        Row("2D: the same, other frames", largest([x[:, 2:-2] for x in log_mel_old]), "dB", len(paths)),
    ]
    original = model_module.model()
    original.load_weights(str(folder / "model.h5"))
    batch = np.stack(spectrograms)[..., None]
    copy_keras_weights(original, model.model, one_dimensional=False)
    expected = np.log(np.asarray(original.predict(batch, verbose=0)))
    logits = model.model(torch.from_numpy(batch.transpose(0, 3, 1, 2)), None)[0].log_softmax(1)
    difference = largest([expected - logits.detach().numpy()])
    return [*rows, Row("2D: network with the weights of model.h5", difference, "log probability", len(paths))]


def compare_keras_1d(folder: Path, paths: list[Path]) -> list[Row]:
    """The level, and the network with random weights (model.h5 is of an earlier version)."""
    replace_keras_optimizer()
    preprocess, model_module = load_modules(folder, "preprocess", "model")
    model = build_emotion_model(load_recipe("cnn-lstm-1d-keras"), N_EMOTIONS_KERAS).eval()
    levels, levels_db, batch = [], [], []
    for path in paths:
        samples = audio.load(path, RATE_1D)
        normalized = preprocess.normalize(samples)
        ours = model.feature_extractor(window(path, RATE_1D, 8.0))[0][0, 0, 0].numpy()
        if samples[-1] == 0:
            levels_db.append(20 * np.log10(np.abs(ours).max() / np.abs(normalized).max()))
        else:
            levels.append(normalized - ours[: len(samples)])
        batch.append(ours)
    cause = "kanjo leaves zeros at the end out of the RMS"
    rows = [
        Row("1D: samples with an RMS of 1", largest(levels), "of the RMS", len(levels)),
        Row("1D: level of clips that end in zeros", largest(levels_db), "dB", len(levels_db), cause),
    ]
    original = model_module.model()
    generator = np.random.default_rng(0)
    for layer in original.layers:
        if type(layer).__name__ == "BatchNormalization":  # new ones change nothing
            layer.set_weights([generator.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    copy_keras_weights(original, model.model, one_dimensional=True)
    inputs = np.stack(batch[:N_CLIPS_NETWORK])
    expected = np.log(np.asarray(original.predict(inputs[..., None], verbose=0)))
    logits = model.model(torch.from_numpy(inputs)[:, None, None], None)[0].log_softmax(1)
    difference = largest([expected - logits.detach().numpy()])
    return [
        *rows,
        not_compared("1D: padding", "the port puts half of the zeros before the clip, kanjo all of them after it"),
        Row("1D: network with the same random weights", difference, "log probability", len(inputs)),
    ]


def main() -> None:
    """Print the table, and what was replaced."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name in ("--dcnn-lstmwa", "--keras-2d", "--keras-1d", "--corpus-root"):
        parser.add_argument(name, type=Path, required=True, metavar="DIR")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name, torch.no_grad():
        folder = Path(name)
        paths = write_clips(arguments.corpus_root, folder)
        parts: list[tuple[str, Callable[[], list[Row]]]] = [
            ("DCNN-LSTMWA", lambda: compare_dcnn(arguments.dcnn_lstmwa, paths)),
            ("files of DCNN-LSTMWA", lambda: compare_files(arguments.dcnn_lstmwa, paths, folder)),
            ("Keras 2D", lambda: compare_keras_2d(arguments.keras_2d, paths)),
            ("Keras 1D", lambda: compare_keras_1d(arguments.keras_1d, paths)),
        ]
        for title, compare in parts:
            try:
                rows += compare()
            except ImportError as error:
                rows.append(not_compared(title, error))
    print("| quantity | largest difference | unit | n | cause |\n|---|---|---|---|---|")
    print(*rows, sep="\n")
    print("\nReplaced in memory:", *replaced, sep="\n- ")


if __name__ == "__main__":
    main()
