"""Trainings in subprocesses that are killed or fail."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from kanjo.experiments.run_folder import RunFolder
from kanjo.experiments.subprocesses import TrainingJob, run_jobs, run_with_retry
from tests.conftest import TINY_RECIPE
from tests.experiments.conftest import RecordingReporter


def _make_job(folder: Path, name: str, recipe: str, *arguments: str) -> TrainingJob:
    recipe_file = folder / f"{name}.yaml"
    recipe_file.write_text(recipe.replace("epochs: 25", "epochs: 2"))
    run = RunFolder(folder / name)
    return TrainingJob(name, run, recipe_file, run.scores, arguments)


def _kill_when_file_exists(path: Path, command: str) -> None:
    deadline = time.monotonic() + 120
    while not path.is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    for process in subprocess.run(["pgrep", "-f", command], capture_output=True, text=True).stdout.split():
        os.kill(int(process), signal.SIGKILL)


@pytest.mark.slow
def test_run_jobs_killed_job_is_started_once_more(
    tiny_corpora: Path, tmp_path: Path, reporter: RecordingReporter
) -> None:
    job = _make_job(tmp_path, "fold", TINY_RECIPE, "--fold", "1", "--set", "training.epochs=40")
    thread = threading.Thread(target=_kill_when_file_exists, args=(job.folder.metrics, f"train {job.recipe}"))
    thread.start()
    run_jobs([job], str(tiny_corpora), 1, reporter)
    thread.join()
    assert reporter.messages == ["kanjo: fold died (exit code -9); starting it once more"]
    assert job.finished


def test_run_jobs_failed_job_is_reported_and_others_continue(
    tiny_corpora: Path, tmp_path: Path, reporter: RecordingReporter
) -> None:
    jobs = [_make_job(tmp_path, name, TINY_RECIPE + f"{name}: 1\n") for name in ("wrong", "nonsense")]
    run_jobs(jobs, str(tiny_corpora), 1, reporter)
    assert len(reporter.messages) == 2
    for name, message in zip(("wrong", "nonsense"), reporter.messages, strict=True):
        assert message.startswith(f"kanjo: {name} failed (exit code 1)") and f"'{name}'" in message
    assert reporter.log_lines[0].startswith("[wrong] ") and not any(job.finished for job in jobs)


def test_run_jobs_finished_job_is_not_run_again(tmp_path: Path, reporter: RecordingReporter) -> None:
    job = _make_job(tmp_path, "done", "not a recipe")
    job.folder.path.mkdir()
    job.result.touch()
    run_jobs([job], None, 1, reporter)
    assert not reporter.messages and not reporter.log_lines


def test_run_with_retry_usage_error_is_not_repeated(reporter: RecordingReporter) -> None:
    exit_code, last_line = run_with_retry(["train", "--nonsense"], "job", 1, reporter)
    assert exit_code == 2 and "nonsense" in last_line and not reporter.messages
