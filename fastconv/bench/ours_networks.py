"""Networks of this package as they are used: trained by an optimiser, or run with weights that stay packed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fastconv import autograd, backends, nn, optim
from fastconv.bench.contestant import Prepared, on_host
from fastconv.bench.workloads import NetworkWorkload
from fastconv.bench.workloads.network import LEARNING_RATE, LOGITS, LOSS, MOMENTUM


def step(workload: NetworkWorkload, backend: str, _variant) -> Prepared:
    """Gradients of a batch and what the optimiser makes of them."""
    network, loss = workload.network().to(backends.device(backend)), nn.CrossEntropyLoss()
    optimizer = optim.SGD(network.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    x, labels = workload.inputs["x"], workload.inputs["labels"]

    def gradients():
        optimizer.zero_grad(set_to_none=True)
        value = loss(network(x), labels)
        value.backward()
        return value

    def call():
        with backends.use_backend(backend):
            value = gradients()
            optimizer.step()
        return value

    def result(_returned):
        """From the first weights, with nothing dropped out."""
        network.load_state_dict(workload.state)
        _drop_out(network, False)
        with backends.use_backend(backend):
            value = gradients()
        _drop_out(network, True)
        grads = {name: weight.grad for name, weight in network.named_parameters()}
        return on_host({LOSS: value, **grads})

    return Prepared(call, result, partial(variants, call))


def forward(workload: NetworkWorkload, backend: str, _variant) -> Prepared:
    """The logits, with nothing recorded."""
    return _inference(workload.network().to(backends.device(backend)), workload.inputs["x"], backend)


def fused(workload: NetworkWorkload, backend: str, _variant) -> Prepared:
    """The same of a copy whose normalisations are folded into its convolutions."""
    return _inference(nn.fuse(workload.network()).to(backends.device(backend)), workload.inputs["x"], backend)


def _inference(network, x, backend) -> Prepared:

    def call():
        with autograd.no_grad(), backends.use_backend(backend):
            return network(x)

    return Prepared(call, lambda logits: {LOGITS: on_host(logits)}, partial(variants, call))


def _drop_out(network, is_on):
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.train(is_on)


def variants(call: Callable[[], object]) -> str:
    """The algorithms that a call runs, each once."""
    with backends.recording() as records:
        call()
    return "+".join(dict.fromkeys(record.variant for record in records))
