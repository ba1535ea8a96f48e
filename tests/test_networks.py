from __future__ import annotations

import pytest
import torch
from torch import nn

from kanjo.errors import RecipeError
from kanjo.train.networks import build
from kanjo.train.networks.cnn_lstm import CnnLstm2d, LocalFeatureLearningBlock2d
from kanjo.train.recipe import load_recipe

PAPER = (1, 128, 251)


def test_it_is_the_papers_network() -> None:
    network = CnnLstm2d(7, PAPER)
    convolutions = [block.conv for block in network.blocks]
    assert [(c.in_channels, c.out_channels, c.kernel_size) for c in convolutions] == [
        (1, 64, (3, 3)), (64, 64, (3, 3)), (64, 128, (3, 3)), (128, 128, (3, 3)),
    ]  # fmt: skip
    assert [block.pool.kernel_size for block in network.blocks] == [(2, 2), (4, 4), (4, 4), (4, 4)]
    assert (network.lstm.input_size, network.lstm.hidden_size) == (128, 256)
    x, shapes = torch.randn(2, *PAPER), []
    for block in network.blocks:
        x = block(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [(64, 64, 125), (64, 16, 31), (128, 4, 7), (128, 1, 1)]
    assert network.n_steps == 1  # as published: the LSTM has no sequence to work on


def test_recipes_hold_what_they_say() -> None:
    short, long = load_recipe("cnn-lstm-2d"), load_recipe("cnn-lstm-2d-long")
    assert (short.audio.window, short.frontend.n_fft, short.frontend.hop_length, short.frontend.n_mels) == (
        128_000,
        2048,
        512,
        128,
    )
    assert 1 + short.audio.window // short.frontend.hop_length == 251
    settings = long.network.model_dump()
    network = build(settings.pop("type"), 8, (1, 128, 1 + long.audio.window // 512), settings)
    assert network.n_steps >= 15


def test_pool_before_elu_is_elu_before_pool() -> None:
    block = LocalFeatureLearningBlock2d(3, 8, 3, (2, 4)).eval()
    x = torch.randn(2, 3, 16, 24)
    published = nn.functional.max_pool2d(nn.functional.elu(block.norm(block.conv(x))), (2, 4))
    assert torch.equal(block(x), published)


def test_company_in_the_batch_changes_nothing() -> None:
    network = CnnLstm2d(5, (1, 64, 63), pools=((2, 2), (4, 2), (2, 2), (4, 2))).eval()
    x = torch.randn(4, 1, 64, 63)
    alone, _ = network(x[:1])
    together, embedding = network(x)
    torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=0)
    assert embedding.shape == (4, 256)


def test_pools_that_leave_nothing_are_refused() -> None:
    with pytest.raises(RecipeError, match="leave 128 mel rows and 0 time steps|leave .* expected 1 of each"):
        build("cnn-lstm-2d", 5, (1, 128, 100), {"pools": ((1, 4), (1, 4), (1, 4), (1, 4))})
    with pytest.raises(RecipeError, match="2 filters and 4 pools"):
        build("cnn-lstm-2d", 5, PAPER, {"filters": (8, 8)})
