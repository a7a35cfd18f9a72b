// Loops over contiguous ranges on OpenMP threads, so that the number of threads is that of torch.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <exception>

namespace backmap::cpu {

// Calls body(begin, end) on disjoint ranges that cover [0, count), if possible none smaller than `grain`.
template <typename Body>
void parallel_ranges(int64_t count, int64_t grain, const Body& body) {
  const int64_t useful = (count + grain - 1) / grain;
  const int threads = omp_in_parallel() ? 1 : int(std::min<int64_t>(useful, omp_get_max_threads()));
  if (threads <= 1) {
    if (count > 0) body(int64_t(0), count);
    return;
  }
  std::exception_ptr failure;  // an exception must not leave a parallel region
#pragma omp parallel num_threads(threads)
  {
    const int64_t part = omp_get_thread_num(), parts = omp_get_num_threads();
    try {
      body(count * part / parts, count * (part + 1) / parts);
    } catch (...) {
#pragma omp critical
      failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

// Calls body(begin, end) on ranges of frames, one frame per thread at a time. Frames left over at the end go to one
// call outside parallel regions, where the loops within body can use all threads, unless frames are small.
template <typename Body>
void parallel_frames(int64_t frames, int64_t items_of_frame, int64_t grain, const Body& body) {
  const int64_t threads = omp_in_parallel() ? 1 : omp_get_max_threads();
  const int64_t left_over = items_of_frame >= grain * threads ? frames % threads : 0;
  parallel_ranges(frames - left_over, 1, body);
  if (left_over > 0) body(frames - left_over, frames);
}

}  // namespace backmap::cpu
