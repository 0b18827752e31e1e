"""ONNX operators that look at one element at a time.

On levels, that is on the outcome of a comparison, each is computed outright: a function of a step
is a step. On numbers it becomes an operator, or the comparison itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.convert.onnx import affine
from bitconv.convert.onnx.context import Context, Operand, Rule
from bitconv.convert.onnx.reading import OnnxNode
from bitconv.convert.onnx.values import Padding, Value, uniform, without_batch
from bitconv.errors import UnsupportedError
from bitconv.operators import Add, Clip, PRelu, Relu

Function = Callable[..., Any]
INTEGERS = tuple(np.dtype(f"{kind}{size}") for kind in "iu" for size in (1, 2, 4, 8))
ONE = np.ones(1, np.float32)


def elementwise(context: Context, node: OnnxNode, inputs: list[Operand | None]) -> Value:
    """Any operator of this module."""
    function = _function(context, node, inputs)
    operands = [each for each in inputs if each is not None]
    variables = [each for each in operands if isinstance(each, Value)]
    _check_shapes(variables, operands)
    straight = _straight_through(context, node, operands)
    if straight is not None:
        return straight
    bare, padding = _common_padding(variables, operands, function)
    if padding is None and any(each.padding for each in variables):
        operands = [
            context.unpadded(each) if isinstance(each, Value) else each for each in operands
        ]
    elif padding is not None:
        operands = bare
    variables = [each for each in operands if isinstance(each, Value)]
    first = variables[0]
    if first.levels and all(first.same_base(each) for each in variables):
        result = _on_levels(first, operands, function)
    else:
        result = _on_numbers(context, node, operands)
    return replace(result, padding=padding)


def _on_numbers(context: Context, node: OnnxNode, operands: list[Operand]) -> Value:
    rule = ON_NUMBERS.get(node.operator)
    if rule is None:
        raise UnsupportedError("is not known of numbers that differ by image")
    result: Value = rule(context, node, operands)
    return _checked_integers(context, result)


def _check_shapes(variables: list[Value], operands: list[Operand]) -> None:
    """Every tensor must have the shape of the result."""
    shape = variables[0].shape
    for each in operands:
        if isinstance(each, Value):
            fits = each.shape == shape
        else:
            array = without_batch(each, len(shape))
            try:
                fits = array is not None and np.broadcast_shapes(array.shape, shape) == shape
            except ValueError:
                fits = False
        if not fits:
            raise UnsupportedError(
                f"tensors of different shapes, {list(each.shape)} and {list(shape)}, without batch"
            )


def _common_padding(
    variables: list[Value], operands: list[Operand], function: Function
) -> tuple[list[Operand], Padding | None]:
    """The operands without padding, and the padding of the result, where there is a common one."""
    paddings = [each.padding for each in variables]
    first = paddings[0]
    if first is None or any(
        each is None or (each.before, each.after) != (first.before, first.after)
        for each in paddings
    ):
        return operands, None
    numbers = [
        np.asarray(each.padding.value, _dtype(each))
        if isinstance(each, Value) and each.padding is not None
        else each
        for each in operands
    ]
    value = uniform(np.asarray(function(*numbers)))
    if value is None:
        return operands, None
    bare = [replace(each, padding=None) if isinstance(each, Value) else each for each in operands]
    return bare, replace(first, value=value)


def _dtype(value: Value) -> Any:
    return value.levels[0].dtype if value.levels else np.float32


def _on_levels(value: Value, operands: list[Operand], function: Function) -> Value:
    """The levels after the function; constants may make them differ by channel."""
    rank = len(value.shape)
    rows = [
        each.levels if isinstance(each, Value) else [without_batch(each, rank)] * len(value.levels)
        for each in operands
    ]
    levels = tuple(np.asarray(function(*row)) for row in zip(*rows, strict=True))
    return replace(value, levels=levels)


def _straight_through(context: Context, node: OnnxNode, operands: list[Operand]) -> Value | None:
    """``(a − b) + b`` as a, which is how PyTorch code lets gradients pass around a sign.

    Rounding may leave the sum beside a by one unit in the last place; a is what is meant.
    """
    if node.operator != "Add" or not all(isinstance(each, Value) for each in operands):
        return None
    for difference, other in (operands, operands[::-1]):
        assert isinstance(difference, Value)
        assert isinstance(other, Value)
        minuend, subtrahend = context.differences.get(difference.node, (None, ""))
        plain = not other.levels and other.padding is None and difference.padding is None
        if plain and minuend is not None and minuend.levels and subtrahend == other.node:
            return minuend
    return None


# --- The functions themselves, on arrays ---------------------------------------------------------

COMPARISONS: dict[str, Function] = {
    "Equal": np.equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
}
ROUNDINGS: dict[str, Function] = {"Ceil": np.ceil, "Floor": np.floor, "Round": np.rint}
FUNCTIONS: dict[str, Function] = {
    **COMPARISONS,
    **ROUNDINGS,
    "Abs": np.abs,
    "Add": np.add,
    "And": np.logical_and,
    "Div": lambda x, y: np.divide(x, y) if x.dtype.kind == "f" else np.trunc(x / y).astype(x.dtype),
    "Identity": np.asarray,
    "Max": lambda *each: np.maximum.reduce(np.broadcast_arrays(*each)),
    "Min": lambda *each: np.minimum.reduce(np.broadcast_arrays(*each)),
    "Mul": np.multiply,
    "Neg": np.negative,
    "Not": np.logical_not,
    "Or": np.logical_or,
    "PRelu": lambda x, slope: np.where(x > 0, x, x * slope),
    "Relu": lambda x: np.maximum(x, np.zeros((), x.dtype)),
    "Sign": np.sign,
    "Sub": np.subtract,
    "Tanh": np.tanh,
    "Where": np.where,
    "Xor": np.logical_xor,
}


def _function(context: Context, node: OnnxNode, inputs: list[Operand | None]) -> Function:
    """What the node does to arrays."""
    if node.operator == "Clip":
        low, high = _limits(context, node, inputs)
        return lambda x, *_: np.clip(x, low, high).astype(x.dtype)
    if node.operator == "LeakyRelu":
        slope = np.float32(node.attributes.get("alpha", 0.01))
        return lambda x: np.where(x > 0, x, x * slope)
    if node.operator == "HardSigmoid":
        alpha, beta = _hard_sigmoid(node)
        return lambda x: np.clip(x * alpha + beta, np.float32(0), np.float32(1))
    if node.operator == "Cast":
        kind = _cast_type(node)
        return lambda x: np.asarray(x).astype(kind)
    return FUNCTIONS[node.operator]


def _limits(context: Context, node: OnnxNode, inputs: list[Operand | None]) -> tuple[float, float]:
    limits = [
        context.option(node, inputs, name, index, default)
        for index, (name, default) in enumerate((("min", -np.inf), ("max", np.inf)), start=1)
    ]
    low, high = (np.asarray(limit, np.float32).reshape(-1) for limit in limits)
    if low.size != 1 or high.size != 1:
        raise UnsupportedError("takes one number as each limit")
    return float(low[0]), float(high[0])


def _hard_sigmoid(node: OnnxNode) -> tuple[np.float32, np.float32]:
    alpha, beta = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
    return np.float32(alpha), np.float32(beta)


def _cast_type(node: OnnxNode) -> np.dtype[Any]:
    import onnx

    kind: np.dtype[Any] = onnx.helper.tensor_dtype_to_np_dtype(node.attributes["to"])
    return kind


# --- On numbers ----------------------------------------------------------------------------------


def _one_variable(operands: list[Operand]) -> tuple[Value, NDArray[Any], bool]:
    """Of two operands: the tensor, the constant, and whether the tensor comes first."""
    left, right = operands
    if isinstance(left, Value) and isinstance(right, Value):
        raise UnsupportedError("takes a tensor and a constant, found two tensors")
    if isinstance(left, Value):
        assert isinstance(right, np.ndarray)
        return left, right, True
    assert isinstance(right, Value)
    return right, left, False


def _compare(context: Context, node: OnnxNode, operands: list[Operand]) -> Value:
    value, constant, comes_first = _one_variable(operands)
    array = without_batch(constant, len(value.shape))
    assert array is not None  # `_check_shapes` made sure
    function, zero = COMPARISONS[node.operator], np.float32(0)
    points = np.array([-1, 0, 1], np.float32)
    outcomes = function(points, zero) if comes_first else function(zero, points)
    return _comparison(context, value, array, *outcomes)


def _comparison(
    context: Context, value: Value, threshold: Any, below: Any, at: Any, above: Any
) -> Value:
    """The levels below, at and above a threshold, one in float64 or an integer too."""
    value = context.numbers(value)
    below, at, above = (np.asarray(level) for level in (below, at, above))
    exact = np.asarray(threshold)
    nearest = exact.astype(np.float32)
    # Where float32 lacks the threshold, its neighbour lies on one side of it.
    at = np.where(nearest < exact, below, np.where(nearest > exact, above, at))
    return replace(value, threshold=nearest, levels=(below, at, above))


def _sign(context: Context, node: OnnxNode, operands: list[Operand]) -> Value:  # noqa: ARG001  # rules share a signature
    minus, zero, plus = np.array([-1, 0, 1], np.float32)
    return _comparison(context, _tensor(operands), 0, minus, zero, plus)


def _round(context: Context, node: OnnxNode, operands: list[Operand]) -> Value:
    """Rounding of numbers that leaves two integers, or all of them as they are."""
    value, build = context.numbers(_tensor(operands)), context.build
    reach, function = build.reach(value.node), ROUNDINGS[node.operator]
    if reach.is_whole:
        return value
    below, above = function(reach.low.min()), function(reach.high.max())
    if not above - below <= 1:
        known = f"{above - below + 1:g}" if np.isfinite(above - below) else "any number of"
        raise UnsupportedError(f"rounds to {known} integers, two can be had as a sign")
    threshold = below + {"Ceil": 0, "Floor": 1, "Round": 0.5}[node.operator]
    clip = build.operator(value.node)
    if isinstance(clip, Clip) and clip.minimum < threshold < clip.maximum:
        value = replace(value, node=build.nodes[value.node].inputs[0])  # it makes no difference
    below, at, above = (np.float32(function(each)) for each in (below, threshold, above))
    return _comparison(context, value, threshold, below, at, above)


def _tensor(operands: list[Operand]) -> Value:
    """The only tensor."""
    (value,) = (each for each in operands if isinstance(each, Value))
    return value


def _arithmetic(apply: Callable[..., str]) -> Rule:
    """A rule for a product or sum of a tensor and a constant, in either order."""

    def rule(context: Context, _node: OnnxNode, operands: list[Operand]) -> Value:
        value, constant, comes_first = _one_variable(operands)
        value, vector = context.per_channel(context.numbers(value), constant)
        return replace(value, node=apply(context.build, value.node, vector, comes_first))

    return rule


def _add(context: Context, node: OnnxNode, operands: list[Operand]) -> Value:
    if all(isinstance(each, Value) for each in operands):
        return _sum(context, operands)
    result: Value = _add_constant(context, node, operands)
    return result


def _sum(context: Context, operands: list[Operand]) -> Value:
    left, right = (
        context.natural(context.numbers(each)) for each in operands if isinstance(each, Value)
    )
    if left.chw != right.chw:
        left, right = context.unfolded(left), context.unfolded(right)
    return replace(left, node=context.build.add(Add(), left.node, right.node))


def _subtract(context: Context, node: OnnxNode, operands: list[Operand]) -> Value:
    left, right = operands
    if isinstance(left, Value) and isinstance(right, Value):
        right = context.numbers(right)
        negative = replace(right, node=affine.multiply(context.build, right.node, -ONE))
        result = _sum(context, [left, negative])
        context.differences[result.node] = left, right.node
    else:
        result = _subtract_constant(context, node, operands)
    return result


def _subtract_either(build: Any, name: str, vector: NDArray[np.float32], comes_first: bool) -> str:
    if comes_first:
        return affine.add(build, name, -vector)
    return affine.add(build, affine.multiply(build, name, -ONE), vector)


def _divide_either(build: Any, name: str, vector: NDArray[np.float32], comes_first: bool) -> str:
    if not comes_first:
        raise UnsupportedError("divides a constant by a tensor")
    return affine.divide(build, name, vector)


_add_constant = _arithmetic(lambda build, name, vector, _: affine.add(build, name, vector))
_subtract_constant = _arithmetic(_subtract_either)


def _negate(context: Context, _node: OnnxNode, operands: list[Operand]) -> Value:
    value = context.numbers(_tensor(operands))
    return replace(value, node=affine.multiply(context.build, value.node, -ONE))


def _absolute(context: Context, _node: OnnxNode, operands: list[Operand]) -> Value:
    """``relu(x) + relu(−x)``, which rounds nothing."""
    value, build = context.numbers(_tensor(operands)), context.build
    negative = build.add(Relu(), affine.multiply(build, value.node, -ONE))
    return replace(value, node=build.add(Add(), build.add(Relu(), value.node), negative))


def _relu(context: Context, _node: OnnxNode, operands: list[Operand]) -> Value:
    value = context.numbers(_tensor(operands))
    return replace(value, node=context.build.add(Relu(), value.node))


def _prelu(context: Context, node: OnnxNode, operands: list[Operand]) -> Value:
    if node.operator == "LeakyRelu":
        operands = [*operands, np.float32(node.attributes.get("alpha", 0.01)).reshape(1)]
    value, slope, _ = _one_variable(operands)
    value, vector = context.per_channel(context.numbers(value), slope)
    return replace(value, node=context.build.add(PRelu(vector), value.node))


def _clip(context: Context, node: OnnxNode, operands: list[Operand]) -> Value:
    low, high = _limits(context, node, list(operands))
    value = context.numbers(_tensor(operands))
    return replace(value, node=context.build.add(Clip(low, high), value.node))


def _limit(context: Context, node: OnnxNode, operands: list[Operand]) -> Value:
    value, constant, _ = _one_variable(operands)
    number = uniform(constant)
    if number is None:
        raise UnsupportedError("takes a tensor and one number")
    limits = (float(number), np.inf) if node.operator == "Max" else (-np.inf, float(number))
    value = context.numbers(value)
    return replace(value, node=context.build.add(Clip(*limits), value.node))


def _hard_sigmoid_rule(context: Context, node: OnnxNode, operands: list[Operand]) -> Value:
    value, build = context.numbers(_tensor(operands)), context.build
    alpha, beta = _hard_sigmoid(node)
    inner = affine.add(build, affine.multiply(build, value.node, alpha * ONE), beta * ONE)
    return replace(value, node=build.add(Clip(0.0, 1.0), inner))


def _unchanged(_context: Context, _node: OnnxNode, operands: list[Operand]) -> Value:
    return _tensor(operands)


def _cast(context: Context, node: OnnxNode, operands: list[Operand]) -> Value:
    """To single and double precision, or of whole numbers to integers, nothing changes."""
    value, kind = context.numbers(_tensor(operands)), _cast_type(node)
    if kind.kind == "b":
        yes, no = np.True_, np.False_
        return _comparison(context, value, 0, yes, no, yes)
    if kind not in (np.float32, np.float64, *INTEGERS):
        raise UnsupportedError(f"rounds numbers to {kind}")
    return _checked_integers(context, replace(value, dtype=kind))


def _checked_integers(context: Context, value: Value) -> Value:
    """The value, where its numbers are what ONNX's integers would be: whole and never too large."""
    if value.dtype.kind == "f" or value.levels:
        return value
    limits, reach = np.iinfo(value.dtype), context.build.reach(value.node)
    low, high = max(limits.min, -affine.EXACT), min(limits.max, affine.EXACT)
    if not reach.is_whole or not reach.within(low, high):
        raise UnsupportedError(f"its numbers are not always whole ones that fit {value.dtype}")
    return value


ON_NUMBERS: dict[str, Rule] = {
    **dict.fromkeys(COMPARISONS, _compare),
    **dict.fromkeys(ROUNDINGS, _round),
    "Abs": _absolute,
    "Add": _add,
    "Cast": _cast,
    "Clip": _clip,
    "Div": _arithmetic(_divide_either),
    "HardSigmoid": _hard_sigmoid_rule,
    "Identity": _unchanged,
    "LeakyRelu": _prelu,
    "Max": _limit,
    "Min": _limit,
    "Mul": _arithmetic(lambda build, name, vector, _: affine.multiply(build, name, vector)),
    "Neg": _negate,
    "PRelu": _prelu,
    "Relu": _relu,
    "Sign": _sign,
    "Sub": _subtract,
}
OPERATORS = (*FUNCTIONS, "Cast", "Clip", "HardSigmoid", "LeakyRelu")
