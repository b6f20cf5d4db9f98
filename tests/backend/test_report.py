"""The report: one page, complete, that says what the figures say."""

from html.parser import HTMLParser

import pytest

from backend.evaluation import evaluate_clip, mean_of_clips
from backend.keyframes import parse_keys
from backend.measurement import document
from backend.queries import parse_budget
from backend.report import write_evaluation_report, write_simulation_report
from backend.settings import load_settings
from backend.simulation import simulate_clip
from backend.simulation_results import mean_of_rounds
from model.benchmark import LabelledClip
from model.synthetic import render_clip


class Page(HTMLParser):
    """What matters of a page: balanced tags, texts, and whatever it would fetch."""

    def __init__(self, text):
        super().__init__()
        self.open, self.cells, self.sources = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_startendtag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.cells.append(data)


@pytest.fixture(scope="module")
def clip():
    drawn = render_clip(12, (96, 72), 0)
    return LabelledClip(drawn, drawn.masks, drawn.class_names, "toys/<one>")


def read(path):
    page = Page(path.read_text(encoding="utf-8"))
    assert page.open == []
    # Nothing is fetched: pictures are in the page, and references stay within it.
    assert all(source.startswith(("data:image/", "#")) for source in page.sources)
    return page


def test_the_report_of_an_evaluation(clip, tmp_path):
    settings = load_settings(method="flow")
    result = evaluate_clip(clip, parse_keys("0,8"), settings, pictures=True)
    data = document("evaluate", {"keys": "0,8"}, settings)
    data["clips"], data["mean"] = [result.record()], mean_of_clips([result])
    path = write_evaluation_report(tmp_path / "new" / "folder", data, [result])
    page = read(path)
    assert path.name == "index.html"
    assert f"{result.unlabelled['miou']:.4f}" in page.cells
    assert f"{result.all['tc']:.4f}" in page.cells
    # Four tiles for each picture.
    assert sum(s.startswith("data:image/jpeg") for s in page.sources) == 4 * len(result.pictures)
    text = path.read_text(encoding="utf-8")
    assert "toys/&lt;one&gt;" in text
    assert "<one>" not in text
    assert "keys 0,8" in text


def test_the_report_of_a_simulation(clip, tmp_path):
    runs = [
        simulate_clip(
            clip,
            load_settings(method="nearest", strategy=strategy, seed=seed),
            parse_budget("2"),
            2,
            pictures=True,
        )
        for strategy in ("hvsa", "random")
        for seed in (0, 1)
    ]
    data = document("simulate", {"rounds": 2, "seed": [0, 1]}, load_settings())
    data["clips"], data["mean"] = [run.record() for run in runs], mean_of_rounds(runs)
    text = write_simulation_report(tmp_path, data, runs).read_text(encoding="utf-8")
    page = read(tmp_path / "index.html")
    for entry in data["mean"]:
        assert f"{entry['rounds'][1]['all']['miou']:.4f}" in page.cells
    asked = ", ".join(map(str, sorted(runs[0].rounds[0].samples)))
    assert f"round 1: frames {asked}" in text
    assert "seed 0 and 1" in text
