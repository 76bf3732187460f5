"""What each input of each op is to its layer: the tables that `sites.py` reads. No graph is walked here."""

from collections.abc import Sequence
from typing import NamedTuple

from faultsim.corruption import Role


def _each(names: Sequence[str], roles: dict[int, Role]) -> dict[str, dict[int, Role]]:
    return dict.fromkeys(names, roles)


CARRIERS = frozenset(
    {"Transpose", "Reshape", "Identity", "Clip", "Cast", "CastLike", "Squeeze", "Unsqueeze", "Flatten",
     "QuantizeLinear", "DequantizeLinear", "Quant", "IntQuant", "FloatQuant", "BipolarQuant", "Trunc", "Expand",
     "Tile", "Slice", "Split",
     "Concat"}
)  # fmt: skip
"""Ops through which a parameter is followed to the op that computes with it."""

CONVOLUTIONS = {"Conv", "ConvTranspose", "ConvInteger", "FusedConv", "DeformConv", "QLinearConv"}
PRODUCTS = {"Gemm", "MatMul", "FusedMatMul", "FusedGemm", "MatMulInteger", "MatMulIntegerToFloat", "QLinearMatMul",
               "QGemm", "DynamicQuantizeMatMul", "MatMulNBits", "Einsum"}  # fmt: skip
LAST_AXIS = {"Attention", "QAttention", "DynamicQuantizeLSTM"}
"""Ops whose parameters count output channels along their last axis."""

PICKS = {"Gather", "GatherND", "GatherElements"}
"""Ops that hand out parts of a table."""

ARITHMETIC = {"Add", "Sub", "Mul", "Div", "Sum", "Pow", "PRelu", "QLinearAdd", "QLinearMul"}

POSITIONS: dict[str, dict[int, Role]] = {
    **_each(("Conv", "ConvTranspose", "FusedConv"), {1: "weight", 2: "bias"}),
    "DeformConv": {1: "weight", 3: "bias"},
    "ConvInteger": {1: "weight", 2: "zero_point", 3: "zero_point"},
    "QLinearConv": {1: "scale", 2: "zero_point", 3: "weight", 4: "scale", 5: "zero_point", 6: "scale",
                    7: "zero_point", 8: "bias"},
    **_each(("Gemm", "FusedGemm"), {0: "weight", 1: "weight", 2: "bias"}),
    **_each(("MatMul", "FusedMatMul"), {0: "weight", 1: "weight"}),
    "Einsum": dict.fromkeys(range(52), "weight"),  # as many factors as it has letters
    "MatMulInteger": {0: "weight", 1: "weight", 2: "zero_point", 3: "zero_point"},
    "MatMulIntegerToFloat": {1: "weight", 2: "scale", 3: "scale", 4: "zero_point", 5: "zero_point", 6: "bias"},
    "DynamicQuantizeMatMul": {1: "weight", 2: "scale", 3: "zero_point", 4: "bias"},
    "QLinearMatMul": {0: "weight", 1: "scale", 2: "zero_point", 3: "weight", 4: "scale", 5: "zero_point",
                      6: "scale", 7: "zero_point"},
    "QGemm": {1: "scale", 2: "zero_point", 3: "weight", 4: "scale", 5: "zero_point", 6: "bias", 7: "scale",
              8: "zero_point"},
    "MatMulNBits": {1: "weight", 2: "scale", 3: "zero_point", 5: "bias"},
    "BatchNormalization": {1: "norm", 2: "norm", 3: "norm", 4: "norm"},
    **_each(("InstanceNormalization", "LayerNormalization", "GroupNormalization", "RMSNormalization",
                     "SimplifiedLayerNormalization"), {1: "norm", 2: "norm"}),
    "SkipLayerNormalization": {2: "norm", 3: "norm", 4: "bias"},
    "SkipSimplifiedLayerNormalization": {2: "norm", 3: "bias"},
    "EmbedLayerNormalization": {2: "weight", 3: "weight", 4: "weight", 5: "norm", 6: "norm"},
    **_each(("LSTM", "GRU", "RNN"), {1: "weight", 2: "weight", 3: "bias", 7: "weight"}),
    "DynamicQuantizeLSTM": {1: "weight", 2: "weight", 3: "bias", 7: "weight", 8: "scale", 9: "zero_point", 10: "scale",
                            11: "zero_point"},
    "Attention": {1: "weight", 2: "bias"},
    "MultiHeadAttention": {3: "bias"},
    "GroupQueryAttention": {11: "bias"},
    "QAttention": {1: "weight", 2: "bias", 3: "scale", 4: "scale", 6: "zero_point", 7: "zero_point"},
    "QEmbedLayerNormalization": {
        **dict.fromkeys((2, 3, 4), "weight"), 5: "norm", 6: "norm", **dict.fromkeys(range(8, 13), "scale"),
        **dict.fromkeys(range(13, 18), "zero_point"),
    },
    **_each(("Gather", "GatherND", "GatherElements"), {0: "weight"}),
    "GatherBlockQuantized": {0: "weight", 2: "scale", 3: "zero_point"},
    **_each(("BiasGelu", "FastGelu"), {1: "bias"}),
    **_each(("QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax", "QLinearReduceMean", "QLinearGlobalAveragePool",
             "QLinearAveragePool"), {1: "scale", 2: "zero_point", 3: "scale", 4: "zero_point"}),
    "QLinearWhere": {2: "scale", 3: "zero_point", 5: "scale", 6: "zero_point", 7: "scale", 8: "zero_point"},
    "QLinearConcat": {
        position: "zero_point" if position % 3 == 1 else "scale" for position in range(128) if position % 3 != 2
    },
    **_each(("QuantizeLinear", "DequantizeLinear"), {1: "scale", 2: "zero_point"}),
    **_each(("Quant", "IntQuant"), {1: "scale", 2: "zero_point"}),
    "BipolarQuant": {1: "scale"},
    "Trunc": {1: "scale", 2: "zero_point"},
    "QLinearAdd": {0: "bias", 1: "scale", 2: "zero_point", 3: "bias", 4: "scale", 5: "zero_point", 6: "scale",
                   7: "zero_point"},
    "QLinearMul": {0: "norm", 1: "scale", 2: "zero_point", 3: "norm", 4: "scale", 5: "zero_point", 6: "scale",
                   7: "zero_point"},
}  # fmt: skip

"""Role by op type and input position; positions that are missing are no parameters."""


class CodeInputs(NamedTuple):
    """Where an op takes the scale and the zero point of one of its inputs; None where it takes none."""

    scale: int | None
    zero: int


CODES: dict[str, dict[int, CodeInputs]] = {
    "DequantizeLinear": {0: CodeInputs(1, 2)},
    "QLinearConv": {3: CodeInputs(4, 5)},
    "QLinearMatMul": {0: CodeInputs(1, 2), 3: CodeInputs(4, 5)},
    "QGemm": {0: CodeInputs(1, 2), 3: CodeInputs(4, 5)},
    "QLinearAdd": {0: CodeInputs(1, 2), 3: CodeInputs(4, 5)},
    "QLinearMul": {0: CodeInputs(1, 2), 3: CodeInputs(4, 5)},
    "ConvInteger": {1: CodeInputs(None, 3)},
    "MatMulInteger": {0: CodeInputs(None, 2), 1: CodeInputs(None, 3)},
    "MatMulIntegerToFloat": {0: CodeInputs(2, 4), 1: CodeInputs(3, 5)},
    "DynamicQuantizeMatMul": {1: CodeInputs(2, 3)},
    "DynamicQuantizeLSTM": {1: CodeInputs(8, 9), 2: CodeInputs(10, 11)},
    "QAttention": {1: CodeInputs(4, 7)},
    "QEmbedLayerNormalization": {place: CodeInputs(6 + place, 11 + place) for place in (2, 3, 4, 5, 6)},
}
"""By op type and the position of its codes."""

WIDE_BIASES = {"QLinearConv": 8, "QGemm": 6}
"""By op type the input that is a bias in steps of input scale times weight scale, those of inputs 1 and 4."""

QUANTIZED_OPS = frozenset(
    {"DequantizeLinear", "QuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger",
     "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "QGemm", "QAttention", "MatMulNBits",
     "GatherBlockQuantized", "QLinearAdd", "QLinearMul", "QLinearSigmoid", "QLinearLeakyRelu",
     "QLinearGlobalAveragePool", "QLinearAveragePool", "QLinearConcat", "QLinearSoftmax", "QLinearWhere",
     "QEmbedLayerNormalization", "DequantizeBFP", "QMoE"}
)  # fmt: skip
"""Ops whose integer inputs are stored codes, so that a 32-bit initializer there is a bias and not an index."""
