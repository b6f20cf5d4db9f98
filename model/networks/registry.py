"""Networks by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import Any

from model.networks.compact import Compact
from model.networks.hub import hub
from model.networks.segmenter import NetworkError, Segmenter, class_rows

__all__ = ["NETWORKS", "NetworkFactory", "build", "register_network"]


NetworkFactory = Callable[..., Segmenter]
"""Called with K and the network's options: builds it with new weights, or pretrained ones."""

NETWORKS: dict[str, NetworkFactory] = {}
"""Factories by name."""


def register_network(name: str, factory: NetworkFactory) -> None:
    """Make `build(name, …)` call `factory`.

    For a name with a part after a colon, as in `hub:folder`, the factory of the part before it
    is called, and gets the part after it as the option `variant`.

    Raises:
        ValueError: The name is taken, or holds a colon.
    """
    if ":" in name or not name:
        raise ValueError(f"a network's name is not empty and holds no colon; got {name!r}")
    if name in NETWORKS:
        raise ValueError(f"a network named {name!r} is registered already")
    NETWORKS[name] = factory


register_network("compact", Compact)
register_network("hub", hub)


def build(
    name: str, num_classes: int, *, class_names: Sequence[str] | None = None, **options: Any
) -> Segmenter:
    """Build the network registered under `name`, or offered by an installed package.

    Other packages offer theirs by an entry point of the group `maskloop.networks` that names a
    `NetworkFactory`. Weights are drawn from torch's generator: seed it for the same network.

    Args:
        name: A registered name, or `name:variant`.
        num_classes: K, at least 1.
        class_names: Names of the classes. A pretrained network's classes of the same name (case
            apart) keep what they learnt.
        options: What the network's `options()` returned, to build the like of it.

    Raises:
        NetworkError: No network has this name, or it cannot be built.
    """
    if num_classes < 1:
        raise NetworkError(f"a network needs at least one class, not {num_classes}")
    kind, colon, variant = name.partition(":")
    if colon:
        options["variant"] = variant
    factory = NETWORKS.get(kind) or _plugin(kind)
    if factory is None:
        known = ", ".join(sorted({*NETWORKS, *_plugins()}))
        raise NetworkError(f"there is no network named {name!r}; the networks are {known}")
    try:
        network = factory(num_classes, **options)
    except TypeError as error:
        raise NetworkError(f"network {name!r} cannot be built: {error}") from error
    network.name = name
    if network.num_classes != num_classes or (network.known and class_names):
        wanted = [""] * num_classes if class_names is None else list(map(_plain, class_names))
        network.change_classes(class_rows(list(map(_plain, network.known)), wanted))
    return network


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").lower().split())


def _plugins() -> dict[str, Any]:
    return {point.name: point for point in entry_points(group="maskloop.networks")}


def _plugin(name: str) -> NetworkFactory | None:
    point = _plugins().get(name)
    if point is None:
        return None
    factory: NetworkFactory = point.load()
    return factory
