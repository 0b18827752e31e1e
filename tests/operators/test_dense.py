"""Dense layers against a matrix product."""

import numpy as np
import pytest
from oracles import random_float32, random_signs

from bitconv.bits import BitArray
from bitconv.errors import GraphError
from bitconv.graph import TensorType
from bitconv.operators import BinaryDense, Dense
from bitconv.scales import ScaleGrid

SIZES = [(1, 1), (3, 63), (10, 64), (7, 65), (2, 130), (1, 1000)]


@pytest.mark.parametrize(("outputs", "inputs"), SIZES)
@pytest.mark.parametrize("with_bias", [False, True])
def test_a_dense_layer_is_a_matrix_product(outputs, inputs, with_bias):
    rng = np.random.default_rng(outputs)
    weight, vectors = random_float32(rng, outputs, inputs), random_float32(rng, 5, inputs)
    bias = random_float32(rng, outputs) if with_bias else None
    expected = vectors.astype(np.float64) @ weight.astype(np.float64).T
    if bias is not None:
        expected += bias
    operator = Dense(weight, bias)
    result = operator.reference(vectors)
    assert operator.infer(TensorType((inputs,))) == TensorType((outputs,))
    assert (result.shape, result.dtype) == ((5, outputs), np.float32)
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-6)


def test_a_dense_layer_equals_pytorch(torch):
    rng = np.random.default_rng(1)
    weight, bias = random_float32(rng, 10, 130), random_float32(rng, 10)
    vectors = random_float32(rng, 4, 130)
    expected = torch.nn.functional.linear(*map(torch.from_numpy, (vectors, weight, bias)))
    np.testing.assert_allclose(Dense(weight, bias).reference(vectors), expected, atol=1e-4)


@pytest.mark.parametrize(("outputs", "inputs"), SIZES)
def test_a_binary_dense_layer_is_an_exact_product_of_signs(outputs, inputs):
    rng = np.random.default_rng(outputs)
    weight, vectors = random_signs(rng, (outputs, inputs)), random_signs(rng, (5, inputs))
    operator = BinaryDense(BitArray.from_signs(weight))
    result = operator.reference(vectors)
    assert operator.infer(TensorType((inputs,), "bits")) == TensorType((outputs,), "int32")
    assert result.dtype == np.int32
    np.testing.assert_array_equal(result, vectors.astype(int) @ weight.T.astype(int))


@pytest.mark.parametrize("sharing", [(1, 70), (3, 70), (1, 1), (4, 32), (10, 70)])
def test_a_scaled_binary_dense_layer_is_a_product_with_scaled_signs(sharing):
    rng = np.random.default_rng(2)
    weight, vectors = random_signs(rng, (10, 70)), random_signs(rng, (5, 70))
    grid = ScaleGrid(random_float32(rng, -(-10 // sharing[0]), -(-70 // sharing[1])), *sharing)
    bias = random_float32(rng, 10)
    alpha = np.array(
        [[grid.values[o // sharing[0], i // sharing[1]] for i in range(70)] for o in range(10)]
    )
    operator = BinaryDense(BitArray.from_signs(weight), grid, bias, 0.5)
    result = operator.reference(vectors)
    assert operator.infer(TensorType((70,), "bits")) == TensorType((10,), "float32")
    assert result.dtype == np.float32
    expected = vectors @ (alpha * weight).T.astype(np.float64) * 0.5 + bias
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


BITS = BitArray.from_bits(np.zeros((4, 9), bool))


@pytest.mark.parametrize(
    ("operator", "arguments", "message"),
    [
        (Dense, {"weight": np.ones((2, 3, 1))}, "shape \\(outputs, inputs\\), found \\(2, 3, 1\\)"),
        (Dense, {"weight": np.ones((0, 3))}, "found \\(0, 3\\)"),
        (Dense, {"weight": np.ones((2, 3)), "bias": [1.0]}, "bias has shape \\(1,\\)"),
        (BinaryDense, {"weight": BitArray((4,), np.zeros(1, np.uint8))}, "found \\(4,\\)"),
        (BinaryDense, {"weight": BITS, "bias": [1.0]}, "bias has shape \\(1,\\)"),
        (BinaryDense, {"weight": BITS, "scale": ScaleGrid([[1.0]], 1, 9)}, "need the grid"),
        (BinaryDense, {"weight": BITS, "activation_scale": np.inf}, "must be finite"),
        (BinaryDense, {"weight": BitArray((4, 4), np.zeros(4, np.uint8), 2)}, "2 bit planes"),
    ],
)
def test_a_layer_that_does_not_fit_is_refused(operator, arguments, message):
    with pytest.raises(GraphError, match=f"{operator.name}: .*{message}"):
        operator(**arguments)


@pytest.mark.parametrize("operator", [Dense(np.ones((4, 9))), BinaryDense(BITS)])
def test_a_map_has_to_be_flattened_first(operator):
    with pytest.raises(GraphError, match="flatten it first"):
        operator.infer(TensorType((3, 3, 1), "bits"))


def test_a_vector_of_another_length_is_refused():
    with pytest.raises(GraphError, match="takes 9 channels, found 1 × 1 × 8 bits"):
        BinaryDense(BITS).infer(TensorType((8,), "bits"))
