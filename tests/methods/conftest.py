"""The toy problem's place in the library's tables, while the tests here run."""

import pytest
from toy_problem import registered


@pytest.fixture(scope="module", autouse=True)
def _toy_problem():
    with registered():
        yield
