// Penalties on angles, each given the one before it. Threads share pairs of joints and angles before.
#include "kernels/joint_penalty.h"

#include <algorithm>
#include <vector>

#include "cpu/clones.h"
#include "cpu/joint_energies.h"
#include "cpu/layers.h"
#include "cpu/parallel.h"

namespace backmap::cpu {
namespace {

constexpr int64_t rows_of_a_thread = 256;  // fewer are not worth a thread

// Waves of the angles, with zeros up to a whole number of vectors: the rest of a vector would cost as much as several.
template <typename T>
std::vector<T> padded_waves(const JointPenaltyArguments<T>& args, int64_t padded) {
  std::vector<T> all(waves_of_angle * padded, T(0));
  for (int64_t m = 0; m < waves_of_angle; ++m)
    std::copy_n(args.wave + m * args.angles, args.angles, all.data() + m * padded);
  return all;
}

template <typename T>
BACKMAP_HD void judge(const JointPenaltyArguments<T>& args, const T* wave, int64_t padded, int64_t begin, int64_t end,
                      T* own, int32_t* cell, T* energy) {
  for (int64_t row = begin; row < end; ++row) {
    const int64_t joint = row / args.previous;
    joint_energies(args.form + joint * 3 * args.quantities * waves_of_angle, args.quantities,
                   args.table + args.kind[joint] * args.cells * args.cells, int32_t(args.cells), args.cosine[row],
                   args.sine[row], wave, padded, own, cell, energy);
    for (int64_t k = 0; k < args.angles; ++k) args.penalty[row * args.angles + k] = energy[k];
  }
}

BACKMAP_CLONES void judge_rows(const JointPenaltyArguments<float>& args, const float* wave, int64_t padded,
                               int64_t begin, int64_t end, float* own, int32_t* cell, float* energy) {
  judge(args, wave, padded, begin, end, own, cell, energy);
}
BACKMAP_CLONES void judge_rows(const JointPenaltyArguments<double>& args, const double* wave, int64_t padded,
                               int64_t begin, int64_t end, double* own, int32_t* cell, double* energy) {
  judge(args, wave, padded, begin, end, own, cell, energy);
}

}  // namespace

template <typename T>
void joint_penalty(const JointPenaltyArguments<T>& args) {
  const int64_t padded = round_up(args.angles, panel_width);
  const std::vector<T> wave = padded_waves(args, padded);
  parallel_ranges(args.batch * args.previous, rows_of_a_thread, [&](int64_t begin, int64_t end) {
    std::vector<T> own(args.quantities * waves_of_angle), energy(padded);
    std::vector<int32_t> cell(padded);
    judge_rows(args, wave.data(), padded, begin, end, own.data(), cell.data(), energy.data());
  });
}

template void joint_penalty(const JointPenaltyArguments<float>&);
template void joint_penalty(const JointPenaltyArguments<double>&);

}  // namespace backmap::cpu
