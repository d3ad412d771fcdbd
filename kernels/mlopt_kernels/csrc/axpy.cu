// output[i] = alpha * x[i] + y[i], the twin of axpy.py.
//
// 3 b bytes and 2 operations an element of b bytes: bound by memory. float16 is computed
// in float and rounded once.

#include "words.cuh"

namespace {

constexpr int kThreads = 256;

// Thread i takes words i, i + stride, ...: at every moment a warp reads 512 neighbouring
// bytes, and the grid need not grow with the size.
template <typename T>
__global__ void axpy_words(
    float alpha, const T *x, const T *y, T *output, std::int64_t n_words
) {
    const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
    std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    for (; i < n_words; i += stride) {
        const Word<T> a = reinterpret_cast<const Word<T> *>(x)[i];
        const Word<T> b = reinterpret_cast<const Word<T> *>(y)[i];
        Word<T> sum;
#pragma unroll
        for (int k = 0; k < Word<T>::size; ++k) {
            sum.values[k] = narrow<T>(fmaf(alpha, widen(a.values[k]), widen(b.values[k])));
        }
        reinterpret_cast<Word<T> *>(output)[i] = sum;
    }
}

// What is left after the last whole word, or everything where a pointer is not aligned.
template <typename T>
__global__ void axpy_elements(
    float alpha, const T *x, const T *y, T *output, std::int64_t first, std::int64_t size
) {
    const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
    std::int64_t i = first + std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    for (; i < size; i += stride) {
        output[i] = narrow<T>(fmaf(alpha, widen(x[i]), widen(y[i])));
    }
}

int blocks_for(std::int64_t threads) {
    const std::int64_t blocks = (threads + kThreads - 1) / kThreads;
    return static_cast<int>(blocks < 65536 ? blocks : 65536);
}

template <typename T>
int launch(
    float alpha, const T *x, const T *y, T *output, std::int64_t size, cudaStream_t stream
) {
    const bool words = aligned(x) && aligned(y) && aligned(output);
    const std::int64_t n_words = words ? size / Word<T>::size : 0;
    const std::int64_t first = n_words * Word<T>::size;
    if (n_words > 0) {
        axpy_words<<<blocks_for(n_words), kThreads, 0, stream>>>(
            alpha, x, y, output, n_words
        );
    }
    if (first < size) {
        axpy_elements<<<blocks_for(size - first), kThreads, 0, stream>>>(
            alpha, x, y, output, first, size
        );
    }
    return static_cast<int>(cudaGetLastError());
}

}  // namespace

// Return 0, or the number of a CUDA error.
extern "C" int axpy_float32(
    float alpha, const float *x, const float *y, float *output, std::int64_t size,
    cudaStream_t stream
) {
    return launch(alpha, x, y, output, size, stream);
}

extern "C" int axpy_float16(
    float alpha, const __half *x, const __half *y, __half *output, std::int64_t size,
    cudaStream_t stream
) {
    return launch(alpha, x, y, output, size, stream);
}
