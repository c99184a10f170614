"""Relocatable object code that needs neither Numba nor Python, of a Python function or of LLVM code: what the cache
keeps."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import binding, ir
from numba import types
from numba.core import compiler
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

from fastconv._kernels.numba_cpu import settings


def object_code(built: Callable | ir.Module, arguments: int, entry: str) -> bytes:
    """Relocatable code with one visible symbol, ``void entry(int64, ...)``."""
    module, machine = _lower(built, arguments, entry)
    return machine.emit_object(module)


def assembly(built: Callable | ir.Module, arguments: int, entry: str) -> str:
    """The same as text."""
    module, machine = _lower(built, arguments, entry)
    return machine.emit_assembly(module)


def _lower(built, arguments, entry):
    return _emitted(built, entry) if isinstance(built, ir.Module) else _compiled(built, arguments, entry)


def _emitted(built, entry):
    """A module of internal functions and one other, which becomes the entry; it is not optimised."""
    machine = settings.target_machine(*cpu_target.target_context.codegen().magic_tuple()[:3])
    module = binding.parse_assembly(str(built))
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    for function in module.functions:
        if not function.is_declaration and function.linkage == binding.Linkage.external:
            function.name = entry
    module.verify()
    return module, machine


def _compiled(function, arguments, entry):
    with global_compiler_lock:
        codegen = cpu_target.target_context.codegen()
        with settings.unoptimised():
            text, name = _lowered(function, arguments)
    module = binding.parse_assembly(text)
    module.link_in(binding.parse_assembly(str(_no_reference_counts())))
    for value in (*module.functions, *module.global_variables):
        if value.name == name:
            value.name = entry
        elif not value.is_declaration:
            value.linkage = binding.Linkage.internal
    machine = settings.target_machine(*codegen.magic_tuple()[:3])
    settings.optimise(module, machine)
    return module, machine


def _lowered(function, arguments) -> tuple[str, str]:
    """Numba's final LLVM code of the function and of an entry to it in C's calling convention; and the entry's name."""
    typing, target = cpu_target.typing_context, cpu_target.target_context
    library = target.codegen().create_library(f"fastconv {function.__qualname__}")
    signature = (types.int64,) * arguments
    result = compiler.compile_extra(
        typing, target, function, signature, types.void, settings.kernel_flags(), {}, library=library
    )
    module = library.create_ir_module("entry")
    word = ir.IntType(64)
    name = f"entry.{result.fndesc.llvm_func_name}"
    entry = ir.Function(module, ir.FunctionType(ir.VoidType(), [word] * arguments), name)
    builder = ir.IRBuilder(entry.append_basic_block())
    native = target.declare_function(module, result.fndesc)
    target.call_conv.call_function(builder, native, types.void, signature, entry.args)
    builder.ret_void()
    library.add_ir_module(module)
    library.finalize()
    return library.get_llvm_str(), name


def _no_reference_counts() -> ir.Module:
    """What stands in for Numba's counting of references.

    Kernels own no memory, so Numba counts references to nothing; its runtime is not there when code is loaded. A
    kernel that allocates needs more of that runtime and does not link.
    """
    module = ir.Module("reference counts")
    kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer()])
    for name in ("NRT_incref", "NRT_decref"):
        function = ir.Function(module, kind, name)
        function.attributes.add("alwaysinline")
        ir.IRBuilder(function.append_basic_block()).ret_void()
    return module
