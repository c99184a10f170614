# The kernels that share the microkernels of this extension; the tables of grad_weight_args.h, pointwise_args.h,
# first_layer_args.h, images_args.h, sweep_args.h, winograd_args.h and winograd_grad_args.h.

cdef const void* grad_weight_kernels(int itemsize) noexcept
cdef const void* pointwise_kernels(int itemsize) noexcept
cdef const void* first_layer_kernels(int itemsize) noexcept
cdef const void* images_kernels(int itemsize) noexcept
cdef const void* sweep_kernels(int itemsize) noexcept
cdef const void* winograd_kernels(int itemsize) noexcept
cdef const void* winograd_grad_kernels(int itemsize) noexcept

# The flags of activation.h.
cdef int ending(object activation) except -1
