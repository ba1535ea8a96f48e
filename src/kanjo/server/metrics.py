"""Prometheus metrics of the service."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_DURATION_BUCKETS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_BATCH_SIZE_BUCKETS = (1, 2, 4, 8, 16)


class ServiceMetrics:
    """The metrics of one service, in a registry of their own, so that several services can run in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("kanjo_requests", "Completed requests.", ["path", "status"], registry=self.registry)
        self.request_duration = Histogram(
            "kanjo_request_duration_seconds",
            "Time from the request to the response.",
            ["path"],
            buckets=_DURATION_BUCKETS_S,
            registry=self.registry,
        )
        self.requests_in_flight = Gauge(
            "kanjo_requests_in_flight", "Requests that are processed or wait in the queue.", registry=self.registry
        )
        self.streams_in_flight = Gauge("kanjo_streams_in_flight", "Open streams.", registry=self.registry)
        self.audio_seconds = Counter("kanjo_audio_seconds", "Seconds of audio processed.", registry=self.registry)
        self.batch_size = Histogram(
            "kanjo_batch_recordings",
            "Number of recordings processed in one batch.",
            buckets=_BATCH_SIZE_BUCKETS,
            registry=self.registry,
        )
