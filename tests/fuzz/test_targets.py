"""The fuzz targets: every seed and some mutations of each give a result or an error of kanjo."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kanjo.audio import formats
from kanjo.errors import KanjoError
from tests.fuzz import run, targets
from tests.fuzz.run import main
from tests.fuzz.seeds import make_seeds, write_seeds

PARSERS = [name for name in targets.TARGETS if name not in ("decode", "predict", "bundle")]
#: What a mutation inserts: bytes that have a meaning in some format.
_TOKENS = [
    b"\0",
    b"\n",
    b'"',
    b",",
    b"[",
    b"{",
    b": ",
    b"&a ",
    b"*a",
    b"9" * 40,
    b"-1",
    b"nan",
    b"\xff",
    b"OggS",
    b"RIFF",
]


@pytest.fixture(scope="module", autouse=True)
def _temporary_files() -> Iterator[None]:
    targets.make_folder()
    yield
    targets.remove_folder()


@pytest.mark.parametrize("target", list(targets.TARGETS))
def test_target_seeds_give_results_or_errors_of_kanjo(target: str) -> None:
    seeds = make_seeds(target)
    if target == "predict":
        seeds = seeds[::20]
    messages = [targets.read_input(target, seed) for seed in seeds]
    assert "" in messages  # at least one seed is valid


@pytest.mark.parametrize("target", PARSERS)
def test_target_mutated_seeds_give_results_or_errors_of_kanjo(target: str) -> None:
    seeds = [seed for seed in make_seeds(target) if len(seed) < 5_000]

    @settings(max_examples=40, deadline=None, database=None)
    @given(
        st.sampled_from(seeds),
        st.lists(st.tuples(st.floats(0, 1), st.integers(0, 8), st.sampled_from(_TOKENS)), min_size=1, max_size=4),
    )
    def check(content: bytes, edits: list[tuple[float, int, bytes]]) -> None:
        for position, n_removed, token in edits:
            start = round(position * len(content))
            content = content[:start] + token + content[start + n_removed :]
        targets.read_input(target, content)

    check()


def test_decode_mutated_recordings_give_samples_or_errors_of_kanjo() -> None:
    rng, seeds = random.Random(0), make_seeds("decode")
    for seed in seeds:
        content = bytearray(seed)
        for _ in range(1 + len(content) // 500):
            if content:
                content[rng.randrange(min(len(content), 400))] = rng.randrange(256)
        targets.read_input(
            "decode", bytes(content[: rng.randrange(len(content) + 1)] if rng.random() < 0.3 else content)
        )


def test_read_input_other_exception_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(content: bytes) -> None:
        raise IndexError(content)

    monkeypatch.setitem(targets.TARGETS, "csv", fail)
    with pytest.raises(IndexError):
        targets.read_input("csv", b"")


def test_read_input_message_of_two_lines_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(content: bytes) -> None:
        raise KanjoError("two\nlines")

    monkeypatch.setitem(targets.TARGETS, "csv", fail)
    with pytest.raises(AssertionError, match="in 2 lines"):
        targets.read_input("csv", b"")


def test_write_seeds_of_decode_have_every_container(tmp_path: Path) -> None:
    assert write_seeds("decode", tmp_path) > 200
    contents = [path.read_bytes() for path in tmp_path.iterdir()]
    assert {b"RIFF", b"fLaC", b"OggS", b"FORM", b"caff", b"RF64", b"v=0\n"} <= {content[:4] for content in contents}
    demuxers = {demuxer for _, demuxer in formats._SIGNATURES} | set(formats._RIFF_FORMS.values())
    demuxers |= formats.FFMPEG_ONLY | {"mp3"}
    assert {formats.sniff_demuxer(content[: formats.HEAD_LENGTH]) for content in contents} == demuxers | {None}


def test_main_one_target_prints_inputs_seconds_findings_and_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("atheris", reason="'make fuzz' installs Atheris")
    findings = tmp_path / "findings"
    assert main(["--targets", "words", "--inputs", "300", "--minutes", "0.3", "--findings", str(findings)]) == 0
    header, row, total = capsys.readouterr().out.splitlines()
    assert header.split() == ["target", "inputs", "seconds", "inputs/s", "findings", "peak", "MB"]
    assert row.split()[0] == "words" and int(row.split()[1].replace(",", "")) >= 300
    assert total.endswith("inputs, 0 findings") and not list(findings.iterdir())


@pytest.mark.parametrize("alone", [0, 71])
def test_fuzz_overflow_of_memory_counts_if_the_input_alone_overflows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: int
) -> None:
    runs: list[list[str]] = []

    def run_worker(target: str, inputs: tuple[Path, ...], findings: Path, *arguments: object) -> tuple[int, str]:
        runs.append([path.name for path in inputs])
        if len(inputs) == 1:
            return alone, ""
        if len(runs) > 2:
            return 0, "stat::number_of_executed_units: 20"
        (findings / "words-oom-1").write_bytes(b"x")
        return 71, "#10 stat::peak_rss_mb: 401"

    monkeypatch.setattr(run, "_run_worker", run_worker)
    result = run.fuzz("words", 60, tmp_path, 0, 0)
    assert runs == [["inputs", "seeds"], ["words-oom-1"], ["inputs", "seeds"]]
    assert result.inputs == 30 and result.peak_mb == 401
    assert result.findings == (2 if alone else 0) == len(list(tmp_path.iterdir()))  # the input and its log


def test_run_help_names_the_options() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.run", "--help"], capture_output=True, text=True, check=True
    )
    assert "--minutes" in result.stdout
