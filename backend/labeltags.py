"""The tags of a labelling configuration, read as the screen reads them."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree

__all__ = ["LabelConfigError", "Tag", "read_tags"]

_LONGEST_CONFIG = 1_000_000


class LabelConfigError(ValueError):
    """A labelling configuration that can't be served; the sentence names the tag and the remedy."""


class Tag:
    """A tag; its name and those of its attributes in any case.

    Attributes:
        tag: Its name in lower case.
    """

    def __init__(self, element: ElementTree.Element) -> None:
        self.element = element
        self.tag = element.tag.lower()
        self._attributes = {key.lower(): value.strip() for key, value in element.attrib.items()}

    def get(self, name: str) -> str:
        """An attribute; empty where it is missing."""
        return self._attributes.get(name.lower(), "")

    def describe(self) -> str:
        """As it is written, for people."""
        return f'<{self.element.tag} name="{self.get("name")}">'

    def labels(self) -> Iterator[Tag]:
        """The ``<Label>`` tags within."""
        for element in self.element.iter():
            if isinstance(element.tag, str) and element.tag.lower() == "label":
                yield Tag(element)


def read_tags(xml: str) -> list[Tag]:
    """All tags of a configuration, in its order.

    Raises:
        LabelConfigError: When it isn't a configuration.
    """
    return [Tag(element) for element in _parse(xml).iter() if isinstance(element.tag, str)]


def _parse(xml: str) -> ElementTree.Element:
    if not xml.strip():
        raise LabelConfigError("The labelling configuration is empty.")
    # Neither belongs in a configuration, and entities can make a small text expand without end.
    if len(xml) > _LONGEST_CONFIG or "<!DOCTYPE" in xml.upper() or "<!ENTITY" in xml.upper():
        raise LabelConfigError(
            f"The labelling configuration is longer than {_LONGEST_CONFIG} characters or declares "
            "a document type; neither is a configuration of Label Studio."
        )
    try:
        return ElementTree.fromstring(xml)
    except (ElementTree.ParseError, ValueError) as error:
        raise LabelConfigError(f"The labelling configuration is no XML: {error}.") from None
