from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from operators.errors import ConfigError
from operators.records import Modality
from operators.tokenize import registry
from operators.tokenize.base import TokenKind
from operators.tokenize.registry import Description, build, describe
from operators.window.views import parse_view

README = Path(registry.__file__).parent / "README.md"


@pytest.mark.parametrize("description", describe(), ids=lambda description: description.name)
def test_every_built_in_is_what_its_description_says(description: Description) -> None:
    tokenizer = build(description.name, {})
    spec = tokenizer.spec
    assert (spec.kind, spec.modality) == (description.kind, description.modality)
    assert parse_view(spec.view).key == spec.view
    assert tokenizer.identity["class"] == description.target
    if spec.kind is TokenKind.CODES:
        assert max(_sizes(tokenizer)) == description.vocabulary
    if spec.modality is Modality.IMAGE:
        assert "×".join(map(str, spec.shape)) == description.grid
        bits = np.log2(description.vocabulary) if description.vocabulary else 32
        assert description.bits_per_pixel == np.prod(spec.shape) * bits / 256**2
    if spec.modality is Modality.AUDIO:
        assert description.bits_per_second == _bits_hz(tokenizer)
    if spec.modality is Modality.VIDEO:
        image, sound = tokenizer.parts[0], tokenizer.parts[1]
        assert description.bits_per_pixel == np.prod(image.spec.shape) * 10 / 256**2
        assert description.bits_per_second == tokenizer.frames_hz * np.prod(image.spec.shape) * 10 + _bits_hz(sound)


def _sizes(tokenizer: Any) -> list[int]:
    spec = tokenizer.spec
    return [*spec.codebook_sizes, *(size for part in spec.parts for size in part.codebook_sizes)]


def _bits_hz(tokenizer: Any) -> float:
    return float(tokenizer.frame_rate_hz * sum(np.log2(size) for size in tokenizer.spec.codebook_sizes))


def test_importing_the_registry_imports_no_torch() -> None:
    code = "import sys, operators.tokenize.registry as r; r.describe(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("image-rg", {}, r'did you mean "image-rq".*text-bytes'),
        ("image-rq", {"layer": 2}, r'options.layer: .*did you mean "layers".*size'),
        ("text-bytes", {"window_bytes": "many"}, r"options.window_bytes"),
        ("no.such:Tokenizer", {}, r"can't import no\.such"),
        ("operators.records:Modalty", {}, r'did you mean "Modality"'),
        ("operators.records:dataclass", {}, r"no class"),
        ("operators.records:WindowBatch", {}, r"can't be made without options"),
        ("operators.records:WindowBatch", {"view": "x"}, r"takes no options"),
        ("builtins:object", {}, r"lacks decode, encode"),
        (":", {}, r"can't import"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_would_be_valid(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build(name, options)


def example(monkeypatch: pytest.MonkeyPatch) -> None:
    """Import the README's example as `mytok.grey`."""
    block = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert block is not None
    package, module = ModuleType("mytok"), ModuleType("mytok.grey")
    monkeypatch.setitem(sys.modules, "mytok", package)
    monkeypatch.setitem(sys.modules, "mytok.grey", module)
    exec(compile(block[1], str(README), "exec"), vars(module))


def test_the_readme_s_tokenizer_works_by_import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    example(monkeypatch)
    tokenizer = build("mytok.grey:GreyTokenizer", {"levels": 4})
    image = np.zeros((64, 64, 3), np.uint8)
    image[:32] = 255
    tokens = tokenizer.encode(image)
    assert tokens.values.shape == tokenizer.spec.shape
    assert np.unique(tokens.values).tolist() == [0, 3]
    assert np.unique(tokenizer.decode(tokens)).tolist() == [32, 224]
    assert tokenizer.identity["options"] == {"levels": 4}
    with pytest.raises(ConfigError, match=r"options\.levels"):
        build("mytok.grey:GreyTokenizer", {"levels": 1})


def test_an_entry_point_names_a_tokenizer_but_never_a_built_in_s_name(monkeypatch: pytest.MonkeyPatch) -> None:
    example(monkeypatch)
    points = [
        EntryPoint("grey", "mytok.grey:GreyTokenizer", registry.GROUP),
        EntryPoint("text-bytes", "mytok.grey:GreyTokenizer", registry.GROUP),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "mediatok.tokenizers" else [])
    assert build("grey", {}).spec.modality is Modality.IMAGE
    assert build("text-bytes", {}).spec.modality is Modality.TEXT
    with pytest.raises(ConfigError, match='did you mean "grey"'):
        build("gray", {})
