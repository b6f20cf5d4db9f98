"""The service's state as a page for a browser: what `maskloop status` shows."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from backend.status_view import show_status

__all__ = ["status_page"]

_WIDTH = 132
# Rich fills in the words in braces.
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="refresh" content="5">
<title>Maskloop</title>
<style>
body {{ margin: 2em; font: 14px/1.5 ui-monospace, Menlo, Consolas, monospace; }}
pre {{ font: inherit; white-space: pre-wrap; }}
{stylesheet}
</style>
</head>
<body><pre>{code}</pre></body>
</html>
"""


def status_page(status: dict[str, Any]) -> str:
    """The page, which asks for itself anew every five seconds.

    Args:
        status: What `backend.status.status_of` tells.
    """
    console = Console(
        record=True,
        file=io.StringIO(),
        width=_WIDTH,
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
    )
    show_status(status, console)
    return console.export_html(code_format=_PAGE)
