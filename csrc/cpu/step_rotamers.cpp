// Steps of side-chain torsions in time. Threads share residues; vectors run over features and bins.
#include "kernels/step_rotamers.h"

#include <vector>

#include "cpu/clones.h"
#include "cpu/parallel.h"

namespace backmap::cpu {
namespace {

constexpr int64_t residues_per_thread = 64;  // fewer are not worth a thread

template <typename T>
BACKMAP_HD void step(const StepRotamersArguments<T>& args, int64_t begin, int64_t end, const RotamerMemory<T>& memory) {
  const RotamerNetwork<T> network = network_of(args);
  for (int64_t r = begin; r < end; ++r)
    args.first[r] = step_rotamer(network, args.passes, step_of(args, r), memory, args.after + r * args.torsions);
}

BACKMAP_CLONES void step_residues(const StepRotamersArguments<float>& args, int64_t begin, int64_t end,
                                  const RotamerMemory<float>& memory) {
  step(args, begin, end, memory);
}
BACKMAP_CLONES void step_residues(const StepRotamersArguments<double>& args, int64_t begin, int64_t end,
                                  const RotamerMemory<double>& memory) {
  step(args, begin, end, memory);
}

}  // namespace

template <typename T>
void step_rotamers(const StepRotamersArguments<T>& args) {
  parallel_ranges(args.batch, residues_per_thread, [&](int64_t begin, int64_t end) {
    std::vector<T> hidden(args.width), probability(args.bins), height(args.bins);
    std::vector<int64_t> basin(args.bins);
    step_residues(args, begin, end, {hidden.data(), probability.data(), height.data(), basin.data()});
  });
}

template void step_rotamers(const StepRotamersArguments<float>&);
template void step_rotamers(const StepRotamersArguments<double>&);

}  // namespace backmap::cpu
