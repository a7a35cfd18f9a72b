// Uniform random numbers, each a hash of a key and a counter. One thread per number.
#include "core/counter_random.h"
#include "cuda/launch.h"
#include "kernels/counter_uniform.h"

namespace backmap::cuda {
namespace {

constexpr int threads = 128;

__global__ void fill(CounterUniformArguments<float> args) {
  const int64_t n = thread_of_grid();
  if (n >= args.batch * args.counters) return;
  const uint64_t stream = absorb(uint64_t(args.key[n / args.counters]), args.purpose);
  args.number[n] = uniform_number<float>(stream, uint64_t(args.counter[n % args.counters]));
}

}  // namespace

template <>
void counter_uniform(const CounterUniformArguments<float>& args, void* stream) {
  const int64_t numbers = args.batch * args.counters;
  if (numbers == 0) return;
  BACKMAP_LAUNCH(fill, blocks_for(numbers, threads), threads, stream, args);
  check_launch("counter_uniform");
}

}  // namespace backmap::cuda
