"""The progress bar of long work."""

import io

from rich.console import Console

from backend.workbar import WorkBar


def test_shows_what_is_done_on_a_terminal():
    screen = io.StringIO()
    with WorkBar(Console(file=screen, force_terminal=True, width=100)) as bar:
        report = bar.on("toys [1]")
        report("checking", 1, 2)
        report("labelling", 3, 4)
    assert "toys [1]: labelling" in screen.getvalue()
    assert "3/4" in screen.getvalue()


def test_is_silent_elsewhere():
    screen = io.StringIO()
    with WorkBar(Console(file=screen)) as bar:
        bar.on("toys")("checking", 1, 2)
    assert screen.getvalue() == ""
