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

// Numbers of a block of frames: the n-th numbers of all its frames lie side by side.
template <typename T>
class BlockArray {
 public:
  explicit BlockArray(int64_t size) : values_(size * lane_count<T>) {}

  BACKMAP_HD Lanes<T> get(int64_t n) const { return load_lanes(values_.data() + n * lane_count<T>); }
  BACKMAP_HD void set(int64_t n, const Lanes<T>& value) { store_lanes(values_.data() + n * lane_count<T>, value); }
  BACKMAP_HD Vec3<Lanes<T>> point(int64_t n) const { return {get(3 * n), get(3 * n + 1), get(3 * n + 2)}; }
  BACKMAP_HD void set_point(int64_t n, const Vec3<Lanes<T>>& v) {
    set(3 * n, v.x);
    set(3 * n + 1, v.y);
    set(3 * n + 2, v.z);
  }

  // The numbers of one frame of the block.
  T* of_lane(int64_t lane) { return values_.data() + lane; }

  // From and to arrays with one row of `size` numbers per frame. Lanes without a frame repeat the first one.
  void read(const T* rows, int64_t size, int64_t frames) {
    for (int64_t lane = 0; lane < lane_count<T>; ++lane) {
      const T* row = rows + (lane < frames ? lane : 0) * size;
      for (int64_t n = 0; n < size; ++n) values_[n * lane_count<T> + lane] = row[n];
    }
  }
  void write(T* rows, int64_t size, int64_t frames) const {
    for (int64_t lane = 0; lane < frames; ++lane)
      for (int64_t n = 0; n < size; ++n) rows[lane * size + n] = values_[n * lane_count<T> + lane];
  }

 private:
  std::vector<T> values_;
};

// A block of frames as it descends.
template <typename T>
struct Block {
  const DescentArguments<T>& args;
  BlockArray<T> slope, spring_length, volume, bead, tolerance;
  BlockArray<T> place, before, ahead, gradient, way;

  explicit Block(const DescentArguments<T>& a)
      : args(a),
        slope(3 * a.atoms),
        spring_length(a.springs),
        volume(a.centres),
        bead(3 * a.beads),
        tolerance(a.beads),
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
    tolerance.read(args.tolerance + args.beads * first, args.beads, frames);
    place.read(args.place + 3 * args.atoms * first, 3 * args.atoms, frames);
    before.read(args.before + 3 * args.atoms * first, 3 * args.atoms, frames);
  }

  void write(int64_t first, int64_t frames) const {
    place.write(args.place + 3 * args.atoms * first, 3 * args.atoms, frames);
    before.write(args.before + 3 * args.atoms * first, 3 * args.atoms, frames);
  }

  BACKMAP_HD DescentSettings<Lanes<T>> settings() const {
    const DescentSettings<T>& s = args.settings;
    return {broadcast(s.step_size), broadcast(s.momentum), broadcast(s.largest_step), broadcast(s.least)};
  }
};

// ---- Passes over atoms and beads from `begin` to `end` -----------------------------------------

template <typename T>
BACKMAP_HD void pass_look_ahead(Block<T>& block, int64_t begin, int64_t end) {
  const auto settings = block.settings();
  for (int64_t atom = begin; atom < end; ++atom)
    block.ahead.set_point(atom, look_ahead(block.place.point(atom), block.before.point(atom), settings));
}

template <typename T>
BACKMAP_HD void pass_gradient(Block<T>& block, int64_t begin, int64_t end) {
  const auto least = block.settings().least;
  const auto at = [&](int64_t atom) __attribute__((always_inline)) { return block.ahead.point(atom); };
  const auto of = [&](const T* array, int64_t n) __attribute__((always_inline)) {
    return array == block.args.volume ? block.volume.get(n) : block.spring_length.get(n);
  };
  const auto shared = [](T value) __attribute__((always_inline)) { return broadcast(value); };
  for (int64_t atom = begin; atom < end; ++atom)
    block.gradient.set_point(atom,
                             gradient_of<Lanes<T>>(block.args, atom, block.slope.point(atom), least, at, of, shared));
}

// Afterwards, `before` is where atoms were, and `place` where the step leads before beads pull.
template <typename T>
BACKMAP_HD void pass_step(Block<T>& block, int64_t begin, int64_t end) {
  const auto settings = block.settings();
  for (int64_t atom = begin; atom < end; ++atom) {
    block.before.set_point(atom, block.place.point(atom));
    block.place.set_point(atom, step_down(block.ahead.point(atom), block.gradient.point(atom), settings));
  }
}

template <typename T>
BACKMAP_HD void pass_beads(Block<T>& block, int64_t begin, int64_t end) {
  const auto least = block.settings().least;
  const auto at = [&](int64_t atom) __attribute__((always_inline)) { return block.place.point(atom); };
  const auto shared = [](T value) __attribute__((always_inline)) { return broadcast(value); };
  for (int64_t bead = begin; bead < end; ++bead)
    block.way.set_point(bead, way_to_bead<Lanes<T>>(block.args, bead, block.bead.point(bead), block.tolerance.get(bead),
                                                    least, at, shared));
}

template <typename T>
BACKMAP_HD void pass_pull(Block<T>& block, int64_t begin, int64_t end) {
  const auto way = [&](int64_t bead) __attribute__((always_inline)) { return block.way.point(bead); };
  const auto shared = [](T value) __attribute__((always_inline)) { return broadcast(value); };
  for (int64_t atom = begin; atom < end; ++atom)
    block.place.set_point(atom, pulled<Lanes<T>>(block.args, atom, block.place.point(atom), way, shared));
}

#define BACKMAP_PASS(name)                                                                                      \
  BACKMAP_CLONES void name(Block<float>& block, int64_t begin, int64_t end) { pass_##name(block, begin, end); } \
  BACKMAP_CLONES void name(Block<double>& block, int64_t begin, int64_t end) { pass_##name(block, begin, end); }
BACKMAP_PASS(look_ahead)
BACKMAP_PASS(gradient)
BACKMAP_PASS(step)
BACKMAP_PASS(beads)
BACKMAP_PASS(pull)
#undef BACKMAP_PASS

// Adds the gradients of the links of a block's frames; there are few.
template <typename T>
void add_links(Block<T>& block, int64_t first, int64_t frames) {
  const DescentArguments<T>& args = block.args;
  for (int64_t lane = 0; lane < frames; ++lane) {
    const T* ahead = block.ahead.of_lane(lane);
    T* gradient = block.gradient.of_lane(lane);
    const auto at = [&](int64_t atom) {
      const T* p = ahead + 3 * lane_count<T> * atom;
      return Vec3<T>{p[0], p[lane_count<T>], p[2 * lane_count<T>]};
    };
    const auto add = [&](int64_t atom, const Vec3<T>& v) {
      T* p = gradient + 3 * lane_count<T> * atom;
      p[0] += v.x;
      p[lane_count<T>] += v.y;
      p[2 * lane_count<T>] += v.z;
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

}  // namespace

template <typename T>
void descend_onto_beads(const DescentArguments<T>& args) {
  const int64_t blocks = (args.batch + lane_count<T> - 1) / lane_count<T>;
  parallel_frames(blocks, args.atoms, atoms_per_thread, [&](int64_t begin, int64_t end) {
    Block<T> block(args);
    const auto over = [&](int64_t count, void (*pass)(Block<T>&, int64_t, int64_t)) {
      parallel_ranges(count, atoms_per_thread, [&](int64_t from, int64_t to) { pass(block, from, to); });
    };
    for (int64_t b = begin; b < end; ++b) {
      const int64_t first = b * lane_count<T>, frames = std::min(lane_count<T>, args.batch - first);
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

template void descend_onto_beads(const DescentArguments<float>&);
template void descend_onto_beads(const DescentArguments<double>&);

}  // namespace cpu
}  // namespace backmap
