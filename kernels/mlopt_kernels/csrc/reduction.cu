// The sum of all elements, the twin of reduction.py, in two stages.
//
// b bytes and 1 addition an element of b bytes: bound by memory. Each block stores the
// sum of its share, then one block adds those up. There are no atomic additions, whose
// order changes from run to run: here the same numbers always have the same sum. That
// holds because the number of blocks depends on the size alone, not on the device.

#include "words.cuh"

namespace {

constexpr int kThreads = 256;
constexpr int kMostBlocks = 1024;

// Every thread of the block must call it; the sum comes back in thread 0.
__device__ float block_sum(float value) {
    __shared__ float of_warp[kThreads / 32];
    // Within a warp numbers go from register to register, with no memory in between.
    for (int distance = 16; distance > 0; distance /= 2) {
        value += __shfl_down_sync(0xffffffffu, value, distance);
    }
    if (threadIdx.x % 32 == 0) {
        of_warp[threadIdx.x / 32] = value;
    }
    __syncthreads();  // no warp may read before all have written
    if (threadIdx.x < 32) {
        value = threadIdx.x < kThreads / 32 ? of_warp[threadIdx.x] : 0.0f;
        for (int distance = kThreads / 64; distance > 0; distance /= 2) {
            value += __shfl_down_sync(0xffffffffu, value, distance);
        }
    }
    return value;
}

template <typename T>
__global__ void sum_of_blocks(
    const T *x, float *partial, std::int64_t n_words, std::int64_t size
) {
    const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
    const std::int64_t thread = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    float sum = 0.0f;
    for (std::int64_t i = thread; i < n_words; i += stride) {
        const Word<T> word = reinterpret_cast<const Word<T> *>(x)[i];
#pragma unroll
        for (int k = 0; k < Word<T>::size; ++k) {
            sum += widen(word.values[k]);
        }
    }
    for (std::int64_t i = n_words * Word<T>::size + thread; i < size; i += stride) {
        sum += widen(x[i]);
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = sum;
    }
}

__global__ void sum_of_sums(const float *partial, float *output, int n_blocks) {
    float sum = 0.0f;
    for (int i = threadIdx.x; i < n_blocks; i += blockDim.x) {
        sum += partial[i];
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        *output = sum;
    }
}

template <typename T>
int launch(
    const T *x, float *partial, float *output, std::int64_t size, cudaStream_t stream
) {
    const std::int64_t wanted = (size + kThreads * 16 - 1) / (kThreads * 16);
    const std::int64_t positive = wanted > 0 ? wanted : 1;  // a sum of nothing is 0
    const int n_blocks =
        static_cast<int>(positive < kMostBlocks ? positive : kMostBlocks);
    const std::int64_t n_words = aligned(x) ? size / Word<T>::size : 0;
    sum_of_blocks<<<n_blocks, kThreads, 0, stream>>>(x, partial, n_words, size);
    sum_of_sums<<<1, kThreads, 0, stream>>>(partial, output, n_blocks);
    return static_cast<int>(cudaGetLastError());
}

}  // namespace

// `partial` holds 1024 floats, `output` one. Return 0, or the number of a CUDA error.
extern "C" int reduction_float32(
    const float *x, float *partial, float *output, std::int64_t size, cudaStream_t stream
) {
    return launch(x, partial, output, size, stream);
}

extern "C" int reduction_float16(
    const __half *x, float *partial, float *output, std::int64_t size,
    cudaStream_t stream
) {
    return launch(x, partial, output, size, stream);
}
