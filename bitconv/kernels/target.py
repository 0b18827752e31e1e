"""What Numba compiles for: the width of its vectors, and how they count bits.

The answers follow Numba's configured target (`NUMBA_CPU_NAME`, `NUMBA_CPU_FEATURES`), which need
not be the machine it runs on. They are read off the assembly of a small probe, because only LLVM
knows which registers a processor's name and features together really give.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Literal

from llvmlite import binding as llvm
from numba.core.registry import cpu_target

Popcount = Literal["words", "bytes", "table", "arithmetic"]

_X86_REGISTERS = {"%zmm": 512, "%ymm": 256, "%xmm": 128}

_PROBE = """
target triple = "{triple}"

declare <8 x i64> @llvm.ctpop.v8i64(<8 x i64>)

define void @probe(ptr %counts, ptr %left, ptr %right) {{
  %a = load <8 x i64>, ptr %left, align 8
  %b = load <8 x i64>, ptr %right, align 8
  %c = load <8 x i64>, ptr %counts, align 8
  %difference = xor <8 x i64> %a, %b
  %ones = call <8 x i64> @llvm.ctpop.v8i64(<8 x i64> %difference)
  %sum = add <8 x i64> %c, %ones
  store <8 x i64> %sum, ptr %counts, align 8
  ret void
}}
"""


@cache
def probe_assembly() -> str:
    """Assembly of XOR, population count and add on eight 64-bit lanes."""
    triple, cpu, features = cpu_target.target_context.codegen().magic_tuple()
    machine = llvm.Target.from_triple(triple).create_target_machine(
        cpu=cpu, features=features, opt=2
    )
    return str(machine.emit_assembly(llvm.parse_assembly(_PROBE.format(triple=triple))))


def _widths(instruction: str) -> set[int]:
    """Vector widths at which the probe uses an x86 instruction, whatever its encoding."""
    lines = re.findall(rf"\bv?{instruction}\b.*", probe_assembly())
    return {bits for name, bits in _X86_REGISTERS.items() for line in lines if name in line}


@cache
def vector_bits() -> int:
    """Width of the widest integer vectors that Numba's target computes with: 512, 256 or 128."""
    return max(_widths("paddq"), default=128)


@cache
def popcount() -> Popcount:
    """How the target counts the bits of a vector of `vector_bits()`.

    Returns
    -------
    str
        ``"words"``: one instruction counts 64-bit lanes; ``"bytes"``: one counts bytes;
        ``"table"``: no such instruction, but one looks bytes up in a table of 16;
        ``"arithmetic"``: none of them, only shifts, masks and additions.
    """
    if vector_bits() in _widths("popcntq"):
        return "words"
    if vector_bits() in _widths("pshufb"):
        return "table"
    return "bytes" if re.search(r"\bcnt(\.16b|\s+v)", probe_assembly()) else "arithmetic"


@cache
def vector_registers() -> int:
    """Number of vector registers: 32 with AVX-512 and on ARM64, else 16."""
    return 32 if vector_bits() == 512 or popcount() == "bytes" else 16


@cache
def instruction_set() -> str:
    """The vector instructions in use, as people name them."""
    family = {512: "AVX-512", 256: "AVX2", 128: "128-bit vectors"}[vector_bits()]
    match popcount():
        case "bytes":
            return "NEON"
        case "words":
            return f"{family} VPOPCNTDQ"
        case "table":
            return family if vector_bits() > 128 else "SSSE3"
        case "arithmetic":
            return f"{family} without a population count"


BIT_LANES = vector_bits() // 64
FLOAT_LANES = vector_bits() // 32
