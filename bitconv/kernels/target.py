"""What Numba compiles for: the width of its vectors, and how they count bits.

The answers follow Numba's configured target (`NUMBA_CPU_NAME`, `NUMBA_CPU_FEATURES`), which need
not be the machine it runs on. They are read off the assembly of a small probe, because only LLVM
knows which registers a processor's name and features together really give.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Literal

from llvmlite import binding as llvm

from bitconv.kernels.settings import settings

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


@dataclass(frozen=True)
class Target:
    """What a processor's vector instructions can do.

    Attributes
    ----------
    vector_bits : int
        Width of the widest integer vectors that are computed with: 512, 256 or 128.
    popcount : str
        How the bits of such a vector are counted. ``"words"``: one instruction counts 64-bit lanes;
        ``"bytes"``: one counts bytes; ``"table"``: no such instruction, but one looks bytes up in
        a table of 16; ``"arithmetic"``: none of them, only shifts, masks and additions.
    """

    vector_bits: int
    popcount: Popcount

    @classmethod
    def of(cls, triple: str, processor: str, features: str) -> Target:
        """The target that LLVM knows by these names."""
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_triple(triple).create_target_machine(
            cpu=processor, features=features, opt=2
        )
        module = llvm.parse_assembly(_PROBE.format(triple=triple))
        assembly = machine.emit_assembly(module)
        vector_bits = max(_widths("paddq", assembly), default=128)
        if vector_bits in _widths("popcntq", assembly):
            return cls(vector_bits, "words")
        if vector_bits in _widths("pshufb", assembly):
            return cls(vector_bits, "table")
        counts_bytes = re.search(r"\bcnt(\.16b|\s+v)", assembly)
        return cls(vector_bits, "bytes" if counts_bytes else "arithmetic")

    @property
    def vector_registers(self) -> int:
        """Number of vector registers: 32 with AVX-512 and on ARM64, else 16."""
        return 32 if self.vector_bits == 512 or self.popcount == "bytes" else 16

    @property
    def byte_shuffle(self) -> str | None:
        """LLVM's name of the instruction that moves 16 bytes to places of a list, if there is one.

        Where the list names a byte from 128 on, the result has a zero.
        """
        match self.popcount:
            case "bytes":
                return "llvm.aarch64.neon.tbl1.v16i8"
            case "words" | "table":
                return "llvm.x86.ssse3.pshuf.b.128"
            case "arithmetic":
                return None

    @property
    def instruction_set(self) -> str:
        """The vector instructions in use, as people name them."""
        family = {512: "AVX-512", 256: "AVX2", 128: "128-bit vectors"}[self.vector_bits]
        match self.popcount:
            case "bytes":
                return "NEON"
            case "words":
                return f"{family} VPOPCNTDQ"
            case "table":
                return family if self.vector_bits > 128 else "SSSE3"
            case "arithmetic":
                return f"{family} without a population count"


def _widths(instruction: str, assembly: str) -> set[int]:
    """Vector widths at which an x86 instruction is used, whatever its encoding."""
    lines = re.findall(rf"\bv?{instruction}\b.*", assembly)
    return {bits for name, bits in _X86_REGISTERS.items() for line in lines if name in line}


@cache
def numba_target() -> Target:
    """What Numba compiles for in this process."""
    found = settings()
    return Target.of(found.triple, found.processor, found.features)


def vector_bits() -> int:
    """Width of the widest vectors that kernels use."""
    return numba_target().vector_bits


def popcount() -> Popcount:
    """How kernels can count bits; see `Target`."""
    return numba_target().popcount


def byte_shuffle() -> str | None:
    """How kernels can move bytes; see `Target.byte_shuffle`."""
    return numba_target().byte_shuffle


def instruction_set() -> str:
    """The vector instructions that kernels use, as people name them."""
    return numba_target().instruction_set


BIT_LANES = vector_bits() // 64
FLOAT_LANES = vector_bits() // 32
