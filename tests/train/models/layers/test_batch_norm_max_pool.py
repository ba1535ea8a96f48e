"""The fused batch norm and max pooling against PyTorch's layers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from kanjo.train.models.cnn_lstm import LocalFeatureLearningBlock2d
from kanjo.train.models.layers.batch_norm_max_pool import conv_batch_norm_max_pool


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_conv_batch_norm_max_pool_equals_separate_layers(memory_format: torch.memory_format) -> None:
    """Outputs, all gradients and the running statistics are equal, with scales of both signs."""
    torch.manual_seed(0)
    fused = LocalFeatureLearningBlock2d(3, 8, 3, (2, 4)).train()
    with torch.no_grad():
        fused.norm.weight.copy_(torch.tensor([1.0, -1, 0.5, -2, 0.1, -0.1, 3, -3]))
        fused.norm.bias.normal_()
    separate = copy.deepcopy(fused)
    x = torch.randn(4, 3, 17, 23).contiguous(memory_format=memory_format)
    x_fused, x_separate = x.clone().requires_grad_(), x.clone().requires_grad_()
    output = fused(x_fused)
    expected = separate.elu(separate.pool(separate.norm(separate.conv(x_separate))))
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=1e-5)
    weight = torch.randn_like(output)
    (output * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(x_fused.grad, x_separate.grad, atol=1e-5, rtol=1e-4)
    for (name, value), (_, other) in zip(fused.named_parameters(), separate.named_parameters(), strict=True):
        torch.testing.assert_close(value.grad, other.grad, atol=1e-4, rtol=1e-4, msg=name)
    for (name, value), (_, other) in zip(fused.named_buffers(), separate.named_buffers(), strict=True):
        torch.testing.assert_close(value, other, atol=1e-6, rtol=1e-5, msg=name)


def test_conv_batch_norm_max_pool_norm_without_statistics_is_an_error() -> None:
    conv, x = nn.Conv2d(1, 2, 3, bias=False), torch.randn(2, 1, 8, 8)
    with pytest.raises(ValueError, match="no running statistics"):
        conv_batch_norm_max_pool(x, conv, nn.BatchNorm2d(2, track_running_stats=False), (2, 2))
    with pytest.raises(ValueError, match="no momentum"):
        conv_batch_norm_max_pool(x, conv, nn.BatchNorm2d(2, momentum=None), (2, 2))
