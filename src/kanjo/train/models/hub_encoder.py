"""Speech encoders of the library transformers: their own layers and weights, run so that padding changes nothing.

The forward passes of transformers normalize and convolve padding together with the valid samples (a group norm over
time in the base sizes of wav2vec2, HuBERT and WavLM, several convolutions in data2vec-audio), and Whisper's needs 30 s.
So the layers are called from here, with masks where a layer looks at other time steps. Without padding, the results are
those of transformers.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kanjo.errors import RecipeError
from kanjo.train.features.log_mel import WHISPER_RMS, LogMel
from kanjo.train.models.encoder import SpeechEncoder
from kanjo.train.models.hub_attention import GatedAttention, RelativeKeyAttention, StepLinear
from kanjo.train.models.hub_fbank import KaldiFbank
from kanjo.train.models.hub_source import (
    CONVOLUTIONAL,
    FBANK,
    MAX_PARAMETERS,
    EncoderFiles,
    pretrained_model,
    random_model,
)
from kanjo.train.models.layers.pooling import frame_mask
from kanjo.train.models.layers.statistics import STEPS_PER_SECOND
from kanjo.train.models.whisper import HOP_LENGTH

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_VARIANCE_EPSILON = 1e-7


class HubEncoder(SpeechEncoder):
    """The lower layers of an encoder of transformers.

    Args:
        files: Where the encoder is from.
        model: The model of transformers; its layers from 1 to the highest that is needed.

    Shape:
        features (B, C, M, T), number of valid frames (B,) -> for each layer (B, S, D); mask of the valid steps, bool
        (B, S, 1).
    """

    def __init__(self, files: EncoderFiles, model: PreTrainedModel) -> None:
        super().__init__(int(model.config.hidden_size))
        self.layers = self.find_layers(model)
        # Parts of the cache's keys that are no weights. In a tuple, so that they are no part of the state dict.
        self._settings = (_Settings(files),)
        self.files = files

    @staticmethod
    def find_layers(model: PreTrainedModel) -> nn.ModuleList:
        """Return the transformer layers of a model."""
        return model.encoder.layers  # type: ignore[no-any-return]

    @abstractmethod
    def first_steps(self, features: Tensor, n_frames: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the input of the first layer (B, S, D), and the mask of the valid steps, bool (B, S, 1)."""

    @abstractmethod
    def stem(self) -> list[nn.Module]:
        """List the modules before the first layer."""

    def layer_arguments(self, steps: Tensor, mask: Tensor) -> dict[str, Any]:
        """Compute the arguments of all layers but the steps."""
        bias = torch.zeros_like(mask, dtype=torch.float32).masked_fill(~mask, torch.finfo(torch.float32).min)
        return {"attention_mask": bias[:, None, None, :, 0]}

    def forward(self, features: Tensor, n_frames: Tensor) -> tuple[list[Tensor], Tensor]:
        """Compute the steps of all layers, and their mask."""
        steps, mask = self.first_steps(features, n_frames)
        arguments, outputs = self.layer_arguments(steps, mask), []
        for layer in self.layers:
            output = layer(steps, **arguments)
            steps = output[0] if isinstance(output, tuple) else output
            outputs.append(steps)
        return outputs, mask

    def parts(self) -> list[list[nn.Module]]:
        """List the modules of each layer; those before the layers belong to the first one."""
        return [[*self._settings, *self.stem(), self.layers[0]], *([layer] for layer in self.layers[1:])]

    def load_pretrained(self) -> None:
        """Replace the random weights by those of the source.

        Raises:
            RecipeError: They can't be loaded.
        """
        loaded = type(self)(self.files, pretrained_model(self.files, len(self.layers)))
        self.load_state_dict(loaded.state_dict())


class ConvolutionalEncoder(HubEncoder):
    """wav2vec2, HuBERT, WavLM, data2vec-audio, UniSpeech: convolutions on samples, then transformer layers.

    Shape:
        samples with an RMS of 1, (B, 1, 1, N), number of valid samples (B,).
    """

    def __init__(self, files: EncoderFiles, model: PreTrainedModel) -> None:
        super().__init__(files, model)
        self.normalize = bool(files.preprocessor.get("do_normalize", True))
        self.convolutions = cast(nn.ModuleList, model.feature_extractor.conv_layers)
        self.projection, self.positions = model.feature_projection, model.encoder.pos_conv_embed
        # With layer norms before attention, this one follows the last layer, and is not used.
        self.is_pre_norm = bool(getattr(model.config, "do_stable_layer_norm", False))
        self.norm = nn.Identity() if self.is_pre_norm else model.encoder.layer_norm
        for module in self.positions.modules():
            if nn.utils.parametrize.is_parametrized(module):
                nn.utils.parametrize.remove_parametrizations(module, "weight")
        use_linear_per_step(self)

    def first_steps(self, features: Tensor, n_frames: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the convolutions, the projection and the positional convolutions."""
        signal = features[:, 0, 0]
        x = (normalize(signal, n_frames) if self.normalize else signal * WHISPER_RMS).unsqueeze(1)
        n = n_frames
        convolution: Any
        for convolution in self.convolutions:
            kernel, stride = convolution.conv.kernel_size[0], convolution.conv.stride[0]
            x = convolution.conv(F.pad(x, (0, kernel - stride)))  # the length is divided by the stride
            n = torch.clamp(n - kernel, min=0) // stride + 1
            x = convolution.activation(self._normalize_channels(convolution, x, n))
        x = x.transpose(1, 2)
        mask = frame_mask(x, n)
        projected = self.projection(x)
        steps = (projected[0] if isinstance(projected, tuple) else projected) * mask
        steps = self.norm(steps + self._positions(steps, mask))
        return steps, mask

    def stem(self) -> list[nn.Module]:
        """List the convolutions, the projection and the positional convolutions."""
        return [self.convolutions, self.projection, self.positions, self.norm]

    @staticmethod
    def _normalize_channels(convolution: nn.Module, x: Tensor, n: Tensor) -> Tensor:
        """Apply the norm of a convolution, if it has one; a group norm over the valid steps: (B, C, T) -> (B, C, T)."""
        norm = getattr(convolution, "layer_norm", None)
        if norm is None:
            return x
        if isinstance(norm, nn.LayerNorm):
            return cast(Tensor, norm(x.transpose(1, 2)).transpose(1, 2))
        group_norm = cast(nn.GroupNorm, norm)  # one channel per group
        mask = frame_mask(x.transpose(1, 2), n).transpose(1, 2)
        n_valid = mask.sum(2, keepdim=True)
        mean = (x * mask).sum(2, keepdim=True) / n_valid
        variance = ((x - mean) * mask).square().sum(2, keepdim=True) / n_valid
        x = (x - mean) * torch.rsqrt(variance + group_norm.eps)
        return x * group_norm.weight.unsqueeze(1) + group_norm.bias.unsqueeze(1)

    def _positions(self, steps: Tensor, mask: Tensor) -> Tensor:
        """Compute the positional convolutions of steps (B, S, D)."""
        if not hasattr(self.positions, "layers"):
            return cast(Tensor, self.positions(steps))
        for layer in self.positions.layers:  # data2vec-audio has several
            steps = layer(steps.transpose(1, 2)).transpose(1, 2) * mask
        return steps


class WavlmEncoder(ConvolutionalEncoder):
    """WavLM, whose attention has a gated relative position bias."""

    buckets: Tensor

    def __init__(self, files: EncoderFiles, model: PreTrainedModel) -> None:
        super().__init__(files, model)
        first: Any = self.layers[0].attention
        self.position_embedding, self.max_distance = cast(nn.Embedding, first.rel_attn_embed), int(first.max_distance)
        # A table, because the logarithms in a graph may be rounded into another bucket.
        distances = torch.arange(-self.max_distance, self.max_distance + 1)
        self.register_buffer("buckets", first._relative_positions_bucket(distances), persistent=False)
        for layer in self.layers:
            layer.attention = GatedAttention(layer.attention)
        use_linear_per_step(self)

    def layer_arguments(self, steps: Tensor, mask: Tensor) -> dict[str, Any]:
        """Compute the mask, and the position bias (H, S, S) that all layers share."""
        position = torch.arange(steps.shape[1], device=steps.device)
        distance = (position[None, :] - position[:, None]).clamp(-self.max_distance, self.max_distance)
        # Indexing, because the exporter names the result of nn.Embedding like the graph's output.
        bias = self.position_embedding.weight[self.buckets[distance + self.max_distance]].permute(2, 0, 1)
        return {"attention_mask": mask, "position_bias": bias}

    def stem(self) -> list[nn.Module]:
        """List the modules before the first layer."""
        return [*super().stem(), self.position_embedding]


class FbankEncoder(HubEncoder):
    """w2v-BERT: conformer layers on Kaldi's filter banks, which are computed here.

    Shape:
        samples with an RMS of 1, (B, 1, 1, N), number of valid samples (B,).
    """

    def __init__(self, files: EncoderFiles, model: PreTrainedModel) -> None:
        super().__init__(files, model)
        self.bands = KaldiFbank(files.sample_rate)  # kanjo.train.export.quantize keeps constants of this name in fp32
        self.projection = model.feature_projection
        for layer in self.layers:
            layer.self_attn = RelativeKeyAttention(layer.self_attn)
        use_linear_per_step(self)

    def first_steps(self, features: Tensor, n_frames: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the normalized filter banks, two frames per step, and project them."""
        frames, n_fbank_frames = self.bands(features[:, 0, 0] * WHISPER_RMS, n_frames)
        pairs = frames[:, : frames.shape[1] // 2 * 2].reshape(frames.shape[0], -1, 2 * frames.shape[2])
        mask = frame_mask(pairs, torch.clamp(n_fbank_frames // 2, min=1))
        return self.projection(pairs)[0] * mask, mask

    def layer_arguments(self, steps: Tensor, mask: Tensor) -> dict[str, Any]:
        """Compute the masks of the attention and of the convolution."""
        return {**super().layer_arguments(steps, mask), "conv_attention_mask": mask[..., 0]}

    def stem(self) -> list[nn.Module]:
        """List the projection."""
        return [self.projection]


class HubWhisperEncoder(HubEncoder):
    """Whisper of any size.

    Shape:
        log-mel spectrogram (B, 1, M, T), number of valid frames (B,).
    """

    def __init__(self, files: EncoderFiles, model: PreTrainedModel) -> None:
        super().__init__(files, model)
        encoder = model.encoder
        self.conv1, self.conv2, self.embed_positions = encoder.conv1, encoder.conv2, encoder.embed_positions
        use_linear_per_step(self)

    def first_steps(self, features: Tensor, n_frames: Tensor) -> tuple[Tensor, Tensor]:
        """Apply the two convolutions and add the positions."""
        frames = features[:, 0]
        mask = frame_mask(frames.transpose(1, 2), n_frames)
        frames = F.gelu(self.conv1(frames)) * mask.transpose(1, 2)
        # Padded so that the number of steps is half of the number of frames, rounded up.
        frames = F.pad(frames, (1, frames.shape[2] % 2))
        steps = F.gelu(F.conv1d(frames, self.conv2.weight, self.conv2.bias, stride=2)).transpose(1, 2)
        return steps + self.embed_positions.weight[: steps.shape[1]], mask[:, ::2]

    def stem(self) -> list[nn.Module]:
        """List the convolutions and the positions."""
        return [self.conv1, self.conv2, self.embed_positions]


class _Settings(nn.Module):
    """The settings of an encoder as a buffer, for the keys of the cache."""

    def __init__(self, files: EncoderFiles) -> None:
        super().__init__()
        text = json.dumps([files.config, files.preprocessor], sort_keys=True)
        self.register_buffer("digest", torch.tensor(list(hashlib.sha256(text.encode()).digest()), dtype=torch.uint8))


def build_hub_encoder(
    files: EncoderFiles, layers: Sequence[int], feature_extractor: nn.Module, n_frames: int
) -> HubEncoder:
    """Build the lower layers of an encoder, with random weights.

    Args:
        files: Where the encoder is from.
        layers: Numbers of the layers that are used, from 1.
        feature_extractor: What computes the features.
        n_frames: Number of frames of the longest input.

    Raises:
        RecipeError: The source is no encoder that kanjo can use.
        ValueError: Layers that the encoder does not have, or features that it can't use.
    """
    if max(layers) > files.n_layers:
        raise ValueError(f"layers {list(layers)}: {files.source} has the layers 1 to {files.n_layers}")
    config = files.transformers_config()
    _check_config(files, config)
    _check_features(files, config, feature_extractor, n_frames)
    encoder = _encoder_class(files.model_type)(files, random_model(files, max(layers)))
    n_parameters = sum(parameter.numel() for parameter in encoder.parameters())
    if n_parameters > MAX_PARAMETERS:
        raise ValueError(
            f"layers {list(layers)}: the layers 1 to {max(layers)} of {files.source} have {n_parameters / 1e6:.0f} "
            f"million parameters, and an exported model holds up to {MAX_PARAMETERS / 1e6:.0f} million; use lower ones"
        )
    return encoder


def use_linear_per_step(module: nn.Module) -> None:
    """Let all linear layers compute one product of all steps; then they can be quantized to int8."""
    for linear in module.modules():
        if type(linear) is nn.Linear:
            linear.__class__ = StepLinear


def normalize(signal: Tensor, n_samples: Tensor) -> Tensor:
    """Give the valid samples zero mean and unit variance: (B, N), (B,) -> (B, N); padding stays zero."""
    mask = frame_mask(signal.unsqueeze(2), n_samples)[..., 0]
    n_valid = mask.sum(1, keepdim=True)
    centered = (signal - (signal * mask).sum(1, keepdim=True) / n_valid) * mask
    return centered * torch.rsqrt(centered.square().sum(1, keepdim=True) / n_valid + _VARIANCE_EPSILON)


def _encoder_class(model_type: str) -> type[HubEncoder]:
    if model_type == "wavlm":
        return WavlmEncoder
    if model_type in CONVOLUTIONAL:
        return ConvolutionalEncoder
    return FbankEncoder if model_type in FBANK else HubWhisperEncoder


def _check_config(files: EncoderFiles, config: Any) -> None:
    """Refuse encoders with another number of steps per second, or with parts that kanjo does not know."""
    problem = ""
    if files.model_type in CONVOLUTIONAL:
        steps_per_second = files.sample_rate / float(np.prod(config.conv_stride))
        if steps_per_second != STEPS_PER_SECOND:
            problem = f"it has {steps_per_second:g} steps per second; expected an encoder with {STEPS_PER_SECOND}"
        elif any(kernel < stride for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True)):
            problem = "a convolution skips samples; expected kernels at least as long as their strides"
        elif getattr(config, "conv_pos_batch_norm", False):
            problem = "it has conv_pos_batch_norm, which kanjo does not support; expected weight normalization"
    elif files.model_type in FBANK:
        stride, n_inputs = files.preprocessor.get("stride", 2), config.feature_projection_input_dim
        if (stride, n_inputs) != (2, 160):
            problem = f"{n_inputs} inputs with a stride of {stride} frames; expected 160 inputs and a stride of 2"
        elif config.position_embeddings_type != "relative_key":
            problem = f"position embeddings of type {config.position_embeddings_type}; expected relative_key"
    if problem:
        raise RecipeError(f"model.source {files.source}: {problem}")


def _check_features(files: EncoderFiles, config: Any, feature_extractor: nn.Module, n_frames: int) -> None:
    """Raise ValueError unless the features are those that an encoder needs."""
    source, rate = files.source, files.sample_rate
    if files.model_type in (*CONVOLUTIONAL, *FBANK):
        if isinstance(feature_extractor, LogMel):
            raise ValueError(f"{source} needs features.type waveform, without other keys, and audio.sample_rate {rate}")
        return
    is_whispers_input = (
        isinstance(feature_extractor, LogMel)
        and feature_extractor.normalization == "whisper"
        and (feature_extractor.sample_rate, feature_extractor.n_mels) == (rate, config.num_mel_bins)
        and feature_extractor.power.hop_length == HOP_LENGTH
    )
    if not is_whispers_input:
        raise ValueError(
            f"{source} needs audio.sample_rate {rate}, features.type log-mel, features.normalization whisper, "
            f"features.n_fft 400, features.n_mels {config.num_mel_bins} and features.hop_length {HOP_LENGTH}"
        )
    if n_frames > 2 * config.max_source_positions:
        raise ValueError(f"{source} needs audio.window_s of at most {config.max_source_positions / STEPS_PER_SECOND:g}")
