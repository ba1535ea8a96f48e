"""Many requests, one network: recordings are decoded side by side, and the windows of all that wait run in one batch."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO, TypeVar

from kanjo.inference.prediction import Prediction
from kanjo.inference.recognizer import Heard, Recognizer
from kanjo.inference.recording import Manner
from kanjo.server.metrics import Measures

#: Windows of waiting recordings that run together at most.
_TOGETHER = 16


_T = TypeVar("_T")


class Full(Exception):
    """As many requests wait as may; ``retry_after_s`` says when there should be room."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"busy: try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class Engine:
    """A recogniser that requests share. ``capacity`` requests are worked on or wait; the next is told to come again."""

    def __init__(
        self, recognizer: Recognizer, measures: Measures, *, capacity: int, decoders: int, longest_s: float
    ) -> None:
        self.recognizer, self.measures = recognizer, measures
        self.capacity, self.longest_s = capacity, longest_s
        self.inside = self.streams = 0
        self._decoders = ThreadPoolExecutor(decoders, thread_name_prefix="decode")
        self._live = ThreadPoolExecutor(
            decoders, thread_name_prefix="stream"
        )  # long uploads must not hold up who speaks
        self._waiting: queue.SimpleQueue[tuple[Heard, Future[Prediction]] | None] = queue.SimpleQueue()
        self._runner = threading.Thread(target=self._run, name="network", daemon=True)
        self._runner.start()

    def enter(self) -> None:
        """Take a place, which :meth:`leave` gives back. Raises Full. Called in the event loop only."""
        if self.inside >= self.capacity:
            raise Full(1)
        self.inside += 1
        self.measures.waiting.set(self.inside)

    def leave(self) -> None:
        self.inside -= 1
        self.measures.waiting.set(self.inside)

    async def predict(self, recording: BinaryIO, name: str, manner: Manner) -> Prediction:
        """The answer for an open recording; one that can't be heard gets a Prediction with its ``error``."""
        loop = asyncio.get_running_loop()
        heard = await loop.run_in_executor(
            self._decoders, self.recognizer.hear, recording, manner, name, self.longest_s
        )
        answer: Future[Prediction] = Future()
        self._waiting.put((heard, answer))
        found = await asyncio.wrap_future(answer)
        self.measures.seconds.inc(found.duration_s)
        return found

    async def aside(self, work: Callable[[], _T]) -> _T:
        """Run a stream's work beside the event loop, so that this stays free."""
        return await asyncio.get_running_loop().run_in_executor(self._live, work)

    def close(self) -> None:
        """What was accepted is answered, then the threads end."""
        self._decoders.shutdown()
        self._live.shutdown()
        self._waiting.put(None)
        self._runner.join()

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            group = [first]
            while sum(len(windows) for (_, windows), _ in group) < _TOGETHER:
                try:
                    more = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    self._waiting.put(None)
                    break
                group.append(more)
            self._answer(group)

    def _answer(self, group: list[tuple[Heard, Future[Prediction]]]) -> None:
        self.measures.together.observe(len(group))
        try:
            answers = list(self.recognizer.answers([heard for heard, _ in group]))
        except Exception as error:  # whatever it was: it belongs to these requests, and the next ones are answered
            for _, future in group:
                future.set_exception(error)
            return
        for (_, future), answer in zip(group, answers, strict=True):
            if future.set_running_or_notify_cancel():
                future.set_result(answer)
