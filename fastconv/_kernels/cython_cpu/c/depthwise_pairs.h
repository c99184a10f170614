/* Neighbours taken apart and put together, for strides of two. */

#ifndef FASTCONV_DEPTHWISE_PAIRS_H
#define FASTCONV_DEPTHWISE_PAIRS_H
/* Lanes of two vectors of 16, 8, 4, 2 or 1: the even ones, the odd ones, their lower and their upper halves in turn. */
#define FC_EVEN_16 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define FC_ODD_16 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#define FC_LOWER_16 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define FC_UPPER_16 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define FC_EVEN_8 0, 2, 4, 6, 8, 10, 12, 14
#define FC_ODD_8 1, 3, 5, 7, 9, 11, 13, 15
#define FC_LOWER_8 0, 8, 1, 9, 2, 10, 3, 11
#define FC_UPPER_8 4, 12, 5, 13, 6, 14, 7, 15
#define FC_EVEN_4 0, 2, 4, 6
#define FC_ODD_4 1, 3, 5, 7
#define FC_LOWER_4 0, 4, 1, 5
#define FC_UPPER_4 2, 6, 3, 7
#define FC_EVEN_1 0
#define FC_ODD_1 1
#define FC_LOWER_1 0
#define FC_UPPER_1 1
#define FC_EVEN_2 0, 2
#define FC_ODD_2 1, 3
#define FC_LOWER_2 0, 2
#define FC_UPPER_2 1, 3

/* For one number of lanes: even[i] = from[2 * i] and odd[i] = from[2 * i + 1], and the other way round. */
#define FC_DEFINE_PAIRS(lanes)                                                                                     \
    typedef real FC_FN(fc_lanes_##lanes) __attribute__((vector_size(lanes * sizeof(real)), aligned(sizeof(real)), may_alias)); \
    static inline void FC_FN(split_##lanes)(const real *from, real *even, real *odd) {                             \
        FC_FN(fc_lanes_##lanes) low = *(const FC_FN(fc_lanes_##lanes) *)from;                                      \
        FC_FN(fc_lanes_##lanes) high = *(const FC_FN(fc_lanes_##lanes) *)(from + lanes);                           \
        FC_LOAD_ONCE(low);                                                                                         \
        FC_LOAD_ONCE(high);                                                                                        \
        *(FC_FN(fc_lanes_##lanes) *)even = FC_SHUFFLE(low, high, FC_EVEN_##lanes);                                 \
        *(FC_FN(fc_lanes_##lanes) *)odd = FC_SHUFFLE(low, high, FC_ODD_##lanes);                                   \
    }                                                                                                              \
    static inline void FC_FN(join_##lanes)(const real *even, const real *odd, real *to) {                          \
        const FC_FN(fc_lanes_##lanes) low = *(const FC_FN(fc_lanes_##lanes) *)even;                                \
        const FC_FN(fc_lanes_##lanes) high = *(const FC_FN(fc_lanes_##lanes) *)odd;                                \
        *(FC_FN(fc_lanes_##lanes) *)to = FC_SHUFFLE(low, high, FC_LOWER_##lanes);                                  \
        *(FC_FN(fc_lanes_##lanes) *)(to + lanes) = FC_SHUFFLE(low, high, FC_UPPER_##lanes);                        \
    }

/* Pieces of one size, of which the last one overlaps the one before it; an else follows. */
#define FC_SPLIT_PIECES(lanes)                                                                        \
    if (pairs >= lanes) {                                                                             \
        ptrdiff_t i = 0;                                                                              \
        for (; i + lanes <= pairs; i += lanes) FC_FN(split_##lanes)(from + 2 * i, even + i, odd + i); \
        i = pairs - lanes;                                                                            \
        if (pairs % lanes != 0) FC_FN(split_##lanes)(from + 2 * i, even + i, odd + i);                \
    } else
#define FC_JOIN_PIECES(lanes)                                                                       \
    if (pairs >= lanes) {                                                                           \
        ptrdiff_t i = 0;                                                                            \
        for (; i + lanes <= pairs; i += lanes) FC_FN(join_##lanes)(even + i, odd + i, to + 2 * i);  \
        i = pairs - lanes;                                                                          \
        if (pairs % lanes != 0) FC_FN(join_##lanes)(even + i, odd + i, to + 2 * i);                 \
    } else
#endif

#undef FC_PIECES
#undef FC_JOIN_WHOLE
#undef FC_JOIN_HALF
#if FC_VECTOR_BYTES / FC_REAL_BYTES == 16
FC_DEFINE_PAIRS(16)
FC_DEFINE_PAIRS(8)
FC_DEFINE_PAIRS(4)
#define FC_PIECES(M) M##_PIECES(16) M##_PIECES(8) M##_PIECES(4)
#define FC_JOIN_WHOLE FC_FN(join_16)
#define FC_JOIN_HALF FC_FN(join_8)
#elif FC_VECTOR_BYTES / FC_REAL_BYTES == 8
FC_DEFINE_PAIRS(8)
FC_DEFINE_PAIRS(4)
#define FC_PIECES(M) M##_PIECES(8) M##_PIECES(4)
#define FC_JOIN_WHOLE FC_FN(join_8)
#define FC_JOIN_HALF FC_FN(join_4)
#elif FC_VECTOR_BYTES / FC_REAL_BYTES == 4
FC_DEFINE_PAIRS(4)
FC_DEFINE_PAIRS(2)
#define FC_PIECES(M) M##_PIECES(4)
#define FC_JOIN_WHOLE FC_FN(join_4)
#define FC_JOIN_HALF FC_FN(join_2)
#else
FC_DEFINE_PAIRS(2)
FC_DEFINE_PAIRS(1)
#define FC_PIECES(M) M##_PIECES(2)
#define FC_JOIN_WHOLE FC_FN(join_2)
#define FC_JOIN_HALF FC_FN(join_1)
#endif

FC_INLINE void FC_FN(split_pairs)(const real *from, ptrdiff_t count, real *even, real *odd) {
    const ptrdiff_t pairs = count / 2;
    FC_PIECES(FC_SPLIT) {
        for (ptrdiff_t i = 0; i < pairs; i++) {
            even[i] = from[2 * i];
            odd[i] = from[2 * i + 1];
        }
    }
    if (count % 2) even[pairs] = from[count - 1];
}

/* Rows of one or two pieces, whose size is looked at once. */
#ifndef FC_ROWS_PIECES
#define FC_ROWS_PIECES(lanes)                                                                             \
    if (pairs >= lanes && pairs <= 2 * lanes) {                                                           \
        const ptrdiff_t i = pairs - lanes;                                                                \
        for (ptrdiff_t row = 0; row < rows; row++, from += from_pitch, even += pitch, odd += pitch) {     \
            FC_FN(split_##lanes)(from, even, odd);                                                        \
            FC_FN(split_##lanes)(from + 2 * i, even + i, odd + i);                                        \
            if (count % 2) even[pairs] = from[count - 1];                                                 \
        }                                                                                                 \
    } else
#endif

static void FC_FN(split_rows)(const real *from, ptrdiff_t from_pitch, ptrdiff_t count, real *even, real *odd,
                              ptrdiff_t pitch, ptrdiff_t rows) {
    const ptrdiff_t pairs = count / 2;
    FC_PIECES(FC_ROWS) {
        for (ptrdiff_t row = 0; row < rows; row++)
            FC_FN(split_pairs)(from + row * from_pitch, count, even + row * pitch, odd + row * pitch);
    }
}

FC_INLINE void FC_FN(join_pairs)(const real *even, const real *odd, ptrdiff_t count, real *to) {
    const ptrdiff_t pairs = count / 2;
    FC_PIECES(FC_JOIN) {
        for (ptrdiff_t i = 0; i < pairs; i++) {
            to[2 * i] = even[i];
            to[2 * i + 1] = odd[i];
        }
    }
    if (count % 2) to[count - 1] = even[pairs];
}
