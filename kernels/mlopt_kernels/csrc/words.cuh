// What the four kernels share: 16-byte words, and numbers widened to float.
#pragma once

#include <cstdint>
#include <cuda_fp16.h>

// A GPU moves 16 bytes a thread at most. A type of that size and alignment is loaded by
// one instruction, where its elements one by one would take 4 (float) or 8 (half).
template <typename T>
struct alignas(16) Word {
    static constexpr int size = 16 / sizeof(T);
    T values[size];
};

__device__ inline float widen(float value) { return value; }
__device__ inline float widen(__half value) { return __half2float(value); }

template <typename T>
__device__ T narrow(float value);
template <>
__device__ inline float narrow<float>(float value) { return value; }
template <>
__device__ inline __half narrow<__half>(float value) { return __float2half_rn(value); }

// A pointer that a caller moved by an element is no multiple of 16 any more, and a word
// there would be an error: such tensors take the path of single elements.
inline bool aligned(const void *pointer) {
    return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0;
}
