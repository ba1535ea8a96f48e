"""CNN-LSTM: layers and shapes of the paper, aggregation, errors."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kanjo.errors import RecipeError
from kanjo.train.config.loading import load_recipe
from kanjo.train.models.cnn_lstm import CnnLstm1d, CnnLstm2d, LocalFeatureLearningBlock2d
from kanjo.train.models.emotion_model import build_emotion_model

PAPER_SHAPE = (1, 128, 251)


def test_cnn_lstm_2d_layers_are_those_of_the_paper() -> None:
    model = CnnLstm2d(7, PAPER_SHAPE)
    convolutions = [block.conv for block in model.blocks]
    assert [(c.in_channels, c.out_channels, c.kernel_size) for c in convolutions] == [
        (1, 64, (3, 3)),
        (64, 64, (3, 3)),
        (64, 128, (3, 3)),
        (128, 128, (3, 3)),
    ]
    assert [block.pool.kernel_size for block in model.blocks] == [(2, 2), (4, 4), (4, 4), (4, 4)]
    assert (model.lstm.input_size, model.lstm.hidden_size) == (128, 256)
    x, shapes = torch.randn(2, *PAPER_SHAPE), []
    for block in model.blocks:
        x = block(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [(64, 64, 125), (64, 16, 31), (128, 4, 7), (128, 1, 1)]
    assert model.n_steps == 1  # as published: the LSTM has a sequence of one step


def test_cnn_lstm_2d_recipe_has_the_features_of_the_paper() -> None:
    recipe = load_recipe("cnn-lstm-2d")
    features = recipe.features
    assert recipe.audio.window == 128_000
    assert (features.n_fft, features.hop_length, features.n_mels) == (2048, 512, 128)  # type: ignore[union-attr]
    assert 1 + recipe.audio.window // features.hop_length == PAPER_SHAPE[2]


def test_cnn_lstm_2d_long_recipe_has_a_sequence_for_the_lstm() -> None:
    assert build_emotion_model(load_recipe("cnn-lstm-2d-long"), 8).model.n_steps >= 15


def test_local_feature_learning_block_equals_elu_then_pool() -> None:
    block = LocalFeatureLearningBlock2d(3, 8, 3, (2, 4)).eval()
    x = torch.randn(2, 3, 16, 24)
    published = nn.functional.max_pool2d(nn.functional.elu(block.norm(block.conv(x))), (2, 4))
    assert torch.equal(block(x), published)


def test_cnn_lstm_1d_recipe_layers_are_those_of_the_paper() -> None:
    model = build_emotion_model(load_recipe("cnn-lstm-1d"), 8).model.eval()
    assert [(block.conv.kernel_size, block.pool_size) for block in model.blocks] == [((1, 3), (1, 4))] * 4
    assert (model.n_steps, model.lstm.input_size, model.lstm.hidden_size) == (500, 128, 64)
    with torch.inference_mode():
        logits, embedding = model(torch.randn(2, 1, 1, 128_000), None)
    assert logits.shape == (2, 8) and embedding.shape == (2, 64)


def test_cnn_lstm_1d_log_mel_features_are_an_error() -> None:
    with pytest.raises(ValueError, match="128 mel bands; expected raw samples"):
        CnnLstm1d(8, PAPER_SHAPE)


def test_cnn_lstm_1d_block_equals_1d_convolution() -> None:
    block = CnnLstm1d(5, (1, 1, 4096)).eval().blocks[0]
    x = torch.randn(2, 1, 1, 4096)
    convolved = nn.functional.conv1d(x[:, :, 0], block.conv.weight[:, :, 0], padding=1)
    expected = nn.functional.max_pool1d(nn.functional.elu(nn.BatchNorm1d(64).eval()(convolved)), 4)
    torch.testing.assert_close(block(x)[:, :, 0], expected, atol=1e-5, rtol=1e-5)


def test_cnn_lstm_2d_other_items_of_the_batch_change_nothing() -> None:
    model = CnnLstm2d(5, (1, 64, 63), pools=((2, 2), (4, 2), (2, 2), (4, 2))).eval()
    x = torch.randn(4, 1, 64, 63)
    first, _ = model(x[:1])
    batch, embedding = model(x)
    torch.testing.assert_close(batch[:1], first, atol=1e-5, rtol=0)
    assert embedding.shape == (4, 256)


def test_cnn_lstm_2d_mean_aggregation_ignores_padding_steps() -> None:
    pools = ((2, 2), (4, 2), (2, 2), (4, 2))
    model = CnnLstm2d(5, (1, 64, 64), pools=pools, aggregation="mean").eval()
    outputs, _ = model.lstm(model.blocks(x := torch.randn(2, 1, 64, 64)).permute(0, 3, 1, 2).flatten(2))
    embedding = model.embed(x, torch.tensor([64, 17]))  # 16 frames per step
    torch.testing.assert_close(embedding[0], outputs[0].mean(0))
    torch.testing.assert_close(embedding[1], outputs[1, :2].mean(0))


def test_cnn_lstm_2d_pools_that_leave_no_step_are_an_error() -> None:
    overrides = ["model.pools=[[1,4],[1,4],[1,4],[1,8]]"]
    with pytest.raises(RecipeError, match="leave 128 mel bands and 0 time steps .* expected at least 1"):
        build_emotion_model(load_recipe("cnn-lstm-2d", overrides), 5)
    with pytest.raises(ValueError, match="2 channels and 4 pools"):
        CnnLstm2d(5, PAPER_SHAPE, channels=(8, 8))


@pytest.mark.parametrize(
    ("name", "shape", "n_keras"),
    # 281317: the number of values in the 2D port's published model.h5; 220357: model.summary() of the 1D port's code
    [("cnn-lstm-2d-keras", (1, 128, 251), 281_317), ("cnn-lstm-1d-keras", (1, 1, 128_000), 220_357)],
)
def test_keras_recipe_has_the_parameters_of_the_port(name: str, shape: tuple[int, int, int], n_keras: int) -> None:
    recipe = load_recipe(name)
    emotion_model = build_emotion_model(recipe, 5)
    features, _ = emotion_model.features(torch.zeros(1, recipe.audio.window))
    assert features.shape == (1, *shape)
    model = emotion_model.model
    n_channels, units = sum(block.conv.out_channels for block in model.blocks), model.lstm.hidden_size
    # Keras has biases in the convolutions, counts the moving means and variances, and has one bias vector in the LSTM.
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    assert n_parameters + 3 * n_channels - 4 * units == n_keras


def test_keras_2d_layers_equal_the_formulae_of_the_port() -> None:
    model = build_emotion_model(load_recipe("cnn-lstm-2d-keras"), 5).model.eval()
    features = torch.randn(2, 1, 128, 251)
    x = features
    for block, pool in zip(model.blocks, (2, 4, 4, 4), strict=True):
        x = nn.functional.conv2d(x, block.conv.weight, padding=1)
        norm = block.norm
        x = nn.functional.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)
        x = nn.functional.max_pool2d(nn.functional.elu(x), pool, pool)
    x = x.permute(0, 2, 3, 1).reshape(2, -1, 128)  # Reshape((-1, 128)) of channels-last features
    expected = model.output(model.lstm(x)[0][:, -1])
    torch.testing.assert_close(model(features, torch.tensor([251, 100]))[0], expected, atol=1e-5, rtol=0)
