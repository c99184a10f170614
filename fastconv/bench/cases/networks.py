"""The layers of known networks, for one image."""

from fastconv.bench.cases.layers import adaptive, average, conv, depthwise, distinct, linear, pointwise, pool

LENET = (
    conv("lenet", 1, 28, 6, 5),
    conv("lenet", 6, 14, 16, 5, padding=0),
)
CIFAR = (
    conv("cifar", 3, 32, 32, 3),
    conv("cifar", 32, 16, 64, 3),
)
DIGITS = (conv("digits", 1, 8, 16, 3),)
# Krizhevsky et al. 2012, both towers.
ALEXNET = (
    conv("alexnet", 3, 227, 96, 11, 4, padding=0),
    conv("alexnet", 96, 27, 256, 5, groups=2),
    conv("alexnet", 256, 13, 384, 3),
    conv("alexnet", 384, 13, 384, 3, groups=2),
    conv("alexnet", 384, 13, 256, 3, groups=2),
)
# Simonyan & Zisserman 2014, configuration D.
VGG16 = (
    conv("vgg16", 3, 224, 64, 3),
    conv("vgg16", 64, 224, 64, 3),
    conv("vgg16", 64, 112, 128, 3),
    conv("vgg16", 128, 112, 128, 3),
    conv("vgg16", 128, 56, 256, 3),
    conv("vgg16", 256, 56, 256, 3, count=2),
    conv("vgg16", 256, 28, 512, 3),
    conv("vgg16", 512, 28, 512, 3, count=2),
    conv("vgg16", 512, 14, 512, 3, count=3),
)


def _inception(C, H, one, three_in, three, five_in, five, projection):
    """A module of GoogLeNet: 1x1, 1x1 and 3x3, 1x1 and 5x5, pooling and 1x1."""
    return (
        conv("googlenet", C, H, one, 1),
        conv("googlenet", C, H, three_in, 1),
        conv("googlenet", three_in, H, three, 3),
        conv("googlenet", C, H, five_in, 1),
        conv("googlenet", five_in, H, five, 5),
        conv("googlenet", C, H, projection, 1),
    )


# Szegedy et al. 2014, table 1.
GOOGLENET = distinct(
    (
        conv("googlenet", 3, 224, 64, 7, 2),
        conv("googlenet", 64, 56, 64, 1),
        conv("googlenet", 64, 56, 192, 3),
        *_inception(192, 28, 64, 96, 128, 16, 32, 32),
        *_inception(256, 28, 128, 128, 192, 32, 96, 64),
        *_inception(480, 14, 192, 96, 208, 16, 48, 64),
        *_inception(512, 14, 160, 112, 224, 24, 64, 64),
        *_inception(512, 14, 128, 128, 256, 24, 64, 64),
        *_inception(512, 14, 112, 144, 288, 32, 64, 64),
        *_inception(528, 14, 256, 160, 320, 32, 128, 128),
        *_inception(832, 7, 256, 160, 320, 32, 128, 128),
        *_inception(832, 7, 384, 192, 384, 48, 128, 128),
    )
)


def _resnet(C, H, K, k, stride=1, count=1):
    return conv("resnet50", C, H, K, k, stride, bias=False, count=count)


# He et al. 2015 with the stride in the 3x3 layers ("v1.5").
RESNET50 = (
    _resnet(3, 224, 64, 7, 2),
    _resnet(64, 56, 64, 1),
    _resnet(64, 56, 64, 3, count=3),
    _resnet(64, 56, 256, 1, count=4),
    _resnet(256, 56, 64, 1, count=2),
    _resnet(256, 56, 512, 1, 2),
    _resnet(256, 56, 128, 1),
    _resnet(128, 56, 128, 3, 2),
    _resnet(128, 28, 128, 3, count=3),
    _resnet(128, 28, 512, 1, count=4),
    _resnet(512, 28, 128, 1, count=3),
    _resnet(512, 28, 1024, 1, 2),
    _resnet(512, 28, 256, 1),
    _resnet(256, 28, 256, 3, 2),
    _resnet(256, 14, 256, 3, count=5),
    _resnet(256, 14, 1024, 1, count=6),
    _resnet(1024, 14, 256, 1, count=5),
    _resnet(1024, 14, 2048, 1, 2),
    _resnet(1024, 14, 512, 1),
    _resnet(512, 14, 512, 3, 2),
    _resnet(512, 7, 512, 3, count=2),
    _resnet(512, 7, 2048, 1, count=3),
    _resnet(2048, 7, 512, 1, count=2),
)
# Xie et al. 2017: of "32x4d" the layers of 32 groups, of 4 to 32 channels.
RESNEXT50 = tuple(
    conv("resnext50", C, H, C, 3, stride, bias=False, groups=32, count=count)
    for C, H, stride, count in (
        *((128, 56, 1, 3), (256, 56, 2, 1), (256, 28, 1, 3), (512, 28, 2, 1)),
        *((512, 14, 1, 5), (1024, 14, 2, 1), (1024, 7, 1, 2)),
    )
)
# The layer that stands for many: large, 3x3, as deep networks have them.
RESNET_LAYER = RESNET50[2]
# Howard et al. 2017, width 1.0.
MOBILENET = (
    conv("mobilenet", 3, 224, 32, 3, 2, bias=False),
    depthwise("mobilenet", 32, 112),
    depthwise("mobilenet", 64, 112, 2),
    depthwise("mobilenet", 128, 56),
    depthwise("mobilenet", 128, 56, 2),
    depthwise("mobilenet", 256, 28),
    depthwise("mobilenet", 256, 28, 2),
    depthwise("mobilenet", 512, 14, count=5),
    depthwise("mobilenet", 512, 14, 2),
    depthwise("mobilenet", 1024, 7),
    pointwise("mobilenet", 32, 112, 64),
    pointwise("mobilenet", 64, 56, 128),
    pointwise("mobilenet", 128, 56, 128),
    pointwise("mobilenet", 128, 28, 256),
    pointwise("mobilenet", 256, 28, 256),
    pointwise("mobilenet", 256, 14, 512),
    pointwise("mobilenet", 512, 14, 512, count=5),
    pointwise("mobilenet", 512, 7, 1024),
    pointwise("mobilenet", 1024, 7, 1024),
)
POOLS = (
    pool("lenet", 6, 28, 2, 2),
    pool("lenet", 16, 10, 2, 2),
    pool("cifar", 32, 32, 2, 2),
    pool("cifar", 64, 16, 2, 2),
    pool("alexnet", 96, 55, 3, 2),
    pool("alexnet", 256, 27, 3, 2),
    pool("alexnet", 256, 13, 3, 2),
    pool("vgg16", 64, 224, 2, 2),
    pool("vgg16", 128, 112, 2, 2),
    pool("vgg16", 256, 56, 2, 2),
    pool("vgg16", 512, 28, 2, 2),
    pool("vgg16", 512, 14, 2, 2),
    pool("googlenet", 64, 112, 3, 2, ceil_mode=True),
    pool("googlenet", 192, 56, 3, 2, ceil_mode=True),
    pool("googlenet", 192, 28, 3, 1, 1),
    pool("googlenet", 256, 28, 3, 1, 1),
    pool("googlenet", 480, 28, 3, 2, ceil_mode=True),
    pool("googlenet", 480, 14, 3, 1, 1),
    pool("googlenet", 512, 14, 3, 1, 1, count=3),
    pool("googlenet", 528, 14, 3, 1, 1),
    pool("googlenet", 832, 14, 3, 2, ceil_mode=True),
    pool("googlenet", 832, 7, 3, 1, 1, count=2),
    pool("resnet50", 64, 112, 3, 2, 1),
    average("lenet", 6, 28, 2, 2),
    average("densenet121", 128, 56, 2, 2),
    average("densenet121", 256, 28, 2, 2),
    average("densenet121", 512, 14, 2, 2),
    average("inception-v3", 192, 35, 3, 1, 1),
    average("inception-v3", 768, 17, 3, 1, 1, count=4),
    adaptive("googlenet", 1024, 7, 1),
    adaptive("resnet50", 2048, 7, 1),
    adaptive("alexnet", 256, 13, 6),
    adaptive("pyramid", 256, 28, 3),
    adaptive("pyramid", 256, 28, 2, largest=True),
    adaptive("pyramid", 256, 13, 6, largest=True),
)
LINEAR = (
    linear("lenet", 400, 120),
    linear("lenet", 120, 84),
    linear("lenet", 84, 10),
    linear("alexnet", 9216, 4096),
    linear("alexnet", 4096, 4096),
    linear("alexnet", 4096, 1000),
    linear("vgg16", 25088, 4096),
    linear("googlenet", 1024, 1000),
    linear("resnet50", 2048, 1000),
)
