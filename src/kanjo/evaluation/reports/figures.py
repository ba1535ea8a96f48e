"""Pictures of scores, as PNG. Needs matplotlib (extra ``train``)."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kanjo import audio, files
from kanjo.corpora.check import Heard
from kanjo.corpora.manifest import Utterance
from kanjo.errors import KanjoError
from kanjo.evaluation.compare import Run
from kanjo.evaluation.metrics import Scores
from kanjo.inference.prediction import Prediction

#: Okabe & Ito's colours, which the colour-blind tell apart.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#888888"
CYCLE = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "^", "s", "x", "v", "+")
STYLES = ("-", "--", "-.", ":")


class Picture(NamedTuple):
    """A figure in both of its forms."""

    png: bytes
    svg: bytes


def confusion(scores: Scores, what: str = "utterances") -> Picture:
    """The confusion matrix: rows truth, columns answer, each row in per cent with its counts."""
    figure, axes = figure_of(1.2 + 0.85 * len(scores.labels), 0.8 + 0.72 * len(scores.labels))
    counts = np.asarray(scores.confusion)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = list(scores.labels)
    axes.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("answered")
    axes.set_ylabel("truth")
    for i, row in enumerate(shares):
        for j, share in enumerate(row):
            colour = "white" if share > 0.5 else "black"
            axes.text(j, i, f"{100 * share:.0f}%\n{counts[i, j]}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_title(f"UAR {scores.uar}, {scores.n} {what}", fontsize=10)
    return drawn(figure)


def learning_curves(metrics: Path) -> Picture:
    """Loss and UAR of train and validation over the epochs of a ``metrics.csv``."""
    with metrics.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    epochs = [int(float(row["epoch"])) for row in rows]
    figure, (left, right) = figure_of(9, 3.4, columns=2)
    for axes, what, scale in ((left, "loss", 1), (right, "uar", 100)):
        for side, colour, style in (("train", BLUE, "-"), ("validation", ORANGE, "--")):
            axes.plot(epochs, [scale * float(row[f"{side}_{what}"]) for row in rows], style, color=colour, label=side)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.legend()
    left.set_ylabel("loss")
    right.set_ylabel("UAR, %")
    best = int(np.argmax([float(row["validation_uar"]) for row in rows]))
    right.axvline(epochs[best], color=GREY, linewidth=1, linestyle=":")
    return drawn(figure)


def speakers(scores: Scores) -> Picture:
    """UAR of each test speaker, sorted, and of each sex, with the pooled UAR as a line."""
    pairs = sorted(scores.speakers.items(), key=lambda pair: pair[1])
    sexes = list(scores.sexes.items())
    figure, axes = figure_of(max(4.0, 1.2 + 0.34 * (len(pairs) + len(sexes))), 3.2)
    axes.bar(range(len(pairs)), [100 * value for _, value in pairs], color=BLUE)
    axes.bar(
        [len(pairs) + 0.5 + n for n in range(len(sexes))], [100 * value for _, value in sexes], color=GREEN, hatch="//"
    )
    axes.axhline(100 * scores.uar.value, color=ORANGE, linestyle="--", label=f"pooled {100 * scores.uar.value:.1f} %")
    axes.axhline(100 / len(scores.labels), color=GREY, linestyle=":", label=f"chance {100 / len(scores.labels):.1f} %")
    places = [*range(len(pairs)), *(len(pairs) + 0.5 + n for n in range(len(sexes)))]
    axes.set_xticks(
        places, [name for name, _ in (*pairs, *sexes)], rotation=60, ha="right", rotation_mode="anchor", fontsize=8
    )
    axes.set_ylabel("UAR, %")
    axes.legend(fontsize=8)
    return drawn(figure)


def reliability(confidence: npt.NDArray[np.float64], right: npt.NDArray[np.bool_], ece: float) -> Picture:
    """How often an answer of each confidence is right: confidence (U,), right (U,). On the diagonal, confidence can be believed."""
    figure, (axes, below) = figure_of(8, 3.4, columns=2)
    edges = np.linspace(0, 1, 11)
    place = np.minimum((confidence * 10).astype(int), 9)
    counts = np.bincount(place, minlength=10)
    there = counts > 0
    shares = np.bincount(place, right, 10)[there] / counts[there]
    axes.bar(edges[:-1][there] + 0.05, 100 * shares, width=0.09, color=BLUE, label="right answers")
    axes.plot([0, 1], [0, 100], color=ORANGE, linestyle="--", label="what it claims")
    axes.set_xlabel("confidence")
    axes.set_ylabel("right, %")
    axes.set_title(f"ECE {ece:.3f}", fontsize=10)
    axes.legend(fontsize=8)
    below.bar(edges[:-1] + 0.05, counts, width=0.09, color=GREY)
    below.set_xlabel("confidence")
    below.set_ylabel("answers")
    return drawn(figure)


def embedding_map(
    points: npt.NDArray[np.float64], emotions: Sequence[str], speakers: Sequence[str], how: str
) -> Picture:
    """Utterances on a plane, points (U, 2), coloured by emotion and by speaker."""
    figure, both = figure_of(12, 5, columns=2)
    for axes, names, what in zip(both, (emotions, speakers), ("emotion", "speaker"), strict=True):
        kinds = sorted(set(names))
        for n, kind in enumerate(kinds):
            chosen = np.asarray([name == kind for name in names])
            axes.scatter(
                points[chosen, 0],
                points[chosen, 1],
                s=9,
                color=CYCLE[n % len(CYCLE)],
                marker=MARKERS[n // len(CYCLE) % len(MARKERS)],
                label=kind,
            )
        axes.set_title(f"by {what} ({how})", fontsize=10)
        axes.set_xticks([])
        axes.set_yticks([])
        if len(kinds) <= 12:
            axes.legend(fontsize=7, markerscale=2)
    return drawn(figure)


def log_mels(features: Sequence[npt.NDArray[np.float32]], titles: Sequence[str], hop_s: float) -> Picture:
    """Features (M, T) as the network sees them, one picture each; ``hop_s`` seconds from frame to frame."""
    figure, axes = figure_of(max(7.0, 3.2 * len(features)), 3.0, columns=len(features))
    for one, feature, title in zip(np.atleast_1d(axes), features, titles, strict=True):
        one.imshow(
            feature,
            origin="lower",
            aspect="auto",
            cmap="magma",
            extent=(0, feature.shape[1] * hop_s, 0, feature.shape[0]),
        )
        one.set_title(title, fontsize=9)
        one.set_xlabel("s")
    np.atleast_1d(axes)[0].set_ylabel("mel bin")
    return drawn(figure)


def waveform(signal: npt.NDArray[np.float32], rate: int, title: str) -> Picture:
    """Samples (N,) at ``rate`` Hz over time; of a long recording the extremes of each piece, so that no peak is lost."""
    figure, axes = figure_of(10, 2.8)
    step = max(1, len(signal) // 4000)
    pieces = signal[: len(signal) // step * step].reshape(-1, step)
    times = np.arange(len(pieces)) * step / rate
    axes.fill_between(times, pieces.min(1), pieces.max(1), color=BLUE, linewidth=0.6, edgecolor=BLUE)
    axes.set_xlim(0, len(signal) / rate)
    axes.set_ylim(-1.02, 1.02)
    axes.set_xlabel("s")
    axes.set_title(f"{title}, {len(signal) / rate:.2f} s at {rate} Hz", fontsize=9)
    return drawn(figure)


def timeline(prediction: Prediction, file: Path) -> Picture:
    """A recording's waveform, and under it its segments and how probable each emotion is in each window."""
    figure, (above, below) = figure_of(12, 5, rows=2)
    low, high = _envelope(file, 1200)
    seconds = (np.arange(len(low)) + 0.5) * prediction.duration_s / len(low)
    above.fill_between(seconds, low, high, color=GREY, linewidth=0)
    names = list(prediction.probabilities)
    colours = {name: CYCLE[n % len(CYCLE)] for n, name in enumerate(names)}
    limit = max(float(np.abs([low, high]).max()), 1e-6)
    for segment in prediction.segments:
        if segment.probabilities:
            above.axvspan(
                segment.start_s, segment.end_s, color=colours.get(segment.label, GREY), alpha=0.25, linewidth=0
            )
            said = f"{segment.label}\n{segment.confidence:.0%}"
            above.text((segment.start_s + segment.end_s) / 2, 0.98 * limit, said, ha="center", va="top", fontsize=8)
    above.set_ylim(-limit, limit)
    above.set_ylabel("amplitude")
    middles = [(window.start_s + window.end_s) / 2 for window in prediction.windows]
    for n, name in enumerate(names):
        shares = [100 * window.probabilities[name] for window in prediction.windows]
        style = {
            "color": colours[name],
            "linestyle": STYLES[n // len(CYCLE) % len(STYLES)],
            "marker": MARKERS[n % len(MARKERS)],
        }
        below.plot(middles, shares, markersize=4, linewidth=1, label=name, **style)
    below.set_ylabel("probability, %")
    below.set_xlabel("seconds")
    below.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    for axes in (above, below):
        axes.set_xlim(0, max(prediction.duration_s, 0.01))
    return drawn(figure)


def _envelope(file: Path, columns: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Lowest and highest samples of (at most) so many stretches of a recording, read block by block."""
    lows, highs = [], []
    with audio.open_source(file) as source:
        step = max(1, source.native_rate // 100)
        held = np.zeros(0, np.float32)
        for block in source.blocks():
            held = np.concatenate([held, block])
            whole = held[: len(held) // step * step].reshape(-1, step)
            lows.append(whole.min(1))
            highs.append(whole.max(1))
            held = held[whole.size :]
    if held.size:
        lows.append(held.min(keepdims=True))
        highs.append(held.max(keepdims=True))
    low, high = np.concatenate(lows), np.concatenate(highs)
    places = np.linspace(0, len(low), min(columns, len(low)), endpoint=False).astype(int)
    return np.minimum.reduceat(low, places), np.maximum.reduceat(high, places)


def segments(found: Sequence[npt.NDArray[np.float32]], most: int = 12) -> Picture:
    """Segments (C, M, T), a column each, a row for each channel; of many, the first ``most``."""
    shown = found[:most]
    channels = ("static", "delta", "delta-delta")[: shown[0].shape[0]]
    figure, axes = figure_of(1.5 * len(shown) + 0.6, 1.5 * len(channels) + 0.4, columns=len(shown), rows=len(channels))
    grid = np.asarray(axes).reshape(len(channels), len(shown))
    lows, highs = np.stack(shown).min((0, 2, 3)), np.stack(shown).max((0, 2, 3))  # one scale for each channel
    for column, segment in enumerate(shown):
        for row, channel in enumerate(channels):
            grid[row, column].imshow(
                segment[row], origin="lower", aspect="auto", cmap="magma", vmin=lows[row], vmax=highs[row]
            )
            grid[row, column].set_xticks([])
            grid[row, column].set_yticks([])
            if column == 0:
                grid[row, column].set_ylabel(channel)
        grid[0, column].set_title(str(column + 1), fontsize=9)
    return drawn(figure)


def comparison(runs: Sequence[Run]) -> Picture:
    """UAR of several runs with their intervals, and the validation UAR of each over its epochs."""
    figure, (left, right) = figure_of(11, max(2.8, 1.4 + 0.5 * len(runs)), columns=2)
    for place, run in enumerate(runs):
        colour, uar = CYCLE[place % len(CYCLE)], run.scores.uar
        left.barh(place, 100 * uar.value, color=colour)
        if uar.low is not None and uar.high is not None:
            left.errorbar(
                100 * uar.value,
                place,
                xerr=[[100 * (uar.value - uar.low)], [100 * (uar.high - uar.value)]],
                color="black",
                capsize=4,
            )
        left.text(1, place, f"{100 * uar.value:.1f} %", va="center", color="white", fontweight="bold")
        if run.curves:
            style = STYLES[place % len(STYLES)]
            right.plot(
                run.curves["epoch"],
                [100 * value for value in run.curves["validation_uar"]],
                style,
                color=colour,
                label=run.name,
            )
    left.set_yticks(range(len(runs)), [run.name for run in runs], fontsize=8)
    left.invert_yaxis()
    left.set_xlabel("test UAR, % (bars: 95 % over speakers)")
    right.set_xlabel("epoch")
    right.set_ylabel("validation UAR, %")
    right.grid(alpha=0.3)
    if any(run.curves for run in runs):
        right.legend(fontsize=8)
    return drawn(figure)


def corpus(heard: Sequence[Heard], utterances: Sequence[Utterance]) -> Picture:
    """What a corpus is like: how long its recordings are, how loud, and which speaker says how much in which emotion."""
    figure, (lengths, levels, table) = figure_of(13, 4.2, columns=3)
    lengths.hist([item.seconds for item in heard if not item.problem], bins=40, color=BLUE)
    lengths.set_xlabel("length, s")
    lengths.set_ylabel("recordings")
    loud = [item.level_db for item in heard if item.level_db is not None]
    if loud:
        levels.hist(loud, bins=40, color=ORANGE)
    levels.set_xlabel("level (RMS), dBFS")
    speakers = sorted({row.speaker for row in utterances})
    emotions = sorted({row.emotion for row in utterances})
    counts = np.zeros((len(speakers), len(emotions)))
    for row in utterances:
        counts[speakers.index(row.speaker), emotions.index(row.emotion)] += 1
    picture = table.imshow(counts, aspect="auto", cmap="Blues", vmin=0, interpolation="nearest")
    table.set_xticks(range(len(emotions)), emotions, rotation=35, ha="right", rotation_mode="anchor")
    if len(speakers) <= 30:
        table.set_yticks(range(len(speakers)), [name or "(unknown)" for name in speakers], fontsize=7)
    else:
        table.set_ylabel(f"{len(speakers)} speakers")
    figure.colorbar(picture, ax=table, label="utterances")
    return drawn(figure)


def require() -> None:
    """Raise KanjoError where pictures can't be drawn, before hours go into what they would show."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise KanjoError("pictures need matplotlib: pip install 'kanjo[train]'") from error


def figure_of(width: float, height: float, columns: int = 1, rows: int = 1) -> Any:
    """A figure of so many inches and its axes. Raises KanjoError where matplotlib is not there."""
    require()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns)


def drawn(figure: Any) -> Picture:
    """The figure as PNG and SVG."""
    found = []
    for kind in ("png", "svg"):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, dpi=110)
        found.append(buffer.getvalue())
    return Picture(*found)


def save(picture: Picture, place: Path) -> None:
    """Write it as PNG or SVG, whichever the name ends in. Raises KanjoError."""
    kinds = {".png": picture.png, ".svg": picture.svg}
    if place.suffix.lower() not in kinds:
        raise KanjoError(f"{place}: expected a name that ends in .png or .svg")
    with files.written_whole(place) as temporary:
        temporary.write_bytes(kinds[place.suffix.lower()])


def write(folder: Path, pictures: Mapping[str, Picture]) -> None:
    """``NAME.png`` and ``NAME.svg`` of each. Raises KanjoError."""
    for name, picture in pictures.items():
        for suffix, content in (("png", picture.png), ("svg", picture.svg)):
            with files.written_whole(folder / f"{name}.{suffix}") as temporary:
                temporary.write_bytes(content)
