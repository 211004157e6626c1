"""What all tests share: hypothesis profiles, one local Ray, photographs."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Before anything imports Ray: no `uv run` hook in its workers, no GPUs for actors that asked for none, no reports home.
os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# As `pipeline.runtime.cluster` sets it for a Ray that it starts.
os.environ["RAY_free_objects_period_milliseconds"] = "100"  # noqa: SIM112  its name

CI = os.environ.get("CI", "").lower() in {"1", "true"}

settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if CI else "dev"))

_PHOTOS = {
    "skimage": ["astronaut.png", "chelsea.png", "coffee.png", "hubble_deep_field.jpg", "retina.jpg", "rocket.jpg"],
    "sklearn": ["china.jpg", "flower.jpg"],
}
_FOLDERS = {"skimage": "data", "sklearn": "datasets/images"}


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """A local Ray with two CPUs and two pretended GPUs, started once for all tests that ask for it.

    A test that needs another Ray, or runs a command that shuts Ray down, does it in a process of its own.
    """
    import ray

    ray.init(
        address="local",
        num_cpus=2,
        num_gpus=2,
        object_store_memory=256 << 20,
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def sample_photos() -> tuple[Path, ...]:
    """Colour photographs of several sizes, PNG and JPEG, that scikit-image and scikit-learn ship."""
    return tuple(_folder(package) / name for package, names in _PHOTOS.items() for name in names)


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)  # found, not imported: both take seconds
    if spec is None or spec.origin is None:
        pytest.fail(f"{package} is not installed: `uv sync` brings it with the demo group")
    return Path(spec.origin).parent / _FOLDERS[package]
