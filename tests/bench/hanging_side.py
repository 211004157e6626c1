"""A rival that never ends: for the tests of `tests.bench.rival`."""

from __future__ import annotations

import threading

if __name__ == "__main__":
    threading.Event().wait()
