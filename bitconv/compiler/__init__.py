"""From a graph to a plan."""

from bitconv.compiler.lowering import compile_graph
from bitconv.compiler.plan import Plan, Step

__all__ = ["Plan", "Step", "compile_graph"]
