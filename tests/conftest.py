"""The same examples and the same models on every machine, whatever its owner keeps in his home."""

from __future__ import annotations

import os
import tempfile

import pytest
from hypothesis import HealthCheck, settings

LEAST = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}  # machines differ in speed
settings.register_profile("same", derandomize=True, database=None, **LEAST)
settings.register_profile("explore", print_blob=True, **LEAST)  # pytest --hypothesis-profile explore
settings.load_profile("same")


def pytest_configure(config: pytest.Config) -> None:
    home = tempfile.TemporaryDirectory(prefix="denoise-tests-")
    config.add_cleanup(home.cleanup)
    os.environ.pop("DENOISE_MODELS", None)
    os.environ["XDG_DATA_HOME"] = os.environ["XDG_CACHE_HOME"] = home.name  # graphs are made once for all tests
