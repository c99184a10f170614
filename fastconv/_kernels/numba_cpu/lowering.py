"""A Python function as relocatable object code that needs neither Numba nor Python: what the cache keeps."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import binding, ir
from numba import types
from numba.core import compiler
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

from fastconv._kernels.numba_cpu import settings


def object_code(function: Callable, arguments: int, entry: str) -> bytes:
    """Relocatable code with one visible symbol, ``void entry(int64, ...)``."""
    module, machine = _lower(function, arguments, entry)
    return machine.emit_object(module)


def assembly(function: Callable, arguments: int, entry: str) -> str:
    """The same as text."""
    module, machine = _lower(function, arguments, entry)
    return machine.emit_assembly(module)


def _lower(function, arguments, entry):
    with global_compiler_lock:
        text, name = _optimised(function, arguments)
        codegen = cpu_target.target_context.codegen()
    module = binding.parse_assembly(text)
    module.link_in(binding.parse_assembly(str(_no_reference_counts())))
    for value in (*module.functions, *module.global_variables):
        if value.name == name:
            value.name = entry
        elif not value.is_declaration:
            value.linkage = binding.Linkage.internal
    machine = settings.target_machine(*codegen.magic_tuple()[:3])
    # What was inlined, what served Numba alone, and what counted references is dead now.
    passes = binding.create_pass_builder(machine, binding.create_pipeline_tuning_options(speed_level=1))
    passes.getModulePassManager().run(module, passes)
    return module, machine


def _optimised(function, arguments) -> tuple[str, str]:
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
