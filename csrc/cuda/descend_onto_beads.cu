// Descent of atoms whose weighted means stay on beads. One thread per atom, per bead, or per frame for its links.
#include "cuda/launch.h"
#include "kernels/descend_onto_beads.h"

namespace backmap::cuda {
namespace {

constexpr int threads = 128;

// Working memory of all frames.
template <typename T>
struct Work {
  T *ahead, *gradient, *way;  // (batch, atoms, 3) twice, (batch, beads, 3)
};

template <typename T>
Work<T> work_of(const DescentArguments<T>& args) {
  T* values = reinterpret_cast<T*>(args.workspace);
  const int64_t size = 3 * args.batch * args.atoms;
  return {values, values + size, values + 2 * size};
}

// Points of one frame. Indices out of range are replaced by the nearest in range.
template <typename T>
struct Points {
  const T* first;
  int64_t size;

  __device__ Vec3<T> operator()(int64_t n) const { return load(first + 3 * (n < 0 ? 0 : n < size ? n : size - 1)); }
};

template <typename T>
struct Same {
  __device__ T operator()(T value) const { return value; }
};

template <typename T>
__global__ void start_step(DescentArguments<T> args, Work<T> work) {
  const int64_t i = thread_of_grid();
  if (i >= args.batch * args.atoms) return;
  store(work.ahead + 3 * i, look_ahead(load(args.place + 3 * i), load(args.before + 3 * i), args.settings));
}

template <typename T>
__global__ void find_gradient(DescentArguments<T> args, Work<T> work) {
  const int64_t i = thread_of_grid();
  if (i >= args.batch * args.atoms) return;
  const int64_t frame = i / args.atoms, atom = i % args.atoms;
  const Points<T> at{work.ahead + 3 * args.atoms * frame, args.atoms};
  const auto of = [&](const T* array, int64_t n) {
    return array[frame * (array == args.volume ? args.centres : args.springs) + n];
  };
  store(work.gradient + 3 * i,
        gradient_of<T>(args, atom, load(args.slope + 3 * i), args.settings.least, at, of, Same<T>{}));
}

template <typename T>
__global__ void add_links(DescentArguments<T> args, Work<T> work) {
  const int64_t frame = thread_of_grid();
  if (frame >= args.batch) return;
  const Points<T> at{work.ahead + 3 * args.atoms * frame, args.atoms};
  T* gradient = work.gradient + 3 * args.atoms * frame;
  for (int64_t link = args.links * frame; link < args.links * (frame + 1); ++link) {
    const int64_t one = args.link[2 * link], other = args.link[2 * link + 1];
    if (one < 0 || one >= args.atoms || other < 0 || other >= args.atoms) continue;
    const Vec3<T> pull =
        spring_gradient(at(one) - at(other), args.link_length[link], args.link_stiffness[link], args.settings.least);
    store(gradient + 3 * one, load(gradient + 3 * one) + pull);
    store(gradient + 3 * other, load(gradient + 3 * other) - pull);
  }
}

template <typename T>
__global__ void step(DescentArguments<T> args, Work<T> work) {
  const int64_t i = thread_of_grid();
  if (i >= args.batch * args.atoms) return;
  store(args.before + 3 * i, load(args.place + 3 * i));
  store(args.place + 3 * i, step_down(load(work.ahead + 3 * i), load(work.gradient + 3 * i), args.settings));
}

template <typename T>
__global__ void find_ways(DescentArguments<T> args, Work<T> work) {
  const int64_t i = thread_of_grid();
  if (i >= args.batch * args.beads) return;
  const int64_t frame = i / args.beads, bead = i % args.beads;
  const Points<T> at{args.place + 3 * args.atoms * frame, args.atoms};
  store(work.way + 3 * i, way_to_bead<T>(args, bead, load(args.bead + 3 * i), args.share[i], at, Same<T>{}));
}

template <typename T>
__global__ void pull(DescentArguments<T> args, Work<T> work) {
  const int64_t i = thread_of_grid();
  if (i >= args.batch * args.atoms) return;
  const int64_t frame = i / args.atoms, atom = i % args.atoms;
  const Points<T> way{work.way + 3 * args.beads * frame, args.beads};
  store(args.place + 3 * i, pulled<T>(args, atom, load(args.place + 3 * i), way, Same<T>{}));
}

}  // namespace

template <typename T>
int64_t descent_workspace(int64_t batch, int64_t atoms, int64_t beads) {
  return 3 * batch * (2 * atoms + beads) * int64_t(sizeof(T));
}

template <typename T>
void descend_onto_beads(const DescentArguments<T>& args, void* stream) {
  if (args.batch * args.atoms == 0) return;
  const Work<T> work = work_of(args);
  const int64_t of_atoms = blocks_for(args.batch * args.atoms, threads),
                of_beads = blocks_for(args.batch * args.beads, threads), of_frames = blocks_for(args.batch, threads);
  for (int64_t n = 0; n < args.steps; ++n) {
    BACKMAP_LAUNCH(start_step<T>, of_atoms, threads, stream, args, work);
    BACKMAP_LAUNCH(find_gradient<T>, of_atoms, threads, stream, args, work);
    if (args.links > 0) BACKMAP_LAUNCH(add_links<T>, of_frames, threads, stream, args, work);
    BACKMAP_LAUNCH(step<T>, of_atoms, threads, stream, args, work);
    if (args.beads == 0) continue;
    BACKMAP_LAUNCH(find_ways<T>, of_beads, threads, stream, args, work);
    BACKMAP_LAUNCH(pull<T>, of_atoms, threads, stream, args, work);
  }
  check_launch("descend_onto_beads");
}

#define BACKMAP_INSTANTIATE(T)                                      \
  template int64_t descent_workspace<T>(int64_t, int64_t, int64_t); \
  template void descend_onto_beads(const DescentArguments<T>&, void*);
BACKMAP_INSTANTIATE(float)
BACKMAP_INSTANTIATE(double)

}  // namespace backmap::cuda
