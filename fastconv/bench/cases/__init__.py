"""The one list of shapes: tests prove them right, benchmarks time them. Data only.

The suite ``awkward`` has small shapes on which kernels go wrong; the networks' suites hold their layers for one image,
with ``count`` saying how often a layer occurs; ``pool`` and ``linear`` collect those of all networks; ``local`` has
layers without shared weights; ``training`` and ``inference`` are networks as a whole, ``passes`` what lies between
their convolutions and after them.
"""

from fastconv.bench.cases.awkward import AWKWARD_CONVS, AWKWARD_LOCALS, AWKWARD_POOLS
from fastconv.bench.cases.kinds import (
    INTEGERS,
    NORMAL,
    RECTIFIED,
    SUBNORMAL,
    SUBNORMAL_WEIGHTS,
    WIDE,
    AdamCase,
    AdaptiveAvgPoolCase,
    AdaptiveMaxPoolCase,
    AddReluCase,
    AvgPoolCase,
    BatchNormCase,
    Case,
    ChainCase,
    ConvCase,
    LinearCase,
    LocalCase,
    NetworkCase,
    PassCase,
    PoolCase,
    ReluCase,
    SgdCase,
    StepCase,
)
from fastconv.bench.cases.local import LOCAL
from fastconv.bench.cases.networks import (
    ALEXNET,
    CIFAR,
    DIGITS,
    GOOGLENET,
    LENET,
    LINEAR,
    MOBILENET,
    POOLS,
    RESNET50,
    RESNET_LAYER,
    RESNEXT50,
    VGG16,
)
from fastconv.bench.cases.passes import PASSES
from fastconv.bench.cases.small import CHAINS, SMALL
from fastconv.bench.cases.whole import INFERENCE, TRAINING

__all__ = [
    "AWKWARD_CONVS",
    "AWKWARD_LOCALS",
    "AWKWARD_POOLS",
    "INTEGERS",
    "NORMAL",
    "RECTIFIED",
    "RESNET_LAYER",
    "SUBNORMAL",
    "SUBNORMAL_WEIGHTS",
    "SUITES",
    "WIDE",
    "AdamCase",
    "AdaptiveAvgPoolCase",
    "AdaptiveMaxPoolCase",
    "AddReluCase",
    "AvgPoolCase",
    "BatchNormCase",
    "Case",
    "ChainCase",
    "ConvCase",
    "LinearCase",
    "LocalCase",
    "NetworkCase",
    "PassCase",
    "PoolCase",
    "ReluCase",
    "SgdCase",
    "StepCase",
]

SUITES: dict[str, tuple[Case, ...]] = {
    "lenet": LENET,
    "cifar": CIFAR,
    "digits": DIGITS,
    "alexnet": ALEXNET,
    "vgg16": VGG16,
    "googlenet": GOOGLENET,
    "resnet50": RESNET50,
    "resnext50": RESNEXT50,
    "mobilenet": MOBILENET,
    "pool": POOLS,
    "linear": LINEAR,
    "local": LOCAL,
    "chain": CHAINS,
    "passes": PASSES,
    "small": SMALL,
    "training": TRAINING,
    "inference": INFERENCE,
    "awkward": (*AWKWARD_CONVS, *AWKWARD_POOLS, *AWKWARD_LOCALS),
}
