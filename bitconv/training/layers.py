"""PyTorch layers whose weights and activations are signs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def binarize_activation(x: Tensor) -> Tensor:
    """Sign of `x` (+1 at zero), with the gradient of Bi-Real Net's ``approx_sign``.

    The backward pass uses ``2 - 2|x|`` inside ``[-1, 1]`` and 0 outside
    (Liu et al., arXiv 1808.00278, section 3.3).
    """
    clamped = x.clamp(-1.0, 1.0)
    smooth = clamped * (2.0 - clamped.abs())
    return smooth + (torch.where(x >= 0, 1.0, -1.0) - smooth).detach()


def binarize_weight(weight: Tensor) -> Tensor:
    """Sign of `weight` (+1 at zero); the gradient passes where ``|weight| <= 1``."""
    clamped = weight.clamp(-1.0, 1.0)
    return clamped + (torch.where(weight >= 0, 1.0, -1.0) - clamped).detach()


class BinarySign(nn.Module):
    """``sign(x - threshold)`` with one learned threshold a channel.

    Parameters
    ----------
    channels : int
        Channels of the NCHW input.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return binarize_activation(x - self.threshold.view(-1, 1, 1))


class BinaryConv2d(nn.Module):
    """A convolution with weights ``α ⊙ sign(W)``, α shared among adjacent filters.

    α of a group of `filters_per_scale` adjacent filters is the mean of |W| over
    the group (arXiv 2005.09034). Its gradient flows into W, so the gradient of
    the group is exact up to the straight-through estimate of the sign.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int
    stride, padding : int
        Padded taps add nothing.
    filters_per_scale : int
        Adjacent filters that share one scale.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        filters_per_scale: int = 1,
    ) -> None:
        super().__init__()
        self.stride, self.padding, self.filters_per_scale = stride, padding, filters_per_scale
        shape = (out_channels, in_channels, kernel_size, kernel_size)
        self.weight = nn.Parameter(torch.empty(shape))
        nn.init.kaiming_normal_(self.weight)

    def filter_scales(self) -> Tensor:
        """The scale of every filter, shape (out_channels,); equal within a group."""
        groups = torch.split(self.weight.abs().mean(dim=(1, 2, 3)), self.filters_per_scale)
        return torch.cat([group.mean().expand(len(group)) for group in groups])

    def forward(self, x: Tensor) -> Tensor:
        # Scaled last, as the engine does: sums of signs are exact in float32, sums of ±α are not.
        sums = functional.conv2d(x, binarize_weight(self.weight), None, self.stride, self.padding)
        return sums * self.filter_scales().view(-1, 1, 1)

    @torch.no_grad()
    def clamp_weight(self) -> None:
        """Keep the latent weights within ``[-1, 1]``; call after each optimizer step."""
        self.weight.clamp_(-1.0, 1.0)
