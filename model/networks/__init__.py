"""Segmentation networks by name: `build("compact", num_classes)`."""

from model.networks.compact import Compact
from model.networks.registry import (
    NETWORKS,
    NetworkFactory,
    build,
    register_network,
)
from model.networks.segmenter import NetworkError, Segmenter, class_rows

__all__ = [
    "NETWORKS",
    "Compact",
    "NetworkError",
    "NetworkFactory",
    "Segmenter",
    "build",
    "class_rows",
    "register_network",
]
