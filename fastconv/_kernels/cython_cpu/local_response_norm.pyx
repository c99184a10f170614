"""Normalisation across channels in C for every instruction set, driven by the thread pool."""

from fastconv._kernels.cython_cpu.operands cimport address, fc_kernel, grain, run_on_scratch, whole_lines
from fastconv._kernels.pool._native cimport parallel_for

from fastconv._kernels import contract
from fastconv.dtypes import FLOAT_TYPES

cdef extern from "local_response_norm_args.h" nogil:
    ctypedef struct fc_response_args:
        const void *x
        const void *grad_out
        const double *settings
        void *target
        char *scratch
        Py_ssize_t N, C, pixels, before, behind, images, scratch_bytes
    ctypedef struct fc_response_kernels:
        fc_kernel forward, grad_input
    Py_ssize_t FC_RESPONSE_LANES
    const fc_response_kernels* fc_response_select(int itemsize)


cdef class Forward:
    """Items are runs of pixels of one image, or images of one pixel."""

    cdef fc_response_args args
    cdef const fc_response_kernels* kernels
    cdef Py_ssize_t items, chunk

    def __init__(self, problem):
        g = problem.geometry
        itemsize = FLOAT_TYPES[problem.dtype].storage.itemsize
        self.kernels = fc_response_select(itemsize)
        a = &self.args
        a.N, a.C, a.pixels, a.before, a.behind = g.N, g.C, g.pixels, g.before, g.behind
        a.images = max(1, FC_RESPONSE_LANES // g.C) if g.pixels == 1 else 1
        a.scratch_bytes = whole_lines(g.C * min(g.pixels, FC_RESPONSE_LANES) * itemsize)
        self.items = -(-g.N // a.images) * -(-g.pixels // FC_RESPONSE_LANES)
        self.chunk = grain(g.flops // max(1, self.items))

    def __call__(self, x, settings, out):
        cdef fc_response_args a = self.args
        a.x, a.settings, a.target = address(x), <const double*> address(settings), address(out)
        with nogil:
            parallel_for(self.kernels.forward, &a, self.items, self.chunk)
        return contract.OK


cdef class GradInput(Forward):
    """The same; of each channel it keeps what others see while an item is computed."""

    @property
    def scratch_bytes(self):
        """What one thread needs."""
        return self.args.scratch_bytes

    def __call__(self, grad_out, x, settings, grad_input):
        cdef fc_response_args a = self.args
        cdef bint done
        a.grad_out, a.x, a.target = address(grad_out), address(x), address(grad_input)
        a.settings = <const double*> address(settings)
        with nogil:
            done = run_on_scratch(self.kernels.grad_input, &a, &a.scratch, a.scratch_bytes, self.items, self.chunk)
        return contract.OK if done else contract.OUT_OF_MEMORY


def _prepare_grad_input(problem):
    run = GradInput(problem)
    return contract.Kernel("direct", run, workspace_bytes=run.scratch_bytes)


VARIANTS = {
    "local_response_norm_forward": (
        contract.Variant("direct", lambda problem: contract.Kernel("direct", Forward(problem))),
    ),
    "local_response_norm_grad_input": (contract.Variant("direct", _prepare_grad_input),),
}
