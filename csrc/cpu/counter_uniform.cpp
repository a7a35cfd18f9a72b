// Uniform random numbers, each a hash of a key and a counter. Threads share the numbers.
#include "kernels/counter_uniform.h"

#include <algorithm>

#include "core/counter_random.h"
#include "cpu/clones.h"
#include "cpu/parallel.h"

namespace backmap::cpu {
namespace {

constexpr int64_t numbers_of_a_thread = 16384;  // fewer are not worth a thread

BACKMAP_CLONES void fill(uint64_t stream, const int64_t* counter, int64_t count, float* number) {
  for (int64_t c = 0; c < count; ++c) number[c] = uniform_number<float>(stream, uint64_t(counter[c]));
}

}  // namespace

template <>
void counter_uniform(const CounterUniformArguments<float>& args) {
  parallel_ranges(args.batch * args.counters, numbers_of_a_thread, [&](int64_t begin, int64_t end) {
    for (int64_t first = begin; first < end;) {
      const int64_t row = first / args.counters, counter = first % args.counters;
      const int64_t count = std::min(end - first, args.counters - counter);
      fill(absorb(uint64_t(args.key[row]), args.purpose), args.counter + counter, count, args.number + first);
      first += count;
    }
  });
}

}  // namespace backmap::cpu
