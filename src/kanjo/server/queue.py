"""A bounded queue of requests for one recognizer: recordings are decoded in parallel and predicted in batches."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO, TypeVar

from kanjo.inference.options import ResolvedOptions
from kanjo.inference.prediction import Prediction
from kanjo.inference.recognizer import Recognizer
from kanjo.inference.recording import PreparedRecording
from kanjo.server.metrics import ServiceMetrics

#: A batch gets no further recording when it has this many windows.
_BATCH_WINDOWS = 16
_RETRY_AFTER_S = 1

_T = TypeVar("_T")
_QueueItem = tuple[PreparedRecording, "Future[Prediction]"]


class QueueFullError(Exception):
    """The queue accepts no further request; ``retry_after_s`` is the time to wait before the next try."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"the service is busy: try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class InferenceQueue:
    """Shares one recognizer between all requests and streams.

    Args:
        recognizer: The recognizer.
        metrics: Receives the queue length, the batch sizes and the seconds of audio.
        capacity: Requests that may be processed or wait at the same time.
        decode_threads: Threads that decode uploads, and as many again for streams.
        max_duration_s: Longest recording.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        metrics: ServiceMetrics,
        *,
        capacity: int,
        decode_threads: int,
        max_duration_s: float,
    ) -> None:
        self.recognizer = recognizer
        self.metrics = metrics
        self.capacity = capacity
        self.max_duration_s = max_duration_s
        self.n_requests = 0
        self.n_streams = 0
        self._decode_pool = ThreadPoolExecutor(decode_threads, thread_name_prefix="decode")
        # Streams have threads of their own, so that long uploads do not delay them.
        self._stream_pool = ThreadPoolExecutor(decode_threads, thread_name_prefix="stream")
        self._queue: queue.SimpleQueue[_QueueItem | None] = queue.SimpleQueue()
        self._batch_thread = threading.Thread(target=self._run_batches, name="inference", daemon=True)
        self._batch_thread.start()

    def acquire(self) -> None:
        """Reserve a place for one request; :meth:`release` returns it. Call it from the event loop only.

        Raises:
            QueueFullError: ``capacity`` requests are being processed or wait.
        """
        if self.n_requests >= self.capacity:
            raise QueueFullError(_RETRY_AFTER_S)
        self.n_requests += 1
        self.metrics.requests_in_flight.set(self.n_requests)

    def release(self) -> None:
        """Return the place of a request."""
        self.n_requests -= 1
        self.metrics.requests_in_flight.set(self.n_requests)

    async def predict(self, file: BinaryIO, name: str, options: ResolvedOptions) -> Prediction:
        """Predict one open recording. If it cannot be decoded, the prediction has an ``error``."""
        prepared = await asyncio.get_running_loop().run_in_executor(
            self._decode_pool, self.recognizer._prepare, file, options, name, self.max_duration_s
        )
        future: Future[Prediction] = Future()
        self._queue.put((prepared, future))
        prediction = await asyncio.wrap_future(future)
        self.metrics.audio_seconds.inc(prediction.duration_s)
        return prediction

    async def run_for_stream(self, function: Callable[[], _T]) -> _T:
        """Run the work of a stream in a thread, so that the event loop stays responsive."""
        return await asyncio.get_running_loop().run_in_executor(self._stream_pool, function)

    def close(self) -> None:
        """Complete the accepted requests, then stop the threads."""
        self._decode_pool.shutdown()
        self._stream_pool.shutdown()
        self._queue.put(None)
        self._batch_thread.join()

    def _run_batches(self) -> None:
        """Take waiting recordings from the queue and predict them in batches, until ``None`` is in the queue."""
        while (item := self._queue.get()) is not None:
            batch = [item]
            while sum(len(prepared.windows) for prepared, _ in batch) < _BATCH_WINDOWS:
                try:
                    next_item = self._queue.get_nowait()
                except queue.Empty:
                    break
                if next_item is None:
                    self._queue.put(None)
                    break
                batch.append(next_item)
            self._predict_batch(batch)

    def _predict_batch(self, batch: list[_QueueItem]) -> None:
        self.metrics.batch_size.observe(len(batch))
        try:
            predictions = list(self.recognizer._predict_batch([prepared for prepared, _ in batch]))
        except Exception as error:  # An unexpected error fails these requests only; the thread goes on.
            for _, future in batch:
                future.set_exception(error)
            return
        for (_, future), prediction in zip(batch, predictions, strict=True):
            if future.set_running_or_notify_cancel():
                future.set_result(prediction)
