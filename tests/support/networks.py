"""Small networks of every kind of layer and of residual blocks, as cases of the benchmark."""

import itertools

from fastconv import nn
from fastconv.bench.cases import NetworkCase


class Block(nn.Module):
    """A residual block with torchvision's names."""

    def __init__(self, C, K, stride=1):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(C, K, 3, stride, 1, bias=False), nn.Identity()
        self.relu = nn.ReLU()
        self.conv2, self.bn2 = nn.Conv2d(K, K, 3, 1, 1, bias=False), nn.Identity()
        if stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(C, K, 1, stride, bias=False), nn.Identity())

    def forward(self, x):
        shortcut = self.downsample(x) if hasattr(self, "downsample") else x
        main = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(main + shortcut)


class Residual(nn.Module):
    """A network of residual blocks with torchvision's names."""

    def __init__(self, dtype=None):
        super().__init__()
        self.conv1, self.bn1, self.relu = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.Identity(), nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        widths = (8, 8, 12, 12, 16)
        for number, (C, K) in enumerate(itertools.pairwise(widths), 1):
            setattr(self, f"layer{number}", nn.Sequential(Block(C, K, 1 + (C != K)), Block(K, K)))
        self.avgpool = nn.MaxPool2d(2)
        self.fc = nn.Linear(16, 5)
        self.to(dtype or "float32")

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(nn.Flatten()(self.avgpool(x)))


class Features(nn.Module):
    """A network of convolutions and a classifier with torchvision's names."""

    def __init__(self, dtype=None):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.ReLU(inplace=True), nn.MaxPool2d(2))
        self.avgpool = nn.Identity()
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(54, 20), nn.ReLU(), nn.Linear(20, 7))
        self.to(dtype or "float32")

    def forward(self, x):
        return self.classifier(nn.Flatten()(self.avgpool(self.features(x))))


def step(name, image, N):
    """A step of training."""
    return NetworkCase(name, "training", (N, *image), ("step",), (N,))


def forward(name, image, N):
    """Inference."""
    return NetworkCase(name, "inference", (N, *image), ("forward",), (N,))
