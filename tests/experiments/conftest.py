"""A reporter that records what experiments report."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import pytest


@dataclass
class RecordingReporter:
    """Records messages, log lines and the descriptions of progress bars."""

    show_training_progress: bool = False
    messages: list[str] = field(default_factory=list)
    log_lines: list[str] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)

    def progress(self, description: str) -> AbstractContextManager[Callable[[int, int], None]]:
        self.tasks.append(description)
        return nullcontext(lambda done, total: None)

    def message(self, line: str) -> None:
        self.messages.append(line)

    def log(self, line: str) -> None:
        self.log_lines.append(line)


@pytest.fixture
def reporter() -> RecordingReporter:
    return RecordingReporter()
