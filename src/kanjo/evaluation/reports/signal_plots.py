"""Figures of recordings and features: waveform, emotions over time, log-mel spectrograms, segments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kanjo import audio
from kanjo.evaluation.reports.rendering import (
    BLUE,
    GRAY,
    LINE_STYLES,
    MARKERS,
    RenderedFigure,
    count_earlier_uses,
    create_figure,
    render,
)
from kanjo.inference.prediction import Prediction
from kanjo.labels import UNSURE
from kanjo.palette import OUTLINE_COLOR, emotion_color, text_color

Signal = npt.NDArray[np.float32]

_WAVEFORM_POINTS = 4000
_ENVELOPE_POINTS = 1200
#: The envelope is computed in blocks of 1 / this second.
_ENVELOPE_BLOCKS_PER_S = 100
#: Frequencies in Hz that are marked on the axis of a log-mel spectrogram.
_FREQUENCY_TICKS = (125, 250, 500, 1000, 2000, 4000, 8000, 16000)
#: Smallest distance of two of these marks, relative to the height of the axis.
_MIN_TICK_DISTANCE = 0.06
#: Height of the blocks of the segments, relative to the axes.
_BLOCK_HEIGHT = 0.24
#: Width of a character of a segment's label, relative to the axes.
_CHARACTER_WIDTH = 0.0058
_CHANNELS = ("static", "delta", "delta-delta")


def plot_waveform(signal: Signal, rate: int, title: str) -> RenderedFigure:
    """Plot samples (N,) at ``rate`` Hz.

    Long signals are drawn as the minimum and the maximum of short blocks, so that no peak is lost.
    """
    figure, axes = create_figure(10, 2.8)
    block_length = max(1, len(signal) // _WAVEFORM_POINTS)
    blocks = signal[: len(signal) // block_length * block_length].reshape(-1, block_length)
    seconds = np.arange(len(blocks)) * block_length / rate
    axes.fill_between(seconds, blocks.min(1), blocks.max(1), color=BLUE, linewidth=0.6, edgecolor=BLUE)
    axes.set_xlim(0, len(signal) / rate)
    axes.set_ylim(-1.02, 1.02)
    axes.set_xlabel("s")
    axes.set_title(f"{title}, {len(signal) / rate:.2f} s at {rate} Hz", fontsize=9)
    return render(figure)


def plot_log_mels(
    decibels: Sequence[Signal], titles: Sequence[str], hop_s: float, center_hz: Sequence[float]
) -> RenderedFigure:
    """Plot log-mel spectrograms (M, T) side by side. All have the same colors for the same decibels.

    Args:
        decibels: The spectrograms in dB.
        titles: Title of each.
        hop_s: Distance of two frames in seconds.
        center_hz: Center frequencies (M,) of the mel bands.
    """
    figure, axes = create_figure(max(7.0, 3.2 * len(decibels)), 3.0, n_columns=len(decibels))
    axes = np.atleast_1d(axes)
    low, high = min(float(image.min()) for image in decibels), max(float(image.max()) for image in decibels)
    ticks = _frequency_ticks(center_hz)
    for column, image, title in zip(axes, decibels, titles, strict=True):
        n_mels, n_frames = image.shape
        extent = (0, n_frames * hop_s, 0, n_mels)
        drawn = column.imshow(image, origin="lower", aspect="auto", cmap="magma", extent=extent, vmin=low, vmax=high)
        column.set_title(title, fontsize=9)
        column.set_xlabel("s")
        column.set_yticks(list(ticks.values()), [str(hz) if column is axes[0] else "" for hz in ticks])
    axes[0].set_ylabel("Hz")
    figure.colorbar(drawn, ax=list(axes), label="dB", fraction=0.15 / len(decibels), pad=0.02)
    return render(figure)


def _frequency_ticks(center_hz: Sequence[float]) -> dict[int, float]:
    """Choose the frequencies to mark, and their positions on an axis of mel bands; none is too close to the next."""
    positions: dict[int, float] = {}
    for hz in sorted(_FREQUENCY_TICKS, reverse=True):
        position = float(np.interp(hz, center_hz, np.arange(len(center_hz)) + 0.5))
        is_free = not positions or min(positions.values()) - position >= _MIN_TICK_DISTANCE * len(center_hz)
        if center_hz[0] <= hz <= center_hz[-1] and is_free:
            positions[hz] = position
    return positions


def plot_segments(segments: Sequence[Signal], max_segments: int = 12) -> RenderedFigure:
    """Plot segments (C, M, T): one column for each segment, one row for each channel.

    Args:
        segments: The segments.
        max_segments: Plot only so many, from the first one.
    """
    shown = segments[:max_segments]
    channels = _CHANNELS[: shown[0].shape[0]]
    figure, axes = create_figure(1.5 * len(shown) + 0.6, 1.5 * len(channels) + 0.4, len(shown), len(channels))
    grid = np.asarray(axes).reshape(len(channels), len(shown))
    # all segments share the color range of a channel
    minima, maxima = np.stack(shown).min((0, 2, 3)), np.stack(shown).max((0, 2, 3))
    for column, segment in enumerate(shown):
        for row, channel in enumerate(channels):
            cell = grid[row, column]
            cell.imshow(segment[row], origin="lower", aspect="auto", cmap="magma", vmin=minima[row], vmax=maxima[row])
            cell.set_xticks([])
            cell.set_yticks([])
            if column == 0:
                cell.set_ylabel(channel)
        grid[0, column].set_title(str(column + 1), fontsize=9)
    return render(figure)


def plot_timeline(prediction: Prediction, file: Path) -> RenderedFigure:
    """Plot the waveform of a recording with its segments, and the probabilities over time below.

    Args:
        prediction: The prediction for the recording.
        file: The recording.

    Raises:
        AudioError: The recording can't be read.
    """
    figure, (waveform_axes, probability_axes) = create_figure(12, 5, n_rows=2)
    _draw_segments(waveform_axes, prediction, file)
    _draw_probabilities(probability_axes, prediction)
    for axes in (waveform_axes, probability_axes):
        axes.set_xlim(0, max(prediction.duration_s, 0.01))
    return render(figure)


def _draw_probabilities(axes: Any, prediction: Prediction) -> None:
    """Draw the probability of each emotion over time."""
    from matplotlib.patheffects import withStroke

    colors = {name: emotion_color(name) for name in prediction.probabilities}
    n_before = count_earlier_uses(list(colors.values()))
    steps = prediction.time_steps
    edges_s = np.zeros(1) if steps is None else steps.edges_s
    centers = (edges_s[:-1] + edges_s[1:]) / 2
    for n, (name, color) in enumerate(colors.items()):
        axes.plot(
            centers,
            [] if steps is None else 100 * steps.probabilities[:, n],
            color=color,
            linestyle=LINE_STYLES[n_before[n] % len(LINE_STYLES)],
            linewidth=1.8,
            path_effects=[withStroke(linewidth=2.8, foreground=OUTLINE_COLOR)],
            marker=MARKERS[n % len(MARKERS)],
            markersize=4,
            markevery=max(1, len(centers) // 20),
            label=name,
        )
    axes.set_ylabel("probability, %")
    axes.set_xlabel("seconds")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))


def _draw_segments(axes: Any, prediction: Prediction, file: Path) -> None:
    """Draw the waveform, and above it a block for each segment in the color of its emotion."""
    minima, maxima = _envelope(file, _ENVELOPE_POINTS)
    seconds = (np.arange(len(minima)) + 0.5) * prediction.duration_s / len(minima)
    axes.fill_between(seconds, minima, maxima, color=GRAY, linewidth=0)
    limit = max(float(np.abs([minima, maxima]).max()), 1e-6)
    bottom = 1 - _BLOCK_HEIGHT
    for segment in prediction.segments:
        if not segment.probabilities:  # silence
            continue
        color = emotion_color(segment.label)
        axes.axvspan(
            segment.start_s,
            segment.end_s,
            ymin=bottom,
            facecolor=color,
            edgecolor=OUTLINE_COLOR,
            linewidth=0.8,
            hatch="///" if segment.label == UNSURE else None,
        )
        if segment.end_s - segment.start_s < _CHARACTER_WIDTH * len(segment.label) * prediction.duration_s:
            continue  # the label would cover its neighbors
        axes.text(
            (segment.start_s + segment.end_s) / 2,
            (bottom + 1) / 2,
            f"{segment.label}\n{segment.confidence:.0%}",
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="center",
            color=text_color(color),
            fontsize=8,
        )
    axes.set_ylim(-limit, limit + 2 * limit * _BLOCK_HEIGHT / bottom)
    axes.set_yticks([tick for tick in axes.get_yticks() if abs(tick) <= limit])
    axes.set_ylabel("amplitude")


def _envelope(file: Path, max_points: int) -> tuple[Signal, Signal]:
    """Minima and maxima of at most ``max_points`` parts of a recording; memory does not grow with its length."""
    minima, maxima = [], []
    with audio.open_audio(file) as reader:
        block_length = max(1, reader.native_rate // _ENVELOPE_BLOCKS_PER_S)
        pending = np.zeros(0, np.float32)
        for chunk in reader.blocks():
            pending = np.concatenate([pending, chunk])
            blocks = pending[: len(pending) // block_length * block_length].reshape(-1, block_length)
            minima.append(blocks.min(1))
            maxima.append(blocks.max(1))
            pending = pending[blocks.size :]
    if pending.size:
        minima.append(pending.min(keepdims=True))
        maxima.append(pending.max(keepdims=True))
    block_minima, block_maxima = np.concatenate(minima), np.concatenate(maxima)
    n_points = min(max_points, len(block_minima))
    starts = np.linspace(0, len(block_minima), n_points, endpoint=False).astype(int)
    return np.minimum.reduceat(block_minima, starts), np.maximum.reduceat(block_maxima, starts)
