"""BinaryConv2d of signs against its definition in plain Python, SciPy and PyTorch."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import GRID, Geometry, correlate, geometries, random_float32, random_signs

from bitconv.bits import BitArray, pack_words
from bitconv.errors import GraphError
from bitconv.graph import TensorType
from bitconv.operators import ActivationScaleMap, BinaryConv2d
from bitconv.scales import ScaleGrid

PAD_VALUES = (0, 1, -1)


def random_case(geometry: Geometry, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return random_signs(rng, geometry.weight_shape), random_signs(rng, (2, *geometry.map_shape))


def dots_by_definition(maps, weight, geometry: Geometry, pad_value: int) -> np.ndarray:
    """n − 2·popcount(a XOR w) over the words of every tap, one tap and output at a time."""
    n, height, width, _ = maps.shape
    filters, kernel_height, kernel_width, channels = weight.shape
    weight_words = pack_words(weight < 0).tolist()
    map_words = pack_words(maps.reshape(n, height, width, geometry.groups, channels) < 0).tolist()
    outside = pack_words(np.full(channels, pad_value < 0)).tolist()

    def tap(image: int, row: int, column: int, group: int, words: list[int]) -> int:
        inside = 0 <= row < height and 0 <= column < width
        if not inside and pad_value == 0:
            return 0
        activation = map_words[image][row][column][group] if inside else outside
        differing = sum((a ^ w).bit_count() for a, w in zip(activation, words, strict=True))
        return channels - 2 * differing

    def dot(image: int, row: int, column: int, filter_: int) -> int:
        return sum(
            tap(
                image,
                row * geometry.stride[0] + y * geometry.dilation[0] - geometry.padding[0],
                column * geometry.stride[1] + x * geometry.dilation[1] - geometry.padding[1],
                filter_ // geometry.group_filters,
                weight_words[filter_][y][x],
            )
            for y, x in product(range(kernel_height), range(kernel_width))
        )

    rows, columns = output_size(geometry)
    places = product(range(n), range(rows), range(columns), range(filters))
    return np.reshape([dot(*place) for place in places], (n, rows, columns, filters))


def output_size(geometry: Geometry) -> tuple[int, int]:
    return tuple(
        len(
            range(
                0,
                size + before + after - (kernel - 1) * dilation,
                stride,
            )
        )
        for size, before, after, kernel, dilation, stride in zip(
            (geometry.height, geometry.width),
            geometry.padding[:2],
            geometry.padding[2:],
            geometry.kernel,
            geometry.dilation,
            geometry.stride,
            strict=True,
        )
    )


def assert_equals_definition(geometry: Geometry, pad_value: int, seed: int) -> None:
    weight, maps = random_case(geometry, seed)
    operator = BinaryConv2d(
        weight=BitArray.from_signs(weight), pad_value=pad_value, **geometry.options
    )
    result = operator.reference(maps)
    inferred = operator.infer(TensorType(geometry.map_shape, "bits"))
    assert (result.shape[1:], result.dtype, inferred.kind) == (inferred.shape, np.int32, "int32")
    np.testing.assert_array_equal(result, dots_by_definition(maps, weight, geometry, pad_value))


@pytest.mark.parametrize("pad_value", PAD_VALUES)
@pytest.mark.parametrize("geometry", GRID, ids=str)
def test_the_dot_product_is_n_minus_twice_the_differing_bits(geometry, pad_value):
    assert_equals_definition(geometry, pad_value, seed=0)


@given(geometries(), st.sampled_from(PAD_VALUES), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_the_dot_product_is_by_definition_on_any_geometry(geometry, pad_value, seed):
    assert_equals_definition(geometry, pad_value, seed)


@pytest.mark.parametrize("pad_value", PAD_VALUES)
@pytest.mark.parametrize("geometry", GRID, ids=str)
def test_the_dot_product_equals_scipy(geometry, pad_value):
    weight, maps = random_case(geometry, 1)
    operator = BinaryConv2d(
        weight=BitArray.from_signs(weight), pad_value=pad_value, **geometry.options
    )
    np.testing.assert_array_equal(
        operator.reference(maps), correlate(maps, weight, geometry, pad_value)
    )


@pytest.mark.parametrize("pad_value", PAD_VALUES)
@pytest.mark.parametrize("geometry", GRID, ids=str)
def test_the_dot_product_equals_pytorch(torch, geometry, pad_value):
    weight, maps = random_case(geometry, 2)
    top, left, bottom, right = geometry.padding
    source = torch.from_numpy(maps).float().permute(0, 3, 1, 2)
    expected = torch.nn.functional.conv2d(
        torch.nn.functional.pad(source, (left, right, top, bottom), value=pad_value),
        torch.from_numpy(weight).float().permute(0, 3, 1, 2),
        None,
        geometry.stride,
        0,
        geometry.dilation,
        geometry.groups,
    ).permute(0, 2, 3, 1)
    operator = BinaryConv2d(
        weight=BitArray.from_signs(weight), pad_value=pad_value, **geometry.options
    )
    np.testing.assert_array_equal(operator.reference(maps), expected.numpy())


def test_zero_padding_adds_nothing():
    weight = BitArray.from_signs(np.ones((1, 3, 3, 5)))
    result = BinaryConv2d(weight=weight, padding=1).reference(np.ones((1, 3, 3, 5), np.int8))
    assert result[0, :, :, 0].tolist() == [[20, 30, 20], [30, 45, 30], [20, 30, 20]]


# --- What follows the dot product: α, the constant, K, the bias, one float32 rounding each --------

SCALED = Geometry(
    5, 4, (3, 2), (2, 1), padding=(1, 0, 1, 2), groups=2, group_channels=7, group_filters=5
)
SHARINGS = {
    "a scale a filter": (1, 7),
    "shared by adjacent filters": (5, 7),
    "shared by filters of two groups": (4, 7),
    "a scale a slice": (1, 1),
    "shared by adjacent slices": (1, 3),
    "shared by both": (3, 4),
    "one for the layer": (10, 7),
    "groups larger than the layer": (64, 64),
}


def random_grid(rng, geometry: Geometry, sharing: tuple[int, int]) -> ScaleGrid:
    filters, *_, channels = geometry.weight_shape
    shape = -(-filters // sharing[0]), -(-channels // sharing[1])
    return ScaleGrid(random_float32(rng, *shape), *sharing)  # negative ones too


def rescaled_by_definition(weight, maps, operator: BinaryConv2d, geometry, activation_scales):
    """Element by element in float32 scalars, in the order that the docstring gives."""
    channels = weight.shape[-1]
    grid = operator.scale
    step = channels if grid is None else grid.channels_per_scale
    runs = [slice(first, first + step) for first in range(0, channels, step)]
    parts = []
    for run in runs:
        kept = np.zeros(channels)
        kept[run] = 1
        parts.append(correlate(maps, weight * kept, geometry, operator.pad_value))
    result = np.empty(parts[0].shape, np.float32)
    for place in np.ndindex(result.shape):
        filter_ = place[-1]
        total = None
        for index, part in enumerate(parts):
            term = np.float32(part[place])
            if grid is not None:
                term = np.float32(term * grid.values[filter_ // grid.filters_per_scale, index])
            total = term if total is None else np.float32(total + term)
        if operator.activation_scale != 1:
            total = np.float32(total * np.float32(operator.activation_scale))
        if activation_scales is not None:
            group = filter_ // geometry.group_filters
            total = np.float32(total * activation_scales[(*place[:-1], group)])
        if operator.bias is not None:
            total = np.float32(total + operator.bias[filter_])
        result[place] = total
    return result


def assert_equals_rescaling(seed, sharing, pad_value, constant, with_map, with_bias):
    rng = np.random.default_rng(seed)
    weight, maps = random_case(SCALED, seed)
    operator = BinaryConv2d(
        weight=BitArray.from_signs(weight),
        scale=None if sharing is None else random_grid(rng, SCALED, sharing),
        bias=random_float32(rng, len(weight)) if with_bias else None,
        activation_scale=constant,
        pad_value=pad_value,
        **SCALED.options,
    )
    inputs, types = [maps], [TensorType(SCALED.map_shape, "bits")]
    if with_map:
        inputs.append(random_float32(rng, 2, *output_size(SCALED), SCALED.groups))
        types.append(TensorType(inputs[1].shape[1:]))
    result = operator.reference(*inputs)
    assert operator.infer(*types) == TensorType(result.shape[1:], "float32")
    assert result.dtype == np.float32
    np.testing.assert_array_equal(
        result,
        rescaled_by_definition(weight, maps, operator, SCALED, inputs[1] if with_map else None),
    )


@pytest.mark.parametrize("pad_value", PAD_VALUES)
@pytest.mark.parametrize("sharing", SHARINGS.values(), ids=SHARINGS.keys())
def test_every_kind_of_scale_grid_multiplies_its_own_partial_sums(sharing, pad_value):
    assert_equals_rescaling(0, sharing, pad_value, 1.0, with_map=False, with_bias=False)


FOLLOWING = [
    case
    for case in product([None, (4, 7), (3, 4)], [1.0, 0.3, -2.7], [False, True], [False, True])
    if case != (None, 1.0, False, False)  # the dot product alone, which is tested above
]


@pytest.mark.parametrize(("sharing", "constant", "with_map", "with_bias"), FOLLOWING)
def test_constant_map_and_bias_follow_the_scale_in_float32(sharing, constant, with_map, with_bias):
    assert_equals_rescaling(1, sharing, 0, constant, with_map, with_bias)


@given(
    st.integers(0, 10**6),
    st.tuples(st.integers(1, 12), st.integers(1, 9)),
    st.sampled_from(PAD_VALUES),
)
@settings(max_examples=25, deadline=None)
def test_any_sharing_is_rescaled_by_definition(seed, sharing, pad_value):
    assert_equals_rescaling(seed, sharing, pad_value, 0.7, with_map=True, with_bias=True)


def test_a_scaled_convolution_is_the_float_convolution_with_scaled_signs():
    rng = np.random.default_rng(3)
    weight, maps = random_case(SCALED, 3)
    grid = random_grid(rng, SCALED, (3, 2))
    alpha = np.empty((10, 7))
    for filter_, channel in np.ndindex(alpha.shape):
        alpha[filter_, channel] = grid.values[filter_ // 3, channel // 2]
    operator = BinaryConv2d(weight=BitArray.from_signs(weight), scale=grid, **SCALED.options)
    expected = correlate(maps, weight * alpha[:, None, None, :], SCALED)
    np.testing.assert_allclose(operator.reference(maps), expected, rtol=1e-5, atol=1e-5)


def test_the_map_of_an_activation_scale_map_fits_its_convolution():
    rng = np.random.default_rng(4)
    weight, maps = random_case(SCALED, 4)
    operator = BinaryConv2d(weight=BitArray.from_signs(weight), **SCALED.options)
    scales = ActivationScaleMap(SCALED.kernel, **SCALED.options)
    values = random_float32(rng, 2, *SCALED.map_shape)
    kind = operator.infer(
        TensorType(SCALED.map_shape, "bits"), scales.infer(TensorType(SCALED.map_shape))
    )
    result = operator.reference(maps, scales.reference(values))
    assert result.shape[1:] == kind.shape


def test_rescaling_beyond_float32_is_infinite_without_a_warning():
    operator = BinaryConv2d(
        weight=BitArray.from_signs(np.ones((1, 1, 1, 9))), scale=ScaleGrid([[3e38]], 1, 9)
    )
    assert operator.reference(np.ones((1, 1, 1, 9), np.int8)).item() == np.inf


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pad_value": 2}, "pad_value takes 0, 1 or -1, found 2"),
        ({"weight": np.ones((4, 3, 3, 2))}, "weight takes signs, a BitArray, found ndarray"),
        ({"weight": BitArray((4, 3, 3, 2), np.zeros(18, np.uint8), 2)}, "2 bit planes"),
        ({"weight": BitArray.from_bits(np.zeros((4, 9), bool))}, "found \\(4, 9\\)"),
        ({"scale": np.ones((4, 1))}, "scale takes a ScaleGrid, found ndarray"),
        ({"scale": ScaleGrid([[1.0]], 1, 2)}, "need the grid \\(4, 1\\), found \\(1, 1\\)"),
        ({"bias": [1.0]}, "bias has shape"),
        ({"activation_scale": np.inf}, "activation_scale must be finite"),
        ({"activation_scale": 1e39}, "activation_scale takes a number of the range of float32"),
    ],
)
def test_what_does_not_fit_a_binary_convolution_is_refused(changes, message):
    weight = BitArray.from_bits(np.zeros((4, 3, 3, 2), bool))
    with pytest.raises(GraphError, match=f"binary_conv2d: .*{message}"):
        BinaryConv2d(**{"weight": weight, **changes})


def test_a_filter_too_long_for_exact_float32_is_refused():
    weight = BitArray((1, 1, 1, 2**24 + 1), np.zeros(2**21 + 1, np.uint8))
    with pytest.raises(GraphError, match="a filter has 16777217 weights, at most 16777216"):
        BinaryConv2d(weight=weight)


def test_a_map_of_activation_scales_of_another_size_is_refused():
    operator = BinaryConv2d(weight=BitArray.from_bits(np.zeros((4, 3, 3, 2), bool)), groups=2)
    with pytest.raises(GraphError, match="activation scales must be \\(3, 3, 2\\)"):
        operator.infer(TensorType((5, 5, 4), "bits"), TensorType((3, 3, 1)))


def test_a_binary_convolution_takes_only_single_plane_bits():
    operator = BinaryConv2d(weight=BitArray.from_bits(np.zeros((4, 1, 1, 2), bool)))
    with pytest.raises(GraphError, match="takes one bit plane"):
        operator.infer(TensorType((5, 5, 2), "bits", 3))
