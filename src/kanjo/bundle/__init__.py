"""The bundle: a trained model as a folder that any program can run."""

from kanjo.bundle.storage import (
    BUNDLES,
    CARD,
    DEFAULT,
    FACTS,
    FORMAT_VERSION,
    GRAPH,
    WEIGHTS,
    Bundle,
    Facts,
    card,
    read,
    resolve,
    rewrite_facts,
    write,
)

__all__ = [
    "BUNDLES",
    "CARD",
    "DEFAULT",
    "FACTS",
    "FORMAT_VERSION",
    "GRAPH",
    "WEIGHTS",
    "Bundle",
    "Facts",
    "card",
    "read",
    "resolve",
    "rewrite_facts",
    "write",
]
