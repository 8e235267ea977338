"""Operations on four numbers at a time, for which numba has no type: a pixel and the values after it, in one register."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.cgutils import for_range
from numba.extending import intrinsic

_LANES = 4
_FLOAT, _INDEX = ir.FloatType(), ir.IntType(32)
_VECTOR = ir.VectorType(_FLOAT, _LANES)
_ALIGNED = 4


def _weigh_pixels(context: Any, pixels: Any, at: Any, weights: Any, line: Any, to: Any) -> Any:  # noqa: ARG001
    signature = types.void(pixels, at, weights, line, to)

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        arrays = [context.make_array(signature.args[n])(context, builder, values[n]) for n in (0, 2, 3)]
        sides = [builder.extract_value(array.shape, 1) for array in arrays]
        places = zip(arrays, sides, (values[1], values[4], values[4]), strict=True)
        source, weight, target = (builder.gep(a.data, [builder.mul(side, index)]) for a, side, index in places)
        with builder.goto_entry_block():
            total = builder.alloca(_VECTOR)
        builder.store(ir.Constant(_VECTOR, [0.0] * _LANES), total)
        with for_range(builder, sides[1]) as loop:
            pixel = _load(builder, builder.gep(source, [builder.mul(loop.index, sides[0])]))
            factor = _spread(builder, builder.load(builder.gep(weight, [loop.index])))
            builder.store(builder.fadd(builder.load(total), builder.fmul(pixel, factor)), total)
        place = builder.bitcast(target, _VECTOR.as_pointer())
        builder.store(builder.load(total), place, align=_ALIGNED)
        return context.get_dummy_value()

    return signature, emit


#: ``weigh_pixels(pixels, at, weights, line, to)``: ``line[to] = sum of weights[to, tap] * pixels[at + tap]``, of
#: float32 arrays [n, C] in C order, C at most 4. Four values are read and written whatever C is, so arrays need four more
#: after their last pixel; values written after a pixel are overwritten with the next pixel. It is vector code, which the
#: compiler does not generate by itself.
weigh_pixels: Any = intrinsic(_weigh_pixels)


def _load(builder: Any, pointer: Any) -> Any:
    return builder.load(builder.bitcast(pointer, _VECTOR.as_pointer()), align=_ALIGNED)


def _spread(builder: Any, value: Any) -> Any:
    """One number in every lane."""
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(_INDEX, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_INDEX, _LANES), [0] * _LANES))
