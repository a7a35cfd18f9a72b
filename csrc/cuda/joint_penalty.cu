// Penalties on angles, each given the one before it. One thread per angle.
#include "core/joint_penalty.h"
#include "cuda/joint_energy.h"
#include "cuda/launch.h"
#include "kernels/joint_penalty.h"

namespace backmap::cuda {
namespace {

constexpr int threads = 128;

template <typename T>
__global__ void judge(JointPenaltyArguments<T> args) {
  const int64_t n = thread_of_grid();
  if (n >= args.batch * args.previous * args.angles) return;
  const int64_t row = n / args.angles, joint = row / args.previous, kind = args.kind[joint];
  const T* table = args.table + (kind < 0 || kind >= args.kinds ? 0 : kind) * args.cells * args.cells;
  args.penalty[n] =
      joint_energy(args.form + joint * 3 * args.quantities * waves_of_angle, args.quantities, table,
                   int32_t(args.cells), args.cosine[row], args.sine[row], args.wave, args.angles, n % args.angles);
}

}  // namespace

template <typename T>
void joint_penalty(const JointPenaltyArguments<T>& args, void* stream) {
  const int64_t angles = args.batch * args.previous * args.angles;
  if (angles == 0) return;
  BACKMAP_LAUNCH(judge<T>, blocks_for(angles, threads), threads, stream, args);
  check_launch("joint_penalty");
}

template void joint_penalty(const JointPenaltyArguments<float>&, void*);
template void joint_penalty(const JointPenaltyArguments<double>&, void*);

}  // namespace backmap::cuda
