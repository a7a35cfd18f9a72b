// Large pages for large results: the system maps pages when they are first written, and mapping small pages takes
// longer than filling them.
#pragma once

#include <ATen/ATen.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace backmap {

// A hint for a tensor that will be written completely; does nothing on systems without support.
inline at::Tensor in_large_pages(at::Tensor tensor) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr uintptr_t page = uintptr_t(2) << 20;
  if (!tensor.is_cpu()) return tensor;
  const uintptr_t first = reinterpret_cast<uintptr_t>(tensor.mutable_data_ptr()), end = first + tensor.nbytes();
  const uintptr_t begin = (first + page - 1) / page * page;
  if (end >= begin + 2 * page) madvise(reinterpret_cast<void*>(begin), (end - begin) / page * page, MADV_HUGEPAGE);
#endif
  return tensor;
}

}  // namespace backmap
