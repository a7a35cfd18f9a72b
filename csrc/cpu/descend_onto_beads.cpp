// Descent of atoms whose weighted means stay on beads. Vectors run over frames, one lane per frame; threads share
// blocks of frames, or the atoms of one large block.
#include "kernels/descend_onto_beads.h"

#include <algorithm>
#include <vector>

#include "cpu/clones.h"
#include "cpu/lanes.h"
#include "cpu/parallel.h"

namespace backmap {

template <typename T>
struct ElementaryOfLanes {
  using N = cpu::Lanes<T>;
  static BACKMAP_HD N root(const N& v) { return cpu::square_root<T>(v); }
  static BACKMAP_HD N smaller(const N& a, const N& b) { return a < b ? a : b; }
  static BACKMAP_HD N larger(const N& a, const N& b) { return a > b ? a : b; }
};
template <>
struct Elementary<cpu::Lanes<float>> : ElementaryOfLanes<float> {};
template <>
struct Elementary<cpu::Lanes<double>> : ElementaryOfLanes<double> {};

namespace cpu {
namespace {

constexpr int64_t atoms_per_thread = 4096;  // fewer are not worth a thread

// Numbers of one frame, or of as many as a vector has lanes.
template <typename T>
struct OneFrame {
  using Scalar = T;
  using Number = T;
  static constexpr int64_t frames = 1;
  static BACKMAP_HD T load(const T* p) { return *p; }
  static BACKMAP_HD void store(T* p, T v) { *p = v; }
  static BACKMAP_HD T same(T v) { return v; }
};
template <typename T>
struct FramePerLane {
  using Scalar = T;
  using Number = Lanes<T>;
  static constexpr int64_t frames = lane_count<T>;
  static BACKMAP_HD Number load(const T* p) { return load_lanes(p); }
  static BACKMAP_HD void store(T* p, const Number& v) { store_lanes(p, v); }
  static BACKMAP_HD Number same(T v) { return broadcast(v); }
};

// Numbers of a block of frames: the n-th numbers of all its frames lie side by side.
template <typename Width>
class BlockArray {
 public:
  using T = typename Width::Scalar;
  using N = typename Width::Number;

  explicit BlockArray(int64_t size) : values_(size * Width::frames) {}

  BACKMAP_HD N get(int64_t n) const { return Width::load(values_.data() + n * Width::frames); }
  BACKMAP_HD void set(int64_t n, const N& value) { Width::store(values_.data() + n * Width::frames, value); }
  BACKMAP_HD Vec3<N> point(int64_t n) const { return {get(3 * n), get(3 * n + 1), get(3 * n + 2)}; }
  BACKMAP_HD void set_point(int64_t n, const Vec3<N>& v) {
    set(3 * n, v.x);
    set(3 * n + 1, v.y);
    set(3 * n + 2, v.z);
  }

  // The numbers of one frame of the block.
  T* of_lane(int64_t lane) { return values_.data() + lane; }

  // From and to arrays with one row of `size` numbers per frame. Lanes without a frame repeat the first one.
  void read(const T* rows, int64_t size, int64_t frames) {
    for (int64_t lane = 0; lane < Width::frames; ++lane) {
      const T* row = rows + (lane < frames ? lane : 0) * size;
      for (int64_t n = 0; n < size; ++n) values_[n * Width::frames + lane] = row[n];
    }
  }
  void write(T* rows, int64_t size, int64_t frames) const {
    for (int64_t lane = 0; lane < frames; ++lane)
      for (int64_t n = 0; n < size; ++n) rows[lane * size + n] = values_[n * Width::frames + lane];
  }

 private:
  std::vector<T> values_;
};

// A block of frames as it descends.
template <typename Width>
struct Block {
  using T = typename Width::Scalar;
  using N = typename Width::Number;

  const DescentArguments<T>& args;
  BlockArray<Width> slope, spring_length, volume, bead, share;
  BlockArray<Width> place, before, ahead, gradient, way;

  explicit Block(const DescentArguments<T>& a)
      : args(a),
        slope(3 * a.atoms),
        spring_length(a.springs),
        volume(a.centres),
        bead(3 * a.beads),
        share(a.beads),
        place(3 * a.atoms),
        before(3 * a.atoms),
        ahead(3 * a.atoms),
        gradient(3 * a.atoms),
        way(3 * a.beads) {}

  void read(int64_t first, int64_t frames) {
    slope.read(args.slope + 3 * args.atoms * first, 3 * args.atoms, frames);
    spring_length.read(args.spring_length + args.springs * first, args.springs, frames);
    volume.read(args.volume + args.centres * first, args.centres, frames);
    bead.read(args.bead + 3 * args.beads * first, 3 * args.beads, frames);
    share.read(args.share + args.beads * first, args.beads, frames);
    place.read(args.place + 3 * args.atoms * first, 3 * args.atoms, frames);
    before.read(args.before + 3 * args.atoms * first, 3 * args.atoms, frames);
  }

  void write(int64_t first, int64_t frames) const {
    place.write(args.place + 3 * args.atoms * first, 3 * args.atoms, frames);
    before.write(args.before + 3 * args.atoms * first, 3 * args.atoms, frames);
  }

  BACKMAP_HD DescentSettings<N> settings() const {
    const DescentSettings<T>& s = args.settings;
    return {Width::same(s.step_size), Width::same(s.momentum), Width::same(s.largest_step), Width::same(s.least)};
  }
};

// ---- Passes over atoms and beads from `begin` to `end` -----------------------------------------

template <typename Width>
BACKMAP_HD void pass_look_ahead(Block<Width>& block, int64_t begin, int64_t end) {
  const auto settings = block.settings();
  for (int64_t atom = begin; atom < end; ++atom)
    block.ahead.set_point(atom, look_ahead(block.place.point(atom), block.before.point(atom), settings));
}

template <typename Width>
BACKMAP_HD void pass_gradient(Block<Width>& block, int64_t begin, int64_t end) {
  const auto least = block.settings().least;
  const auto at = [&](int64_t atom) __attribute__((always_inline)) { return block.ahead.point(atom); };
  const auto of = [&](const auto* array, int64_t n) __attribute__((always_inline)) {
    return array == block.args.volume ? block.volume.get(n) : block.spring_length.get(n);
  };
  const auto shared = [](auto value) __attribute__((always_inline)) { return Width::same(value); };
  for (int64_t atom = begin; atom < end; ++atom)
    block.gradient.set_point(
        atom, gradient_of<typename Width::Number>(block.args, atom, block.slope.point(atom), least, at, of, shared));
}

// Afterwards, `before` is where atoms were, and `place` where the step leads before beads pull.
template <typename Width>
BACKMAP_HD void pass_step(Block<Width>& block, int64_t begin, int64_t end) {
  const auto settings = block.settings();
  for (int64_t atom = begin; atom < end; ++atom) {
    block.before.set_point(atom, block.place.point(atom));
    block.place.set_point(atom, step_down(block.ahead.point(atom), block.gradient.point(atom), settings));
  }
}

template <typename Width>
BACKMAP_HD void pass_beads(Block<Width>& block, int64_t begin, int64_t end) {
  const auto at = [&](int64_t atom) __attribute__((always_inline)) { return block.place.point(atom); };
  const auto shared = [](auto value) __attribute__((always_inline)) { return Width::same(value); };
  for (int64_t bead = begin; bead < end; ++bead)
    block.way.set_point(bead, way_to_bead<typename Width::Number>(block.args, bead, block.bead.point(bead),
                                                                  block.share.get(bead), at, shared));
}

template <typename Width>
BACKMAP_HD void pass_pull(Block<Width>& block, int64_t begin, int64_t end) {
  const auto way = [&](int64_t bead) __attribute__((always_inline)) { return block.way.point(bead); };
  const auto shared = [](auto value) __attribute__((always_inline)) { return Width::same(value); };
  for (int64_t atom = begin; atom < end; ++atom)
    block.place.set_point(atom, pulled<typename Width::Number>(block.args, atom, block.place.point(atom), way, shared));
}

#define BACKMAP_PASS_OF(name, Width) \
  BACKMAP_CLONES void name(Block<Width>& block, int64_t begin, int64_t end) { pass_##name(block, begin, end); }
#define BACKMAP_PASS(name)                   \
  BACKMAP_PASS_OF(name, OneFrame<float>)     \
  BACKMAP_PASS_OF(name, OneFrame<double>)    \
  BACKMAP_PASS_OF(name, FramePerLane<float>) \
  BACKMAP_PASS_OF(name, FramePerLane<double>)
BACKMAP_PASS(look_ahead)
BACKMAP_PASS(gradient)
BACKMAP_PASS(step)
BACKMAP_PASS(beads)
BACKMAP_PASS(pull)
#undef BACKMAP_PASS
#undef BACKMAP_PASS_OF

// Adds the gradients of the links of a block's frames; there are few.
template <typename Width>
void add_links(Block<Width>& block, int64_t first, int64_t frames) {
  using T = typename Width::Scalar;
  const DescentArguments<T>& args = block.args;
  for (int64_t lane = 0; lane < frames; ++lane) {
    const T* ahead = block.ahead.of_lane(lane);
    T* gradient = block.gradient.of_lane(lane);
    const auto at = [&](int64_t atom) {
      const T* p = ahead + 3 * Width::frames * atom;
      return Vec3<T>{p[0], p[Width::frames], p[2 * Width::frames]};
    };
    const auto add = [&](int64_t atom, const Vec3<T>& v) {
      T* p = gradient + 3 * Width::frames * atom;
      p[0] += v.x;
      p[Width::frames] += v.y;
      p[2 * Width::frames] += v.z;
    };
    for (int64_t link = args.links * (first + lane); link < args.links * (first + lane + 1); ++link) {
      const int64_t one = args.link[2 * link], other = args.link[2 * link + 1];
      if (one < 0 || other < 0) continue;
      const Vec3<T> pull =
          spring_gradient(at(one) - at(other), args.link_length[link], args.link_stiffness[link], args.settings.least);
      add(one, pull);
      add(other, T(-1) * pull);
    }
  }
}

// Frames from `begin` to `end`, in blocks.
template <typename Width>
void descend(const DescentArguments<typename Width::Scalar>& args, int64_t begin, int64_t end) {
  const int64_t blocks = (end - begin + Width::frames - 1) / Width::frames;
  parallel_frames(blocks, args.atoms, atoms_per_thread, [&](int64_t first_block, int64_t last_block) {
    Block<Width> block(args);
    const auto over = [&](int64_t count, void (*pass)(Block<Width>&, int64_t, int64_t)) {
      parallel_ranges(count, atoms_per_thread, [&](int64_t from, int64_t to) { pass(block, from, to); });
    };
    for (int64_t b = first_block; b < last_block; ++b) {
      const int64_t first = begin + b * Width::frames, frames = std::min(Width::frames, end - first);
      block.read(first, frames);
      for (int64_t n = 0; n < args.steps; ++n) {
        over(args.atoms, look_ahead);
        over(args.atoms, gradient);
        if (args.links > 0) add_links(block, first, frames);
        over(args.atoms, step);
        over(args.beads, beads);
        over(args.atoms, pull);
      }
      block.write(first, frames);
    }
  });
}

}  // namespace

template <typename T>
void descend_onto_beads(const DescentArguments<T>& args) {
  constexpr int64_t worth_lanes = lane_count<T> / 2;  // frames; fewer are faster one by one
  const int64_t left_over = args.batch % lane_count<T>;
  const int64_t in_lanes = left_over < worth_lanes ? args.batch - left_over : args.batch;
  descend<FramePerLane<T>>(args, 0, in_lanes);
  descend<OneFrame<T>>(args, in_lanes, args.batch);
}

template void descend_onto_beads(const DescentArguments<float>&);
template void descend_onto_beads(const DescentArguments<double>&);

}  // namespace cpu
}  // namespace backmap
