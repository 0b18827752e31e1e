"""PyTorch layers whose weights and activations are signs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from bitconv.errors import InputError
from bitconv.scales import ScaleSharing

Mode = Literal["xnor", "bwn"]
ActivationScale = Literal["none", "map", "constant"]

PER_FILTER = "1xI"
MOMENTUM = 0.1  # of the running mean of |x|, as batch norm's


# --- Signs and their gradients ---------------------------------------------------------------


def sign(x: Tensor) -> Tensor:
    """Sign of `x`, +1 at zero; the gradient passes where ``|x| <= 1``.

    The straight-through estimate of XNOR-Net (Rastegari et al., arXiv 1603.05279, section 3.1).
    """
    clamped = x.clamp(-1.0, 1.0)
    return clamped + (_signs(x) - clamped).detach()


def approximate_sign(x: Tensor) -> Tensor:
    """Sign of `x`, +1 at zero, with the gradient of Bi-Real Net's ``approx_sign``.

    The backward pass uses ``2 - 2|x|`` inside ``[-1, 1]`` and 0 outside
    (Liu et al., arXiv 1808.00278, section 3.3).
    """
    clamped = x.clamp(-1.0, 1.0)
    smooth = clamped * (2.0 - clamped.abs())
    return smooth + (_signs(x) - smooth).detach()


def _signs(x: Tensor) -> Tensor:
    return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)


class BinarySign(nn.Module):
    """``sign(x - threshold)`` with one learned threshold a channel.

    Parameters
    ----------
    channels : int
        Channels of the input: maps (N, channels, height, width), or vectors (N, channels); N may
        be left out.
    device, dtype
        As for ``nn.Conv2d``.
    """

    def __init__(self, channels: int, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.zeros(channels, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        threshold = self.threshold if x.dim() <= 2 else self.threshold.view(-1, 1, 1)
        return approximate_sign(x - threshold)

    def extra_repr(self) -> str:
        return f"{len(self.threshold)}"


# --- Shared scales ---------------------------------------------------------------------------


def group_means(weight: Tensor, sharing: ScaleSharing) -> Tensor:
    """The grid of scales: the mean of |W| over each group of filters and channels.

    It is the best α for ``W ≈ α ⊙ sign(W)`` (arXiv 2005.09034). Autograd gives its exact gradient:
    each weight of a group of n gets ``sign(W) / n`` of the gradient of their α.

    Parameters
    ----------
    weight : Tensor of shape (O, I, ...)
    sharing : ScaleSharing

    Returns
    -------
    Tensor of the shape that ``sharing.grid_shape(O, I)`` gives
    """
    filters, channels = weight.shape[:2]
    down, across = sharing.steps(filters, channels)
    rows, columns = sharing.grid_shape(filters, channels)
    missing = rows * down - filters, columns * across - channels  # from the last, ragged groups
    magnitudes = torch.where(weight >= 0, weight, -weight)  # |W|, with the slope sign(0) = +1
    # float16 ends at 65,504, which sums and sizes of groups exceed
    wide = torch.promote_types(weight.dtype, torch.float32)
    totals = magnitudes.reshape(filters, channels, -1).sum(dim=2, dtype=wide)
    filled = functional.pad(totals, (0, missing[1], 0, missing[0]))
    sums = filled.view(rows, down, columns, across).sum(dim=(1, 3))
    heights, widths = sums.new_full((rows, 1), down), sums.new_full((1, columns), across)
    heights[-1] -= missing[0]
    widths[:, -1] -= missing[1]
    return (sums / (heights * widths * weight[0, 0].numel())).to(weight.dtype)


class BinaryLayer(nn.Module, ABC):
    """What `BinaryConv2d` and `BinaryLinear` have in common: all but the sum itself.

    ``y = (sign(x) · sign(W)) · α · K + bias`` in mode ``"xnor"``, where K may be left out, and
    ``y = (x · sign(W)) · α + bias`` in mode ``"bwn"``, with the sums that `multiply` gives.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None
    activation_mean: Tensor

    def _set_up(
        self, mode: Mode, scale: str | ScaleSharing, activation_scale: ActivationScale
    ) -> None:
        if not self.weight.numel():
            raise InputError(f"a layer needs weights, found the shape {tuple(self.weight.shape)}")
        if mode not in get_args(Mode):
            raise InputError(f"mode takes {_either(Mode)}, found {mode!r}")
        if activation_scale not in get_args(ActivationScale):
            raise InputError(
                f"activation_scale takes {_either(ActivationScale)}, found {activation_scale!r}"
            )
        if mode == "bwn" and activation_scale != "none":
            raise InputError(
                f"activation_scale={activation_scale!r} scales signs, the activations of mode "
                "'bwn' are floats"
            )
        self.mode: Mode = mode
        self.scale = ScaleSharing.of(scale)
        self.activation_scale: ActivationScale = activation_scale
        if activation_scale == "constant":
            self.register_buffer("activation_mean", self.weight.new_ones(()))

    @abstractmethod
    def multiply(self, x: Tensor, weight: Tensor) -> Tensor:
        """The sums of products of `x` and a weight of this layer's shape."""

    @abstractmethod
    def activation_map(self, x: Tensor) -> Tensor:
        """K: the mean of |x| over what each sum covers, in a shape that multiplies the sums."""

    @abstractmethod
    def by_filter(self, values: Tensor) -> Tensor:
        """One value a filter, shape (O,), in a shape that multiplies the sums."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.multiply(sign(x) if self.mode == "xnor" else x, self.binary_weight())
        # Scaled last, as the engine does: sums of signs are exact in float32, sums of ±α are not.
        # Under autocast the sums decide the type, as those of PyTorch's own layers do.
        if not self.scaled_apart():
            y = y * self.by_filter(self.filter_scales()).to(y.dtype)
        if self.activation_scale == "map":
            y = y * self.activation_map(x).to(y.dtype)
        elif self.activation_scale == "constant":
            y = y * self.activation_constant(x).to(y.dtype)
        return y if self.bias is None else y + self.by_filter(self.bias).to(y.dtype)

    def scales(self) -> Tensor:
        """The grid α, of the shape that `scale` gives a layer of this size."""
        return group_means(self.weight, self.scale)

    def scaled_apart(self) -> bool:
        """Whether α differs by input channel, so that it cannot be applied to whole sums."""
        return self.scale.grid_shape(*self.weight.shape[:2])[1] > 1

    def binary_weight(self) -> Tensor:
        """The weight that the input meets: its signs, scaled already where `scaled_apart`."""
        signs = sign(self.weight)
        if not self.scaled_apart():
            return signs
        filters, channels = self.weight.shape[:2]
        down, across = self.scale.steps(filters, channels)
        alpha = self.scales().repeat_interleave(down, 0).repeat_interleave(across, 1)
        taps = [1] * (self.weight.dim() - 2)
        return signs * alpha[:filters, :channels].reshape(filters, channels, *taps)

    def filter_scales(self) -> Tensor:
        """One scale a filter, shape (O,), for sums that are not `scaled_apart`."""
        filters, channels = self.weight.shape[:2]
        down, _ = self.scale.steps(filters, channels)
        return self.scales()[:, 0].repeat_interleave(down)[:filters]

    @torch.no_grad()
    def sums_of_signs(self, x: Tensor) -> list[Tensor]:
        """The integers of mode ``"xnor"``: for each run of input channels that share a scale, the
        sums of ``sign(x) · sign(W)`` over it, before any scale.
        """
        filters, channels = self.weight.shape[:2]
        _, across = self.scale.steps(filters, channels)
        sums = []
        for first in range(0, channels, across):
            weight = torch.zeros_like(self.weight)
            weight[:, first : first + across] = sign(self.weight[:, first : first + across])
            sums.append(self.multiply(sign(x), weight))
        return sums

    def activation_constant(self, x: Tensor) -> Tensor:
        """The mean of |x|: of the batch in training, its running mean in evaluation."""
        if not self.training or not x.numel():
            return self.activation_mean
        mean = x.abs().mean()
        with torch.no_grad():
            self.activation_mean.lerp_(mean.to(self.activation_mean), MOMENTUM)
        return mean

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        if self.activation_scale == "constant":  # which a layer of PyTorch's own does not have
            state_dict.setdefault(f"{prefix}activation_mean", self.activation_mean)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    @torch.no_grad()
    def clamp_weight(self) -> None:
        """Keep the latent weights within ``[-1, 1]``; call after each optimizer step."""
        self.weight.clamp_(-1.0, 1.0)

    def extra_repr(self) -> str:
        parts = [super().extra_repr(), f"mode={self.mode}, scale={self.scale}"]
        if self.activation_scale != "none":
            parts.append(f"activation_scale={self.activation_scale}")
        return ", ".join(parts)


def _either(choices: Any) -> str:
    return " or ".join(map(repr, get_args(choices)))


def clamp_weights(module: nn.Module) -> None:
    """Keep the latent weights of every binary layer of `module` within ``[-1, 1]``.

    Outside, no gradient passes the sign, and a weight would hardly come back. Call after each
    optimizer step.
    """
    for layer in module.modules():
        if isinstance(layer, BinaryLayer):
            layer.clamp_weight()


# --- Layers ----------------------------------------------------------------------------------


class BinaryConv2d(BinaryLayer, nn.Conv2d):
    """``nn.Conv2d`` with weights ``α ⊙ sign(W)``, α shared over a grid of scales.

    ``y = (sign(x) ⊛ sign(W)) · α · K + bias`` in mode ``"xnor"``, where zero-padded taps add
    nothing, and ``y = (x ⊛ sign(W)) · α + bias`` in mode ``"bwn"`` (arXiv 1603.05279; shared α:
    2005.09034).

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, \
    device, dtype
        As for ``nn.Conv2d``.
    mode : {"xnor", "bwn"}
        Binary activations (the layer takes the sign of its input), or float activations.
    scale : str or ScaleSharing
        Which filters and channels share a scale: ``"1xI"`` one a filter, ``"16xI"`` one for 16
        adjacent filters, ``"1x8"`` one for 8 adjacent slices of a filter, ``"OxI"`` one a layer.
    activation_scale : {"none", "map", "constant"}
        K in mode ``"xnor"``: left out; the mean of |x| over channels and window; or one number, the
        mean of |x| that training saw.

    Raises
    ------
    InputError
        Where mode, scale or activation_scale is none of these.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        *,
        mode: Mode = "xnor",
        scale: str | ScaleSharing = PER_FILTER,
        activation_scale: ActivationScale = "none",
    ) -> None:
        geometry: Any = (stride, padding, dilation, groups, bias, padding_mode, device, dtype)
        super().__init__(in_channels, out_channels, kernel_size, *geometry)
        self._set_up(mode, scale, activation_scale)

    def multiply(self, x: Tensor, weight: Tensor) -> Tensor:
        return self._conv_forward(x, weight, None)

    def activation_map(self, x: Tensor) -> Tensor:
        """K: the mean of |x| over the channels of each group and the window (section 3.2)."""
        mean = x.abs().unflatten(-3, (self.groups, -1)).mean(dim=-3)
        box = mean.new_full((self.groups, 1, *self.kernel_size), 1 / self.weight[0, 0].numel())
        window_mean = self._conv_forward(mean, box, None)
        return window_mean.repeat_interleave(self.out_channels // self.groups, dim=-3)

    def by_filter(self, values: Tensor) -> Tensor:
        return values.view(-1, 1, 1)


class BinaryLinear(BinaryLayer, nn.Linear):
    """``nn.Linear`` with weights ``α ⊙ sign(W)``, α shared over a grid of scales.

    Parameters
    ----------
    in_features, out_features, bias, device, dtype
        As for ``nn.Linear``.
    mode, scale, activation_scale
        As for `BinaryConv2d`; the map K is one mean of |x| a row.

    Raises
    ------
    InputError
        Where mode, scale or activation_scale is none of these.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        mode: Mode = "xnor",
        scale: str | ScaleSharing = PER_FILTER,
        activation_scale: ActivationScale = "none",
    ) -> None:
        super().__init__(in_features, out_features, bias, device, dtype)
        self._set_up(mode, scale, activation_scale)

    def multiply(self, x: Tensor, weight: Tensor) -> Tensor:
        return functional.linear(x, weight)

    def activation_map(self, x: Tensor) -> Tensor:
        return x.abs().mean(dim=-1, keepdim=True)

    def by_filter(self, values: Tensor) -> Tensor:
        return values
