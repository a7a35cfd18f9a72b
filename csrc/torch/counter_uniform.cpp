// Uniform random numbers, each a hash of a key and a counter: from tensors to launchers.
#include "kernels/counter_uniform.h"

#include "torch/checks.h"
#include "torch/launch.h"
#include "torch/register.h"

namespace backmap {
namespace {

using namespace checks;

Tensor empty_counter_uniform(const Tensor& keys, int64_t /*purpose*/, const Tensor& counters) {
  const char* op = "counter_uniform";
  const Argument first{op, "keys", keys};
  has_dtype(first, at::kLong);
  goes_with({op, "counters", counters}, first, at::kLong);
  Sizes sizes = without_last(keys, 0);
  const auto of_counters = counters.sym_sizes();
  sizes.append(of_counters.begin(), of_counters.end());
  return at::empty_symint(sizes, keys.options().dtype(at::kFloat));
}

Tensor counter_uniform(const Tensor& keys, int64_t purpose, const Tensor& counters) {
  const Tensor numbers = empty_counter_uniform(keys, purpose, counters);
  const Tensor keys_ = keys.contiguous(), counters_ = counters.contiguous();
  const CounterUniformArguments<float> args{
      .batch = keys.numel(),
      .counters = counters.numel(),
      .purpose = uint64_t(purpose),
      .key = keys_.const_data_ptr<int64_t>(),
      .counter = counters_.const_data_ptr<int64_t>(),
      .number = numbers.mutable_data_ptr<float>(),
  };
  launch(keys, [&] { cpu::counter_uniform(args); }, [&](void* s) { cuda::counter_uniform(args, s); });
  return numbers;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(backmap, m) {
  register_operator<&counter_uniform, &empty_counter_uniform, NoGradient>(
      m, "counter_uniform(Tensor keys, int purpose, Tensor counters) -> Tensor");
}

}  // namespace backmap
