"""Few digits in the place of all, and processes and time that tests can steer."""

import pytest
from stand_ins import FakeTime

from mnist_lab.data import Digits, load_data
from mnist_lab.studies import measuring


@pytest.fixture
def few(monkeypatch):
    """100 training digits, 40 for validation and 20 to test: what every study takes for all."""
    small = load_data("digits")
    parts = (small.train.first(100), small.validation.first(40), small.test.first(20))
    data = Digits("few digits", *parts)
    monkeypatch.setattr(measuring, "load_data", lambda: data)
    measuring.digits.cache_clear()
    yield data
    measuring.digits.cache_clear()


@pytest.fixture
def time():
    return FakeTime()
