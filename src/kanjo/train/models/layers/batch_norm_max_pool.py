"""Batch norm and max pooling in one step, for training on a CPU.

The result is that of the two layers. It is computed faster, because fewer operations run over the tensor at full size:
A positive scale and a shift commute with the maximum. So the pooling can come first, and the scale and shift of the
norm are applied to the pooled values only. A channel with a negative scale gets a positive one, and the weights of the
convolution before it change their sign. What is left at full size is one pass for the statistics, and in the backward
pass the scatter of the pooling and one multiply-add. PyTorch's own backward pass of batch norm in bfloat16 and
channels-last runs at a tenth of the memory bandwidth and took 60 % of a training step of the 1D CNN-LSTM.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kanjo.train.distributed import all_reduce_sum, is_distributed

PoolSize = tuple[int, int]


class _BatchNormMaxPool(torch.autograd.Function):
    """x (B, C, H, W), scale (C,) >= 0, shift (C,) -> max_pool(norm(x)), mean (C,), unbiased variance (C,)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, scale: Tensor, shift: Tensor, pool_size: PoolSize, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean, variance, n = _batch_statistics(x)
        inverse_std = torch.rsqrt(variance + eps)
        pooled, argmax = torch.ops.aten.max_pool2d_with_indices(x, pool_size, pool_size)
        ctx.save_for_backward(x, pooled, argmax, scale, mean, inverse_std)
        ctx.pool_size, ctx.n = pool_size, n
        ctx.mark_non_differentiable(mean, variance)
        output = _scale_and_shift(pooled, scale * inverse_std, shift - mean * scale * inverse_std)
        return output, mean, variance * n / max(1.0, n - 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        gradient = gradients[0]
        x, pooled, argmax, scale, mean, inverse_std = ctx.saved_tensors
        shift_gradient = gradient.sum((0, 2, 3), dtype=torch.float32)
        product_sum = (gradient * pooled).sum((0, 2, 3), dtype=torch.float32)
        scale_gradient = (product_sum - mean * shift_gradient) * inverse_std
        # Mean and variance depend on all values, also on those of other processes.
        total_shift, total_scale = all_reduce_sum(torch.stack([shift_gradient, scale_gradient]))
        slope = -scale * inverse_std * inverse_std * total_scale / ctx.n
        x_gradient = _scale_and_shift(x, slope, -scale * inverse_std * total_shift / ctx.n - slope * mean)
        direct = _scale_and_shift(gradient, scale * inverse_std, torch.zeros_like(mean))
        x_gradient += torch.ops.aten.max_pool2d_with_indices_backward(
            direct, x, ctx.pool_size, ctx.pool_size, (0, 0), (1, 1), False, argmax
        )
        return x_gradient, scale_gradient, shift_gradient, None, None


def _batch_statistics(x: Tensor) -> tuple[Tensor, Tensor, float]:
    """Compute mean (C,), biased variance (C,) and number of values per channel, over the batches of all processes."""
    mean, variance = torch.batch_norm_update_stats(x, None, None, 0.0)
    n = torch.full((1, len(mean)), x.numel() / len(mean), dtype=torch.float64)
    mean, variance = mean.double(), variance.double()
    if is_distributed():
        sums = all_reduce_sum(torch.cat([n, n * mean, n * (variance + mean.square())]))
        n, total, total_squares = torch.split(sums, 1)
        mean, variance = (total / n)[0], (total_squares / n - (total / n).square())[0]
    return mean.float(), variance.float(), float(n[0, 0])


def _scale_and_shift(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Compute ``scale x + shift`` per channel in float32; the result has the type and memory format of x."""
    zero, one = torch.zeros_like(scale), torch.ones_like(scale)
    return F.batch_norm(x, zero, one, scale, shift, training=False, eps=0.0)


def conv_batch_norm_max_pool(x: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d, pool_size: PoolSize) -> Tensor:
    """Compute ``max_pool(norm(conv(x)))`` in training mode, and update the running statistics of the norm.

    Args:
        x: (B, C, H, W).
        conv: Convolution without bias.
        norm: Batch norm with scale and shift, running statistics and a momentum.
        pool_size: Height and width of the pooling windows.

    Returns:
        (B, C', H' // pool_size[0], W' // pool_size[1]).

    Raises:
        ValueError: The norm has no running statistics or no momentum.
    """
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        raise ValueError("the batch norm has no running statistics; expected track_running_stats=True")
    if norm.momentum is None:
        raise ValueError("the batch norm has no momentum; expected a number")
    sign = torch.where(norm.weight < 0, -1.0, 1.0).detach()
    convolved = F.conv2d(
        x, conv.weight * sign.reshape(-1, 1, 1, 1), None, conv.stride, conv.padding, conv.dilation, conv.groups
    )
    output, mean, variance = _BatchNormMaxPool.apply(  # type: ignore[no-untyped-call]
        convolved, norm.weight * sign, norm.bias, pool_size, norm.eps
    )
    with torch.no_grad():
        norm.running_mean.lerp_(mean * sign, norm.momentum)
        norm.running_var.lerp_(variance, norm.momentum)
        norm.num_batches_tracked += 1
    return output  # type: ignore[no-any-return]
