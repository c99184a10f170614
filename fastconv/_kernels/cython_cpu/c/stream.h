/* A store that goes past the caches, where the processor has one, to an address that is aligned to vectors: the line is
 * not read first, and nothing else leaves the caches for it. Other threads see such stores in order behind a fence. */
#ifndef FASTCONV_STREAM_H
#define FASTCONV_STREAM_H

#if !defined(__x86_64__)
#define FC_STREAM_STORE(address, value) (*(address) = (value))
#define FC_STREAM_FENCE() ((void)0)
#else
#include <immintrin.h>
#define FC_STREAM_FENCE() _mm_sfence()
#if FC_VECTOR_BYTES == 64
#define FC_STREAM_STORE(address, value) _mm512_stream_si512((void *)(address), (__m512i)(value))
#elif FC_VECTOR_BYTES == 32
#define FC_STREAM_STORE(address, value) _mm256_stream_si256((void *)(address), (__m256i)(value))
#else
#define FC_STREAM_STORE(address, value) _mm_stream_si128((void *)(address), (__m128i)(value))
#endif
#endif
#endif
