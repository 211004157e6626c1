from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from operators.errors import ConfigError
from operators.models.mdct_codec import (
    EDGES,
    HOP,
    INTERPOLATION,
    MdctCodec,
    MdctCodecWeights,
    band_members,
    band_spread,
    companded_energies,
)
from operators.models.mdct_synthesis import MdctSynthesis

BANDS = len(EDGES) - 1


def whole(seed: int, low: int, high: int, *shape: int) -> torch.Tensor:
    return torch.randint(low, high, shape, generator=torch.Generator().manual_seed(seed))


def tensors(**changed: torch.Tensor) -> dict[str, torch.Tensor]:
    """Weights drawn by chance: two codebooks for coefficients 0-7, then one more for 4-11."""
    torch.manual_seed(0)
    made = {
        "envelope": whole(0, 0, 400, 32, BANDS),
        "gains": whole(1, 1, 60000, 32, BANDS),
        "groups": torch.tensor([[0, 8, 2], [4, 12, 1]]),
        "codebooks.0": whole(2, -40, 40, 2, 32, 8),
        "codebooks.1": whole(3, -20, 20, 1, 32, 8),
    }
    synthesis = MdctSynthesis(12, BANDS, HOP, 4).tensors()
    return made | {f"synthesis.{name}": tensor for name, tensor in synthesis.items()} | changed


def frames(count: int = 40) -> torch.Tensor:
    return torch.rand(count, 640, generator=torch.Generator().manual_seed(5)) * 2 - 1


def test_storage_loses_nothing() -> None:
    made = MdctCodecWeights.of(tensors())
    again = MdctCodecWeights.of(made.tensors())
    assert made.groups == again.groups
    assert torch.equal(made.gains, again.gains)
    assert all(torch.equal(one, other) for one, other in zip(made.codebooks, again.codebooks, strict=True))


def test_codes_are_those_of_whole_numbers() -> None:
    """The search again in int64 and greedily for a group of one book, from the coefficients on."""
    weights = MdctCodecWeights.of(tensors(groups=torch.tensor([[0, 8, 1], [4, 12, 1]]), **{
        "codebooks.0": whole(2, -40, 40, 1, 32, 8)}))  # fmt: skip
    codec = MdctCodec(weights, 3)
    found = codec.encode(frames()).numpy()
    coefficients = codec.encoder.analysis.mdct(frames()).numpy().astype(np.int64)
    squares = coefficients**2
    energies = np.stack([squares[:, low:high].sum(1) for low, high in itertools.pairwise(EDGES)], axis=1)
    widths = np.diff(EDGES)
    companded = np.round(np.sqrt(np.sqrt(np.sqrt(energies / widths))) * 16).astype(np.int64)
    envelope = weights.envelope.numpy().astype(np.int64)
    first = (2 * companded @ envelope.T - (envelope**2).sum(1)).argmax(1)
    factors = weights.gains.numpy().astype(np.int64)[first] @ band_spread().numpy().astype(np.int64)
    left = np.round(coefficients * factors / 2**22).astype(np.int64)[:, :12]
    codes = [first]
    for group, books in zip(weights.groups, weights.codebooks, strict=True):
        part = left[:, group.low : group.high].clip(-320, 320)
        book = books[0].numpy().astype(np.int64)
        codes.append((2 * part @ book.T - (book**2).sum(1)).argmax(1))
        left[:, group.low : group.high] = part - book[codes[-1]]
    assert np.array_equal(found, np.stack(codes, axis=1))


def test_fewer_codebooks_are_a_prefix() -> None:
    weights = MdctCodecWeights.of(tensors())
    every = MdctCodec(weights, 4).encode(frames())
    for count in (1, 2, 3):
        assert torch.equal(MdctCodec(weights, count).encode(frames()), every[:, :count])


def test_any_number_of_codes_decodes() -> None:
    weights = MdctCodecWeights.of(tensors())
    for count in (1, 2, 3, 4):
        codec = MdctCodec(weights, count)
        sound = codec.decode(codec.encode(frames()))
        assert sound.shape == (40 * HOP,)
        assert bool(torch.isfinite(sound).all())


def test_later_groups_refine_what_earlier_ones_left() -> None:
    weights = MdctCodecWeights.of(tensors())
    codec = MdctCodec(weights, 4)
    shape = codec.encoder.shape_of(torch.tensor([[0, 3, 5, 7]]))[0]
    first, second = weights.codebooks
    expected = torch.zeros(12)
    expected[:8] += first[0][3] + first[1][5]
    expected[4:] += second[0][7]
    assert torch.equal(shape, expected)


def test_bands_part_the_coefficients_and_are_interpolated_with_weights_that_add_up() -> None:
    assert band_members().sum(1).tolist() == [1.0] * HOP
    assert band_spread().sum(0).tolist() == [float(INTERPOLATION)] * HOP
    assert bool((band_spread() == band_spread().round()).all())


def test_energies_are_companded_to_whole_numbers() -> None:
    coefficients = torch.zeros(2, HOP, dtype=torch.float64)
    coefficients[1, :3] = 256.0
    found = companded_energies(coefficients, band_members(), band_members().sum(0))
    assert found[1].tolist() == [64.0] + [0.0] * (BANDS - 1)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"gains": torch.ones(31, BANDS)}, "do not fit"),
        ({"gains": torch.zeros(32, BANDS)}, "do not fit"),
        ({"groups": torch.tensor([[0, 8, 2], [4, 13, 1]])}, "do not fit"),
        ({"groups": torch.tensor([[0, 8, 2], [4, 12, 1], [0, 2, 1]])}, "lack codebooks.2"),
        ({"codebooks.0": torch.full((2, 32, 8), 4000)}, "exact"),
        ({"synthesis.leave.bias": torch.zeros(3)}, "synthesis does not fit"),
    ],
)
def test_weights_that_do_not_fit_are_refused(changed: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MdctCodec(MdctCodecWeights.of(tensors(**changed)), 3)


def test_weights_that_lack_something_are_refused() -> None:
    with pytest.raises(ConfigError, match="lack gains, groups"):
        MdctCodecWeights.of({"envelope": torch.zeros(32, BANDS)})
    without = {name: tensor for name, tensor in tensors().items() if not name.startswith("synthesis")}
    with pytest.raises(ConfigError, match="synthesis does not fit"):
        MdctCodec(MdctCodecWeights.of(without), 3)
