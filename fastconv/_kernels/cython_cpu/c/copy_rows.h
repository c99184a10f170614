/* Short rows copied, and aligned memory for them. */
#ifndef FASTCONV_COPY_ROWS_H
#define FASTCONV_COPY_ROWS_H
enum { FC_ALIGNMENT = 64 };

/* Pieces of a fixed size become vector moves; the last piece overlaps the one before it. */
#define FC_COPY_PIECES(size)                                                       \
    if (bytes >= (size)) {                                                         \
        ptrdiff_t i = 0;                                                           \
        for (; i + (size) <= bytes; i += (size)) memcpy(to + i, from + i, (size)); \
        if (i < bytes) memcpy(to + bytes - (size), from + bytes - (size), (size)); \
        return;                                                                    \
    }

/* A memcpy for few bytes, whole elements of at least 4. */
static inline void fc_copy(void *target, const void *source, ptrdiff_t bytes) {
    char *to = target;
    const char *from = source;
    FC_COPY_PIECES(64)
    FC_COPY_PIECES(32)
    FC_COPY_PIECES(16)
    FC_COPY_PIECES(8)
    FC_COPY_PIECES(4)
}

/* Many rows of up to two pieces: their size is looked at once. */
#define FC_COPY_ROWS(size)                                                               \
    if (bytes >= (size) && bytes <= 2 * (size)) {                                        \
        for (; count > 0; count--, to += to_pitch, from += from_pitch) {                 \
            memcpy(to, from, (size));                                                    \
            memcpy(to + bytes - (size), from + bytes - (size), (size));                  \
        }                                                                                \
    }

static inline void fc_copy_rows(void *target, ptrdiff_t to_pitch, const void *source, ptrdiff_t from_pitch,
                                ptrdiff_t bytes, ptrdiff_t count) {
    char *to = target;
    const char *from = source;
    FC_COPY_ROWS(64)
    FC_COPY_ROWS(32)
    FC_COPY_ROWS(16)
    FC_COPY_ROWS(8)
    for (; count > 0; count--, to += to_pitch, from += from_pitch) fc_copy(to, from, bytes);
}

/* Aligned memory; what is to be freed is *block. NULL where there is none. */
static inline void *fc_aligned(ptrdiff_t bytes, void **block) {
    *block = malloc((size_t)bytes + FC_ALIGNMENT);
    return *block == NULL ? NULL : (char *)*block + (-(uintptr_t)*block & (FC_ALIGNMENT - 1));
}

/* The same, filled with zeros. */
static inline void *fc_zeros(ptrdiff_t bytes, void **block) {
    void *memory = fc_aligned(bytes, block);
    return memory == NULL ? NULL : memset(memory, 0, (size_t)bytes);
}
#endif
