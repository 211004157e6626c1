from __future__ import annotations

import numpy as np
import pytest

from pipeline.app.report.tokenizers import with_tokenizer
from pipeline.config import parse_config
from tests.pipeline.app.report.lakes import HERE, Letterwise, product_rows, row

ROWS = product_rows("words", Letterwise(), [row("a", np.zeros(1, np.uint16))], inverse=False)


@pytest.mark.parametrize(("product", "found"), [("words", True), ("others", False)])
def test_the_config_s_product_of_that_name_is_tried(product: str, found: bool) -> None:
    lane = {"products": {product: {"tokenizer": f"{HERE}:Letterwise"}}}
    shown = with_tokenizer(ROWS, parse_config({"lake": "lake", "lanes": {"text": lane}}))
    assert isinstance(shown.tokenizer, Letterwise) is found
    assert bool(shown.why_not) is not found


def test_without_a_config_the_reason_is_said() -> None:
    shown = with_tokenizer(ROWS, None)
    assert shown.tokenizer is None
    assert "does not come along" in shown.why_not
