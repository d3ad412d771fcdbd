// The softmax of each row, the twin of softmax.py: one block a row, two passes over it.
//
// The first pass finds the largest number m and the sum s of exp(x - m) together: where
// a larger m turns up, s is rescaled (online softmax: Milakov and Gimelshein, "Online
// normalizer calculation for softmax", 2018, arXiv:1805.02867, algorithm 3). The second
// pass reads the row again, mostly from the cache, and stores exp(x - m) / s. Counted in
// memory: 2 b bytes an element of b bytes if the row is still cached, 3 b if not.

#include "words.cuh"

namespace {

constexpr int kThreads = 256;

struct Running {
    float largest;
    float sum;
};

// Join what two parts of a row found. -inf - -inf is NaN: where nothing but -inf was
// seen, nothing is rescaled.
__device__ Running join(Running a, Running b) {
    const float largest = fmaxf(a.largest, b.largest);
    if (largest == -INFINITY) {
        return {largest, a.sum + b.sum};
    }
    const float sum =
        a.sum * __expf(a.largest - largest) + b.sum * __expf(b.largest - largest);
    return {largest, sum};
}

// fmaxf drops a NaN, but the sum keeps it: exp(NaN - m) is NaN.
__device__ Running with(Running running, float value) {
    return join(running, {value, value == -INFINITY ? 0.0f : 1.0f + 0.0f * value});
}

__device__ Running join_block(Running running) {
    __shared__ Running of_warp[kThreads / 32];
    for (int distance = 16; distance > 0; distance /= 2) {
        running = join(
            running, {__shfl_xor_sync(0xffffffffu, running.largest, distance),
                      __shfl_xor_sync(0xffffffffu, running.sum, distance)}
        );
    }
    if (threadIdx.x % 32 == 0) {
        of_warp[threadIdx.x / 32] = running;
    }
    __syncthreads();  // no thread may read before all warps have written
    running = of_warp[0];
    for (int warp = 1; warp < kThreads / 32; ++warp) {
        running = join(running, of_warp[warp]);
    }
    return running;
}

template <typename T>
__global__ void softmax_rows(
    const T *x, T *output, std::int64_t n_cols, bool words
) {
    // A grid has 2^31 - 1 blocks at most, and a row may start past 2^31 elements.
    const T *row = x + std::int64_t{blockIdx.x} * n_cols;
    T *out = output + std::int64_t{blockIdx.x} * n_cols;
    const std::int64_t n_words = words ? n_cols / Word<T>::size : 0;
    Running running = {-INFINITY, 0.0f};
    for (std::int64_t i = threadIdx.x; i < n_words; i += kThreads) {
        const Word<T> word = reinterpret_cast<const Word<T> *>(row)[i];
#pragma unroll
        for (int k = 0; k < Word<T>::size; ++k) {
            running = with(running, widen(word.values[k]));
        }
    }
    for (std::int64_t i = n_words * Word<T>::size + threadIdx.x; i < n_cols;
         i += kThreads) {
        running = with(running, widen(row[i]));
    }
    running = join_block(running);
    const float factor = 1.0f / running.sum;
    for (std::int64_t i = threadIdx.x; i < n_words; i += kThreads) {
        Word<T> word = reinterpret_cast<const Word<T> *>(row)[i];
#pragma unroll
        for (int k = 0; k < Word<T>::size; ++k) {
            const float shifted = widen(word.values[k]) - running.largest;
            word.values[k] = narrow<T>(__expf(shifted) * factor);
        }
        reinterpret_cast<Word<T> *>(out)[i] = word;
    }
    for (std::int64_t i = n_words * Word<T>::size + threadIdx.x; i < n_cols;
         i += kThreads) {
        out[i] = narrow<T>(__expf(widen(row[i]) - running.largest) * factor);
    }
}

template <typename T>
int launch(
    const T *x, T *output, std::int64_t n_rows, std::int64_t n_cols, cudaStream_t stream
) {
    if (n_rows == 0 || n_cols == 0) {
        return 0;
    }
    // Every row starts at a multiple of 16 bytes only if a row has whole words.
    const bool words = aligned(x) && aligned(output) && n_cols % Word<T>::size == 0;
    softmax_rows<<<static_cast<unsigned>(n_rows), kThreads, 0, stream>>>(
        x, output, n_cols, words
    );
    return static_cast<int>(cudaGetLastError());
}

}  // namespace

// Rows are contiguous, at most 2^31 - 1. Return 0, or the number of a CUDA error.
extern "C" int softmax_float32(
    const float *x, float *output, std::int64_t n_rows, std::int64_t n_cols,
    cudaStream_t stream
) {
    return launch(x, output, n_rows, n_cols, stream);
}

extern "C" int softmax_float16(
    const __half *x, __half *output, std::int64_t n_rows, std::int64_t n_cols,
    cudaStream_t stream
) {
    return launch(x, output, n_rows, n_cols, stream);
}
