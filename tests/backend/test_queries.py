"""What the simulated annotator may be asked for."""

import pytest

from backend.queries import parse_budget


@pytest.mark.parametrize(
    ("text", "samples", "number"),
    [
        ("5", 60, 5),
        ("5", 3, 3),
        ("10%", 60, 6),
        ("1%", 60, 1),
        ("2.5%", 200, 5),
        ("100%", 7, 7),
    ],
)
def test_budgets(text, samples, number):
    assert parse_budget(text).of(samples) == number


@pytest.mark.parametrize("text", ["0", "-3", "0%", "101%", "many", "", "%", "nan%", "1.5"])
def test_refuses_budgets(text):
    with pytest.raises(ValueError, match="expected samples a round, such as 5, or a share"):
        parse_budget(text)
