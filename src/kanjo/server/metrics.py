"""What a Prometheus server may ask: how many requests, how long they took, how much sound."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Measures:
    """The service's own registry: several services in one process don't mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("kanjo_requests", "Requests answered.", ["path", "status"], registry=self.registry)
        self.latency = Histogram(
            "kanjo_request_seconds", "Time to the answer.", ["path"], buckets=_SECONDS, registry=self.registry
        )
        self.waiting = Gauge("kanjo_requests_inside", "Requests being worked on or waiting.", registry=self.registry)
        self.streams = Gauge("kanjo_streams", "Streams that are open.", registry=self.registry)
        self.seconds = Counter("kanjo_audio_seconds", "Seconds of sound that were heard.", registry=self.registry)
        self.together = Histogram(
            "kanjo_batch_recordings",
            "Recordings that ran in one batch.",
            buckets=(1, 2, 4, 8, 16),
            registry=self.registry,
        )
