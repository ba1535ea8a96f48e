"""A bounded queue of requests for one recognizer: recordings are decoded in parallel and predicted in batches."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO, TypeVar

from kanjo.errors import KanjoError
from kanjo.inference.limits import PredictionCancelledError, RecordingLimits, TooManyWindowsError
from kanjo.inference.options import ResolvedOptions
from kanjo.inference.prediction import Prediction
from kanjo.inference.recognizer import Recognizer
from kanjo.inference.recording import PreparedRecording
from kanjo.server.metrics import ServiceMetrics

#: A batch gets no further recording when it has this many windows.
_BATCH_WINDOWS = 16
_RETRY_AFTER_S = 1
#: Longest wait for the decoder of a cancelled request; its file is closed afterwards.
_MAX_CANCEL_WAIT_S = 2.0
_CANCEL_POLL_S = 0.02

_T = TypeVar("_T")
_QueueItem = tuple[PreparedRecording, "Future[Prediction]"]


class QueueFullError(Exception):
    """The queue accepts no further request; ``retry_after_s`` is the time to wait before the next try."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"the service is busy: try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class QueueClosedError(Exception):
    """The queue accepts no further work, because the service is stopping."""


class InferenceQueue:
    """Shares one recognizer between all requests and streams.

    Args:
        recognizer: The recognizer.
        metrics: Receives the queue length, the batch sizes and the seconds of audio.
        capacity: Requests that may be processed or wait at the same time.
        decode_threads: Threads that decode uploads, and as many again for streams.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        metrics: ServiceMetrics,
        *,
        capacity: int,
        decode_threads: int,
    ) -> None:
        self.recognizer = recognizer
        self.metrics = metrics
        self.capacity = capacity
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

    async def predict(self, file: BinaryIO, name: str, options: ResolvedOptions, limits: RecordingLimits) -> Prediction:
        """Predict one open recording. If it cannot be decoded, the prediction has an ``error``.

        If the caller is cancelled, this also cancels the decoder and waits for it, so that the file can be closed.

        Raises:
            TooManyWindowsError: The recording has more windows than the limit.
            PredictionCancelledError: ``limits.cancelled`` was set.
            QueueClosedError: The service is stopping.
        """
        decoding = self._submit(self._decode_pool, self._prepare, file, options, name, limits)
        try:
            prepared = await asyncio.wrap_future(decoding)
        except asyncio.CancelledError:
            if limits.cancelled is not None:
                limits.cancelled.set()
            for _ in range(round(_MAX_CANCEL_WAIT_S / _CANCEL_POLL_S)):
                if decoding.done():
                    break
                await asyncio.sleep(_CANCEL_POLL_S)
            raise
        if isinstance(prepared, KanjoError):
            raise prepared
        future: Future[Prediction] = Future()
        self._queue.put((prepared, future))
        prediction = await asyncio.wrap_future(future)
        self.metrics.audio_seconds.inc(prediction.duration_s)
        return prediction

    def _prepare(
        self, file: BinaryIO, options: ResolvedOptions, name: str, limits: RecordingLimits
    ) -> PreparedRecording | KanjoError:
        """Decode one recording, or return the error of one that exceeds a limit or is cancelled.

        The error is a new one: the traceback of the original refers to the recording, which would stay in memory.
        """
        try:
            return self.recognizer._prepare(file, options, name, limits)
        except (PredictionCancelledError, TooManyWindowsError) as error:
            return type(error)(str(error))

    async def run_for_stream(self, function: Callable[[], _T]) -> _T:
        """Run the work of a stream in a thread, so that the event loop stays responsive.

        Raises:
            QueueClosedError: The service is stopping.
        """
        return await asyncio.wrap_future(self._submit(self._stream_pool, function))

    def _submit(self, pool: ThreadPoolExecutor, function: Callable[..., _T], *args: Any) -> Future[_T]:
        try:
            return pool.submit(function, *args)
        except RuntimeError as error:  # the pool was shut down
            raise QueueClosedError("the service is stopping") from error

    def close(self) -> None:
        """Drop the work that has not started, complete the rest, then stop the threads."""
        self._decode_pool.shutdown(cancel_futures=True)
        self._stream_pool.shutdown(cancel_futures=True)
        self._queue.put(None)
        self._batch_thread.join()

    def _run_batches(self) -> None:
        """Take waiting recordings from the queue and predict them in batches, until ``None`` is in the queue."""
        while (item := self._queue.get()) is not None:
            self._predict_batch(self._take_batch(item))
            del item  # no recording stays in memory while the queue is empty

    def _take_batch(self, first: _QueueItem) -> list[_QueueItem]:
        """Return the first recording and those that wait, up to the size of a batch."""
        batch = [first]
        while sum(len(prepared.windows) for prepared, _ in batch) < _BATCH_WINDOWS:
            try:
                next_item = self._queue.get_nowait()
            except queue.Empty:
                break
            if next_item is None:
                self._queue.put(None)
                break
            batch.append(next_item)
        return batch

    def _predict_batch(self, items: list[_QueueItem]) -> None:
        batch = [item for item in items if item[1].set_running_or_notify_cancel()]
        if not batch:
            return
        self.metrics.batch_size.observe(len(batch))
        try:
            predictions = list(self.recognizer._predict_batch([prepared for prepared, _ in batch]))
        except Exception as error:  # An unexpected error fails these requests only; the thread goes on.
            for _, future in batch:
                future.set_exception(error)
            return
        for (_, future), prediction in zip(batch, predictions, strict=True):
            future.set_result(prediction)
