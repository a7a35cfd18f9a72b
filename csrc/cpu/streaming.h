// Stores that bypass the caches, for results that do not fit into them: cache lines are not read before being written.
#pragma once

#include <cstdint>

#include "core/host_device.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace backmap::cpu {

// Whether results of this size should bypass the caches: they exceed the part of a cache that a process can count on.
constexpr bool exceeds_cache(int64_t bytes) { return bytes > int64_t(32) << 20; }

// Copies from the first-level cache; bypasses the caches only if `target` and `source` are aligned to 16 bytes.
template <typename T>
BACKMAP_HD void stream(T* target, const T* source, int64_t count) {
  int64_t n = 0;
#if defined(__SSE2__)
  constexpr int64_t lanes = 16 / sizeof(T);
  if ((reinterpret_cast<uintptr_t>(target) | reinterpret_cast<uintptr_t>(source)) % 16 == 0)
    for (; n + lanes <= count; n += lanes)
      _mm_stream_si128(reinterpret_cast<__m128i*>(target + n),
                       _mm_load_si128(reinterpret_cast<const __m128i*>(source + n)));
#endif
  for (; n < count; ++n) target[n] = source[n];
}

// Makes streaming stores visible to other threads.
inline void finish_streaming() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

}  // namespace backmap::cpu
