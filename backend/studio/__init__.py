"""The Label Studio client: what the loop asks of the server, and what `maskloop init` sets up."""

from backend.studio.client import Studio
from backend.studio.connection import StudioError

__all__ = ["Studio", "StudioError"]
