"""The options of ``pytest benchmarks/ --benchmark-only``, and the threads that everybody works with."""

import pytest

import fastconv as fc
from benchmarks import options


def pytest_addoption(parser):
    options.add(parser.getgroup("fastconv", "what fastconv's benchmarks measure").addoption)


@pytest.fixture
def threads(request):
    """How many threads a contestant has; this package's own number is set while the test runs."""
    before = fc.get_num_threads()
    fc.set_num_threads(request.config.option.threads or before)
    yield fc.get_num_threads()
    fc.set_num_threads(before)
