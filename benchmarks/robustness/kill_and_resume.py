"""Commands that are killed at random moments, then continued; and commands whose disk is full.

Each command runs once without interruption. Then it is killed (SIGKILL) several times, each time at a random moment,
and run again until it finishes. Its result must equal the uninterrupted one, and no temporary files may be left. Half
of the kills reach only the command itself, not the processes that it started. With ``--full-disk`` each command runs on
a file system of 1 MB or less, or with a limit on the size of files where mounting is not permitted: it must end with
exit code 1 and a line that says so, without a traceback and without temporary files.

The extras train, tune and download must be installed, and RAVDESS must be in the folder of the corpora.
Run: python benchmarks/robustness/kill_and_resume.py --corpus-root corpora --kills 6
"""

from __future__ import annotations

import argparse
import csv
import http.server
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

N_ACTORS = 4
ONE_STAGE = """
name: tiny
corpora: [ravdess]
split: {protocol: speaker_kfold, n_folds: 2}
audio: {sample_rate: 16000, window_s: 1.0, hop_s: 1.0}
features: {n_fft: 512, hop_length: 320, n_mels: 40}
model: {type: cnn-lstm-2d, channels: [4, 4, 8, 8], pools: [[2, 2], [2, 2], [4, 2], [2, 2]], lstm_units: 8}
training: {epochs: 3, batch_size: 16, learning_rate: 3.0e-3, precision: fp32}
tune:
  trials: 3
  epochs: 2
  min_epochs: 1
  space: {training.learning_rate: {low: 1.0e-3, high: 1.0e-2, log: true}}
"""
TWO_STAGES = """
name: tiny-two-stages
corpora: [ravdess]
split: {protocol: speaker_kfold, n_folds: 2}
select: {speakers: ['01', '02', '03']}
audio: {window_s: 1.0, hop_s: 1.0}
features:
  {n_fft: 400, hop_length: 160, n_mels: 64, fmin: 20, fmax: 8000, mel_scale: htk, with_deltas: true,
   normalization: image}
model: {type: dcnn-blstm-attention, weights: none, segment: {size: 63}, lstm_units: 8, dense_units: [16, 8]}
stage1: {epochs: 1, batch_size: 16, optimizer: adam}
training: {epochs: 2, batch_size: 16, optimizer: adam, learning_rate: 3.0e-3}
"""
DOWNLOAD = """
import sys
from dataclasses import replace
from pathlib import Path
from kanjo.corpora import CORPORA
from kanjo.corpora.corpus import Archive
from kanjo.corpora.download import download
from kanjo.errors import KanjoError
corpus = replace(CORPORA["ravdess"], archives=(Archive(sys.argv[1]),), list_further_archives=None)
try:
    download(corpus, Path(sys.argv[2]), wait_s=0.05)
except KanjoError as error:
    sys.exit(f"kanjo: {error}")
"""

#: Reads the result of a command: its content by name.
Result = Callable[[Path], dict[str, object]]


@dataclass(frozen=True)
class Scenario:
    """A command that continues when it is run again.

    Attributes:
        arguments: The command; "{out}" stands for its output.
        result: Reads its result.
        disk_mb: Size of the disk that is too small for it.
    """

    arguments: tuple[str, ...]
    result: Result
    disk_mb: int = 1


def read_files(*patterns: str) -> Result:
    """Read the content of files below the output."""

    def read(output: Path) -> dict[str, object]:
        paths = {path for pattern in patterns for path in output.glob(pattern) if path.is_file()}
        return {path.relative_to(output).as_posix(): path.read_bytes() for path in sorted(paths)}

    return read


def read_trials(output: Path) -> dict[str, object]:
    """Read how many trials of a search were completed: a repeated trial may choose other values."""
    with (output / "trials.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    finished = sum(row["state"] in ("done", "pruned") for row in rows)
    return {"finished": finished, "best": (output / "best.yaml").is_file()}


def read_finetuning(output: Path) -> dict[str, object]:
    """Read the scores of ``kanjo finetune``, without its duration, with its predictions and its model."""
    content = json.loads((output / "finetune.json").read_text(encoding="utf-8"))
    del content["minutes"]
    return {"finetune.json": content, **read_files("predictions.csv", "bundle/model.onnx")(output)}


def write_table(path: Path, folders: list[Path]) -> Path:
    """Write a table of some recordings of RAVDESS as own recordings: the calm, happy and angry ones of each speaker."""
    rows = [(clip, emotion, folder.name) for folder in folders for emotion, clip in list_clips(folder)]
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("file", "emotion", "speaker"), *rows])
    return path


def list_clips(folder: Path) -> list[tuple[str, Path]]:
    """Emotion and path of the calm, happy and angry recordings of one actor: file names have its number as third."""
    names = {"02": "calm", "03": "happy", "05": "angry"}
    parts = [(path.stem.split("-")[2], path) for path in sorted(folder.iterdir())]
    return [(names[number], path) for number, path in parts if number in names]


def make_scenarios(work: Path, url: str) -> dict[str, Scenario]:
    """The commands, on RAVDESS of a few actors in ``work/corpora``."""
    corpora, clips = work / "corpora", work / "corpora" / "ravdess" / "Actor_01"
    one, two = work / "one.yaml", work / "two.yaml"
    one.write_text(ONE_STAGE, encoding="utf-8")
    two.write_text(TWO_STAGES, encoding="utf-8")
    kanjo, root = (sys.executable, "-m", "kanjo"), ("--corpus-root", str(corpora))
    table = write_table(work / "own.csv", sorted(clips.parent.iterdir())[:2])
    from_scratch = ("finetune", str(table), "--from-scratch", str(one), "--folds", "2", "-j", "1", "-s")
    scored = read_files("predictions.csv", "fold-*/predictions.csv", "bundle/model.onnx")
    predict = ("predict", str(clips.parent), "-j", "1", "-s")
    evaluate = ("evaluate", "default", str(corpora / "ravdess"), "--include-training-speakers", "-s")
    return {
        "predict": Scenario((*kanjo, *predict, "-o", "{out}/o.csv", "--resume"), read_files("o.csv"), disk_mb=0),
        "resample": Scenario(
            (*kanjo, "tools", "resample", str(clips.parent), "{out}/r", "16000", "-s"), read_files("r/**/*")
        ),
        "normalize": Scenario((*kanjo, "tools", "normalize", str(clips.parent), "{out}/n", "-s"), read_files("n/**/*")),
        "download": Scenario((sys.executable, "-c", DOWNLOAD, url, "{out}/ravdess"), read_files("ravdess/**/*")),
        "evaluate": Scenario((*kanjo, *evaluate, "-o", "{out}/e"), read_files("e/predictions.csv"), disk_mb=0),
        "train": Scenario((*kanjo, "train", str(one), *root, "-s", "-o", "{out}", "--resume"), scored),
        "train, two stages": Scenario((*kanjo, "train", str(two), *root, "-s", "-o", "{out}", "--resume"), scored, 8),
        "crossval": Scenario((*kanjo, "crossval", str(one), *root, "-s", "-o", "{out}", "--resume"), scored),
        "finetune from scratch": Scenario((*kanjo, *from_scratch, "-o", "{out}", "--resume"), read_finetuning, 0),
        "tune": Scenario((*kanjo, "tune", str(one), *root, "-s", "-o", "{out}", "--resume"), read_trials, 0),
    }


def start(scenario: Scenario, output: Path, cache: Path, limit_bytes: int = 0) -> subprocess.Popen[str]:
    """Start a command in a process group of its own."""

    def limit() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    return subprocess.Popen(
        [argument.replace("{out}", str(output)) for argument in scenario.arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "KANJO_CACHE": str(cache), "OMP_NUM_THREADS": "1"},
        start_new_session=True,
        preexec_fn=limit if limit_bytes else None,
    )


def run(scenario: Scenario, output: Path, cache: Path) -> tuple[int, str]:
    """Run a command to its end; return the exit code and the messages."""
    process = start(scenario, output, cache)
    messages = process.communicate(timeout=900)[1]
    return process.returncode, messages


def left_behind(output: Path) -> list[str]:
    """Temporary files, unfinished files and locks."""
    names = [path.name for path in output.rglob("*")]
    return [name for name in names if ".kanjo-" in name or name.endswith((".part", ".lock")) or ".unpacking" in name]


def differences(scenario: Scenario, output: Path, expected: dict[str, object]) -> str:
    """Describe how the result of a command differs from the expected one; "" if it does not."""
    found = scenario.result(output)
    names = [name for name in sorted({*found, *expected}) if found.get(name) != expected.get(name)]
    leftovers = left_behind(output)
    return ", ".join([*(f"{name} differs" for name in names[:3]), *(f"{name} is left" for name in leftovers[:3])])


def kill_repeatedly(
    scenario: Scenario, output: Path, cache: Path, duration_s: float, n_kills: int, rng: random.Random
) -> tuple[int, str]:
    """Kill a command at random moments, then let it finish; return the number of kills and the problem, if any."""
    n_killed = 0
    for n in range(n_kills):
        process = start(scenario, output, cache)
        try:
            process.wait(rng.uniform(0.1, duration_s))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL) if n % 2 else os.killpg(process.pid, signal.SIGKILL)
            n_killed += 1
        process.communicate()
        if process.returncode == 0:
            break
        if process.returncode != -signal.SIGKILL:
            return n_killed, f"exit code {process.returncode} when it was continued"
    code, messages = run(scenario, output, cache)
    return n_killed, f"exit code {code}: {messages.strip()[-300:]}" if code else ""


@contextmanager
def small_disk(megabytes: int, folder: Path) -> Iterator[int]:
    """Mount a small file system at ``folder``; yield 0, or a limit on the size of files if that is not permitted."""
    folder.mkdir(parents=True)
    size = f"size={megabytes}m" if megabytes else "size=64k"
    command = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)]
    mounted = shutil.which("mount") and subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield 0 if mounted else 4096
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def fill_disk(scenario: Scenario, work: Path) -> str:
    """Run a command on a disk that is too small; return the problem, "" if it ends as it should."""
    with small_disk(scenario.disk_mb, work / "small") as limit_bytes:
        process = start(scenario, work / "small", work / "cache", limit_bytes)
        messages = process.communicate(timeout=900)[1]
        errors = [line for line in messages.splitlines() if "free some space" in line or "too large" in line]
        leftovers = [name for name in left_behind(work / "small") if not name.endswith(".part")]
    shutil.rmtree(work / "small", ignore_errors=True)
    if process.returncode != 1 or "Traceback" in messages or not errors:
        return f"exit code {process.returncode}: {messages.strip()[-400:]}"
    return f"{leftovers[0]} is left" if leftovers else ""


@contextmanager
def slow_server(content: bytes) -> Iterator[str]:
    """Serve an archive at 4 MB/s, with ranges; yield its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            first = int(self.headers.get("Range", "bytes=0-")[6:].split("-")[0])
            self.send_response(206 if first else 200)
            self.send_header("ETag", '"1"')
            self.send_header("Content-Length", str(len(content) - first))
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            try:
                for position in range(first, len(content), 1 << 16):
                    self.wfile.write(content[position : position + (1 << 16)])
                    time.sleep(1 / 64)
            except OSError:  # the client was killed
                pass

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/clips.zip"
    server.shutdown()


def make_archive(folders: list[Path]) -> bytes:
    """Make a zip of recordings."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for folder in folders:
            for path in sorted(folder.iterdir()):
                archive.write(path, f"{folder.name}/{path.name}")
    return stream.getvalue()


def test_scenario(name: str, scenario: Scenario, work: Path, arguments: argparse.Namespace) -> bool:
    """Kill or fill the disk of one command, print a line, and return whether it did what it should."""
    started = time.monotonic()
    if arguments.full_disk:
        problem = fill_disk(scenario, work)
        print(f"{name:21} full disk: {problem or 'one line, nothing left'}", flush=True)
        return not problem
    code, messages = run(scenario, work / "expected", work / "cache-expected")
    if code:
        print(f"{name:21} exit code {code} without interruption: {messages.strip()[-300:]}", flush=True)
        return False
    duration_s, expected = time.monotonic() - started, scenario.result(work / "expected")
    if not any(expected.values()):
        print(f"{name:21} no result without interruption", flush=True)
        return False
    rng, n_killed, problems, trial = random.Random(arguments.seed), 0, [], 0
    while n_killed < arguments.kills and trial < 4 * arguments.kills:
        trial += 1
        output, cache = work / f"trial-{trial}", work / f"cache-{trial}"
        n, problem = kill_repeatedly(scenario, output, cache, duration_s, min(3, arguments.kills - n_killed), rng)
        n_killed += n
        if problem := problem or differences(scenario, output, expected):
            problems.append(problem)
        shutil.rmtree(output, ignore_errors=True)
        shutil.rmtree(cache, ignore_errors=True)
    outcome = f"{len(problems)} wrong: {problems[0]}" if problems else "all results as without interruption"
    print(f"{name:21} {n_killed} kills in {trial} runs of {duration_s:.1f} s: {outcome}", flush=True)
    return not problems


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus-root", type=Path, required=True, help="folder of the corpora, with ravdess")
    parser.add_argument("--kills", type=int, default=6, help="kills of each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--full-disk", action="store_true", help="fill the disk instead of killing")
    parser.add_argument("names", nargs="*", help="commands (default: all)")
    arguments = parser.parse_args()
    actors = sorted(arguments.corpus_root.resolve().glob("ravdess/Actor_*"))[:N_ACTORS]
    with tempfile.TemporaryDirectory() as folder, slow_server(make_archive(actors[:2])) as url:
        work = Path(folder)
        (work / "corpora" / "ravdess").mkdir(parents=True)
        for actor in actors:
            (work / "corpora" / "ravdess" / actor.name).symlink_to(actor)
        scenarios = make_scenarios(work, url)
        succeeded = [
            test_scenario(name, scenarios[name], work / name.replace(" ", "-"), arguments)
            for name in arguments.names or scenarios
        ]
    sys.exit(0 if all(succeeded) else 1)


if __name__ == "__main__":
    main()
