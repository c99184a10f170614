"""Module: the base of every layer; it finds, names, moves and switches what its attributes hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from copy import deepcopy
from typing import Any

import numpy as np

from fastconv import arrays, device_arrays, dtypes, parameters
from fastconv.autograd import Tensor, tensor
from fastconv.nn import state
from fastconv.nn.parameter import Parameter, float_storage
from fastconv.nn.replays import REGISTRIES, Changes, Replays
from fastconv.scopes import Scope

# Who is told of every call of a module here, as (module, what runs it); None: nobody.
_watch: ContextVar[Callable[[Module, Callable], Any] | None] = ContextVar("fastconv_watch", default=None)


class watching(Scope):  # noqa: N801 - a context manager, used like a function
    """Calls ``watch(module, run)`` in the place of every module inside the ``with`` block; it returns ``run()``."""

    def __init__(self, watch: Callable[[Module, Callable], Any]):
        super().__init__(_watch, watch)


class Module:
    """A layer or a network: subclasses assign parameters and modules as attributes and define ``forward``.

    Calling a module turns arrays among the arguments into Tensors and calls ``forward``. Assigning a Parameter or a
    Module before ``super().__init__()`` raises AttributeError.

    >>> class Scale(Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.factor = Parameter([2.0])
    ...
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> Scale()(np.ones(3, np.float32)).tolist(), list(Scale().state_dict())
    ([2.0, 2.0, 2.0], ['factor'])
    """

    training: bool
    # ``nn.freeze`` says what this means.
    _frozen: bool = False
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _transient: set[str]
    # Where a model need not run its modules again: ``fastconv.fuse`` says which.
    _replays: Replays | None = None

    def __init__(self):
        for registry in REGISTRIES:
            object.__setattr__(self, registry, {})
        object.__setattr__(self, "_transient", set())
        self.training = True

    def forward(self, *inputs, **options):
        """Compute the outputs; every subclass defines it."""
        raise NotImplementedError(f"module {type(self).__name__} defines no forward")

    def __call__(self, *inputs, **options):
        """``forward`` of the arguments, arrays among them as Tensors."""
        watch = _watch.get()
        if self._replays is not None and watch is None and not options:
            output = self._replays.output(self, inputs)
            if output is not None:
                return output
        entered, named = map(_enter, inputs), {name: _enter(value) for name, value in options.items()}
        return (
            self.forward(*entered, **named) if watch is None else watch(self, lambda: self.forward(*entered, **named))
        )

    def folded_pairs(self) -> list[tuple[str, str]]:
        """Names of a convolution and the batch normalisation that alone sees its result, for ``fastconv.fuse``."""
        return []

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Own a parameter under this name; None reserves the name. Raises TypeError or KeyError."""
        if parameter is not None and not isinstance(parameter, Parameter):
            raise TypeError(f"parameter {name!r} must be a fastconv.nn.Parameter or None, got {_kind(parameter)}")
        self._register("_parameters", name, parameter)

    def register_buffer(self, name: str, buffer: Tensor | None, persistent: bool = True) -> None:
        """Own a Tensor that no optimiser changes; a persistent one is part of the state dict."""
        if buffer is not None and not isinstance(buffer, Tensor):
            raise TypeError(f"buffer {name!r} must be a Tensor or None, got {_kind(buffer)}")
        self._register("_buffers", name, buffer)
        if not parameters.flag("persistent", persistent):
            self._transient.add(name)

    def register_module(self, name: str, module: Module | None) -> None:
        """Own a module under this name; None reserves the name. Raises TypeError or KeyError."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"module {name!r} must be a fastconv.nn.Module or None, got {_kind(module)}")
        self._register("_modules", name, module)

    add_module = register_module

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all below it, each once, under its first name."""
        seen: set[int] = set()
        for name, module in _walk(self, prefix):
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly below, by name."""
        return ((name, child) for name, child in self._modules.items() if child is not None)

    def children(self) -> Iterator[Module]:
        """The modules directly below."""
        return (child for _, child in self.named_children())

    def named_parameters(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Parameter]]:
        """The parameters here and below, each once, under its first name."""
        return self._named("_parameters", prefix, recurse)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters here and below, each once."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        """The buffers here and below, each once, under its first name."""
        return self._named("_buffers", prefix, recurse)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers here and below, each once."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def train(self, mode: bool = True) -> Module:
        """Switch this module and all below it, but for frozen ones, to training (or evaluation) behaviour."""
        mode = parameters.flag("mode", mode)
        for module in self.modules():
            module.training = mode and not module._frozen
        return self

    def eval(self) -> Module:
        """Switch this module and all below it to evaluation behaviour."""
        return self.train(False)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or fill them with zeros."""
        for parameter in self.parameters():
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad.zero_()

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Switch the recording of all parameters on or off."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def to(self, target, dtype=None) -> Module:
        """Move all parameters and buffers to a device, "cpu", "cuda" or "cuda:N", or convert those that are floats.

        In place, gradients with them; a device and a dtype may both be given. Raises DTypeError for an unsupported
        dtype, such as float16 and bfloat16 of what is not on a GPU then, BackendUnavailableError for a GPU that is not
        there; nothing is changed then.
        """
        device = device_arrays.named(target)
        if device is None and dtype is not None:
            raise TypeError(f"expected a device and a dtype, got {target!r} and {dtype!r}")
        wanted = target if device is None else dtype
        wanted = None if wanted is None else float_storage(wanted, halves=self._will_be_on_gpu(device))
        if device is not None:
            self._move(device_arrays.checked(device))
        if wanted is not None:
            self._convert(wanted)
        Changes.count += 1
        return self

    def cuda(self, device: int | str | None = None) -> Module:
        """Move all parameters and buffers to the current GPU, or to that of a number or name."""
        return self.to(f"{device_arrays.GPU}:{device}" if isinstance(device, int) else device or device_arrays.GPU)

    def cpu(self) -> Module:
        """Move all parameters and buffers to the memory of the host."""
        return self.to(arrays.HOST)

    def _will_be_on_gpu(self, device: str | None) -> bool:
        places = (item.device for item in self.parameters()) if device is None else (device,)
        return all(place != arrays.HOST for place in places)

    def _move(self, device: str) -> None:
        """All copies are made before the first takes its place: one of them may find no memory."""
        placed = [(item, item.detach().to(device), _on(device, item.grad)) for item in self.parameters()]
        owners = [(module._buffers, name) for module in self.modules() for name in module._buffers]
        buffers = [_on(device, registry[name]) for registry, name in owners]
        for parameter, values, grad in placed:
            parameter.place_(values, grad)
        for (registry, name), buffer in zip(owners, buffers, strict=True):
            registry[name] = buffer

    def _convert(self, wanted: np.dtype) -> None:
        for parameter in self.parameters():
            parameter.cast_(wanted)
        for module in self.modules():
            for name, buffer in module._buffers.items():
                if buffer is not None and dtypes.is_float(buffer.dtype):
                    module._buffers[name] = tensor(buffer, dtype=wanted)

    def half(self) -> Module:
        """Convert to float16, on a GPU; raises DTypeError elsewhere."""
        return self.to("float16")

    def bfloat16(self) -> Module:
        """Convert to bfloat16, on a GPU; raises DTypeError elsewhere."""
        return self.to("bfloat16")

    def float(self) -> Module:
        """Convert to float32."""
        return self.to(np.float32)

    def double(self) -> Module:
        """Convert to float64."""
        return self.to(np.float64)

    def apply(self, function: Callable[[Module], Any]) -> Module:
        """Call ``function`` on all modules, those below first; as for initialising weights."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def state_dict(self, prefix: str = "") -> dict[str, Tensor]:
        """Names to live detached Tensors of all parameters and persistent buffers, in torch's order.

        Writing to one of them with ``copy_`` or item assignment changes the module.
        """
        return {name: tensor.detach() for name, tensor in state.entries(self, prefix)}

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> state.LoadResult:
        """Copy named Tensors or arrays into the module; returns ``(missing_keys, unexpected_keys)``.

        With ``assign`` the module holds the given arrays themselves from then on, where they have its dtype and can be
        written to: loading needs no second copy, and changes that whoever else holds them makes go uncounted.

        Raises one ShapeError (a RuntimeError) that lists every missing and unexpected key (unless ``strict`` is False),
        every misshapen value and every dtype that cannot be cast; nothing is changed then. TypeError for no mapping.
        """
        return state.load(self, state_dict, parameters.flag("strict", strict), parameters.flag("assign", assign))

    def extra_repr(self) -> str:
        """What stands between the brackets of the printed layer."""
        return ""

    def __repr__(self) -> str:
        children = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self._modules.items()]
        extra = self.extra_repr()
        if not children:
            return f"{type(self).__name__}({extra})"
        body = "".join(f"  {line}\n" for line in [*filter(None, [extra]), *children])
        return f"{type(self).__name__}(\n{body})"

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self._place("_parameters", name, value)
        elif isinstance(value, Module):
            self._place("_modules", name, value)
        elif name in self.__dict__.get("_parameters", ()):
            _require_none(name, value, "parameter")
            self._parameters[name] = None
        elif name in self.__dict__.get("_modules", ()):
            _require_none(name, value, "module")
            self._modules[name] = None
        elif name in self.__dict__.get("_buffers", ()):
            if not isinstance(value, Tensor):
                _require_none(name, value, "buffer")
            self._buffers[name] = value
        else:
            object.__setattr__(self, name, value)
        Changes.count += 1

    def __getattr__(self, name: str) -> Any:
        for registry in REGISTRIES:
            found = self.__dict__.get(registry, {})
            if name in found:
                return found[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        for registry in REGISTRIES:
            if name in self.__dict__.get(registry, {}):
                del self.__dict__[registry][name]
                self._transient.discard(name)
                break
        else:
            object.__delattr__(self, name)
        Changes.count += 1

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._parameters, *self._buffers, *self._modules})

    def __deepcopy__(self, memo: dict) -> Module:
        copied = memo[id(self)] = type(self).__new__(type(self))
        for buffer in self._buffers.values():
            if buffer is not None:
                memo.setdefault(id(buffer), tensor(buffer))
        copied.__dict__.update({name: deepcopy(value, memo) for name, value in self.__dict__.items()})
        return copied

    def _register(self, registry: str, name: str, value: Any) -> None:
        if not isinstance(name, str):
            raise TypeError(f"a name must be a str, got {_kind(name)}")
        if not name or "." in name:
            raise KeyError(f"a name must not be empty nor contain '.', got {name!r}")
        if hasattr(self, name) and name not in self.__dict__.get(registry, ()):
            raise KeyError(f"attribute {name!r} already exists")
        self._place(registry, name, value)

    def _place(self, registry: str, name: str, value: Any) -> None:
        if registry not in self.__dict__:
            raise AttributeError(f"cannot assign {name!r} before {type(self).__name__} has called Module.__init__()")
        for other in (self.__dict__, *(self.__dict__[key] for key in REGISTRIES if key != registry)):
            other.pop(name, None)
        self._transient.discard(name)
        self.__dict__[registry][name] = value
        Changes.count += 1

    def _named(self, registry: str, prefix: str, recurse: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for path, module in self.named_modules(prefix) if recurse else [(prefix, self)]:
            for name, value in module.__dict__[registry].items():
                if value is not None and id(value) not in seen:
                    seen.add(id(value))
                    yield f"{path}.{name}" if path else name, value


def _walk(module: Module, prefix: str) -> Iterator[tuple[str, Module]]:
    yield prefix, module
    for name, child in module.named_children():
        yield from _walk(child, f"{prefix}.{name}" if prefix else name)


def _enter(value: Any) -> Any:
    """Arrays become Tensors that show the same memory; everything else stays."""
    if isinstance(value, (Tensor, np.generic)) or not (hasattr(value, "__array__") or hasattr(value, "__dlpack__")):
        return value
    return Tensor(arrays.as_array(value, "input", anywhere=True))


def _on(device: str, tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach().to(device)


def _require_none(name: str, value: Any, role: str) -> None:
    if value is not None:
        raise TypeError(f"cannot assign {_kind(value)} as {role} {name!r} (the right kind or None expected)")


def _kind(value: Any) -> str:
    return type(value).__name__
