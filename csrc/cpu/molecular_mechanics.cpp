// Energy and gradient of a molecule. Threads share frames.
//
// Successive atoms of a molecule are near each other. Pairs are therefore visited in tiles, the atoms of one block of
// lanes with those of another, if the bounding boxes of the blocks are within the cutoff.
#include "kernels/molecular_mechanics.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "core/round_up.h"
#include "cpu/clones.h"
#include "cpu/lanes.h"
#include "cpu/listed_terms.h"
#include "cpu/parallel.h"

namespace backmap::cpu {
namespace {

// One frame, component by component, padded to whole blocks with atoms that have no charge and no depth.
template <typename T>
struct Blocks {
  int64_t count;                         // blocks
  std::vector<T> x, y, z;                // positions
  std::vector<T> charge, radius, depth;  // so that products and sums of two atoms are those of pair_energy
  std::vector<T> low[3], high[3];        // bounding boxes, padded to whole lanes
  std::vector<T> grad_x, grad_y, grad_z;
  std::vector<uint64_t> excluded;  // bit i * lanes + j: the pair of atom i of the current block and j of another
  std::vector<int32_t> near;

  explicit Blocks(const MechanicsArguments<T>& args) {
    constexpr int64_t lanes = lane_count<T>;
    const int64_t atoms = args.terms.atoms;
    count = (atoms + lanes - 1) / lanes;
    for (auto* values : {&x, &y, &z, &charge, &radius, &depth, &grad_x, &grad_y, &grad_z})
      values->resize(count * lanes);
    for (int axis = 0; axis < 3; ++axis)
      for (auto* bounds : {&low[axis], &high[axis]}) bounds->resize(round_up(count, lanes));
    excluded.resize(count);
    for (int64_t i = 0; i < atoms; ++i) {
      const T* of_atom = args.particle + 3 * i;
      charge[i] = of_atom[0] * std::sqrt(args.terms.coulomb);
      radius[i] = T(0.5) * of_atom[1];
      depth[i] = T(2) * std::sqrt(of_atom[2]);
    }
  }
};

template <typename T>
BACKMAP_HD void place(const T* atoms, int64_t atom_count, Blocks<T>& blocks) {
  constexpr int64_t lanes = lane_count<T>;
  for (int64_t i = 0; i < blocks.count * lanes; ++i) {
    const T* of_atom = atoms + 3 * std::min(i, atom_count - 1);
    blocks.x[i] = of_atom[0], blocks.y[i] = of_atom[1], blocks.z[i] = of_atom[2];
  }
  const T* positions[3] = {blocks.x.data(), blocks.y.data(), blocks.z.data()};
  for (int axis = 0; axis < 3; ++axis)
    for (int64_t b = 0; b < blocks.count; ++b) {
      const T* first = positions[axis] + b * lanes;
      blocks.low[axis][b] = *std::min_element(first, first + lanes);
      blocks.high[axis][b] = *std::max_element(first, first + lanes);
    }
}

// Marks the excluded pairs of a block's atoms, and each pair of its own atoms that would be visited twice; or, with
// mark = false, removes the marks.
template <typename T>
void mark_excluded(const MechanicsArguments<T>& args, int64_t block, bool mark, std::vector<uint64_t>& excluded) {
  constexpr int64_t lanes = lane_count<T>;
  for (int64_t i = 0; i < lanes; ++i) {
    const int64_t atom = block * lanes + i;
    for (int64_t j = 0; j <= i; ++j) excluded[block] |= uint64_t(1) << (i * lanes + j);
    if (atom >= args.terms.atoms) continue;
    for (int64_t n = args.exclusion_start[atom]; n < args.exclusion_start[atom + 1]; ++n) {
      const int64_t other = args.exclusion[n];
      uint64_t& bits = excluded[other / lanes];
      bits = mark ? bits | uint64_t(1) << (i * lanes + other % lanes) : 0;
    }
  }
  if (!mark) excluded[block] = 0;
}

template <typename T>
BACKMAP_HD bool any_lane(const IntegerLanes<T>& lanes) {
  uint64_t words[sizeof(lanes) / sizeof(uint64_t)], any = 0;
  std::memcpy(words, &lanes, sizeof(lanes));
  for (const uint64_t word : words) any |= word;
  return any != 0;
}

// Lists the blocks from `block` on whose bounding boxes are within the cutoff of its own.
template <typename T>
BACKMAP_HD void find_near(int64_t block, T square_cutoff, Blocks<T>& blocks) {
  constexpr int64_t lanes = lane_count<T>;
  const Lanes<T> zero = broadcast(T(0));
  blocks.near.clear();
  for (int64_t first = block / lanes * lanes; first < blocks.count; first += lanes) {
    Lanes<T> square = zero;
    for (int axis = 0; axis < 3; ++axis) {
      const Lanes<T> below = broadcast(blocks.low[axis][block]) - load_lanes(blocks.high[axis].data() + first);
      const Lanes<T> above = load_lanes(blocks.low[axis].data() + first) - broadcast(blocks.high[axis][block]);
      Lanes<T> gap = below > above ? below : above;
      gap = gap > zero ? gap : zero;
      square += gap * gap;
    }
    const IntegerLanes<T> within = square < broadcast(square_cutoff);
    if (!any_lane<T>(within)) continue;
    for (int64_t n = std::max<int64_t>(0, block - first); n < std::min(lanes, blocks.count - first); ++n)
      if (within[n]) blocks.near.push_back(int32_t(first + n));
  }
}

// All ones in the lanes of the lowest bits that are not set.
template <typename T>
BACKMAP_HD IntegerLanes<T> lanes_without(uint64_t bits) {
  typename LanesOf<T>::Integer of_lane[lane_count<T>];
  for (int64_t j = 0; j < lane_count<T>; ++j) of_lane[j] = bits >> j & 1 ? 0 : -1;
  IntegerLanes<T> lanes;
  std::memcpy(&lanes, of_lane, sizeof(lanes));
  return lanes;
}

// Adds the gradient of all pairs of a block with those from it on, and returns their energy.
template <typename T>
BACKMAP_HD double add_block(const MechanicsArguments<T>& args, int64_t block, Blocks<T>& blocks) {
  constexpr int64_t lanes = lane_count<T>;
  const T inverse_square_cutoff = args.terms.inverse_square_cutoff;
  const Lanes<T> zero = broadcast(T(0)), square_cutoff = broadcast(args.cutoff * args.cutoff),
                 smallest = broadcast(T(smallest_square_nm2));
  Lanes<T> own_x[lanes], own_y[lanes], own_z[lanes], energies = zero;
  for (int64_t i = 0; i < lanes; ++i) own_x[i] = own_y[i] = own_z[i] = zero;
  const int64_t own = block * lanes;
  for (const int32_t near : blocks.near) {
    const int64_t other = int64_t(near) * lanes;
    const uint64_t excluded = blocks.excluded[near];
    const Lanes<T> x = load_lanes(&blocks.x[other]), y = load_lanes(&blocks.y[other]), z = load_lanes(&blocks.z[other]);
    const Lanes<T> charge = load_lanes(&blocks.charge[other]), radius = load_lanes(&blocks.radius[other]),
                   depth = load_lanes(&blocks.depth[other]);
    Lanes<T> other_x = zero, other_y = zero, other_z = zero;
    for (int64_t i = 0; i < lanes; ++i) {
      const Lanes<T> dx = blocks.x[own + i] - x, dy = blocks.y[own + i] - y, dz = blocks.z[own + i] - z;
      const Lanes<T> real = dx * dx + dy * dy + dz * dz;
      IntegerLanes<T> counts = real < square_cutoff;
      if (excluded != 0) counts &= lanes_without<T>(excluded >> (i * lanes));
      const Lanes<T> square = real > smallest ? real : smallest;
      Lanes<T> energy, slope;
      pair_energy<T>(square, blocks.charge[own + i] * charge, blocks.radius[own + i] + radius,
                     blocks.depth[own + i] * depth, inverse_square_cutoff, energy, slope);
      energy += slope * (real - square);
      energies += counts ? energy : zero;
      const Lanes<T> push = counts ? T(2) * slope : zero;
      const Lanes<T> fx = push * dx, fy = push * dy, fz = push * dz;
      own_x[i] += fx, own_y[i] += fy, own_z[i] += fz;
      other_x += fx, other_y += fy, other_z += fz;
    }
    store_lanes(&blocks.grad_x[other], load_lanes(&blocks.grad_x[other]) - other_x);
    store_lanes(&blocks.grad_y[other], load_lanes(&blocks.grad_y[other]) - other_y);
    store_lanes(&blocks.grad_z[other], load_lanes(&blocks.grad_z[other]) - other_z);
  }
  double sum = 0;
  for (int64_t i = 0; i < lanes; ++i) {
    sum += double(energies[i]);
    for (int64_t n = 0; n < lanes; ++n) {
      blocks.grad_x[own + i] += own_x[i][n];
      blocks.grad_y[own + i] += own_y[i][n];
      blocks.grad_z[own + i] += own_z[i][n];
    }
  }
  return sum;
}

// Adds the gradients of the listed terms, and returns their energy.
BACKMAP_CLONES double add_listed(const ListedTerms<float>& terms, const float* positions, float* gradient) {
  return sum_listed(terms, positions, gradient);
}
BACKMAP_CLONES double add_listed(const ListedTerms<double>& terms, const double* positions, double* gradient) {
  return sum_listed(terms, positions, gradient);
}

template <typename T>
BACKMAP_HD double sum_pairs(const MechanicsArguments<T>& args, Blocks<T>& blocks) {
  double energy = 0;
  for (int64_t block = 0; block < blocks.count; ++block) {
    mark_excluded(args, block, true, blocks.excluded);
    find_near(block, args.cutoff * args.cutoff, blocks);
    energy += add_block(args, block, blocks);
    mark_excluded(args, block, false, blocks.excluded);
  }
  return energy;
}

BACKMAP_CLONES double add_pairs(const MechanicsArguments<float>& args, Blocks<float>& blocks) {
  return sum_pairs(args, blocks);
}
BACKMAP_CLONES double add_pairs(const MechanicsArguments<double>& args, Blocks<double>& blocks) {
  return sum_pairs(args, blocks);
}

template <typename T>
void evaluate_frame(const MechanicsArguments<T>& args, int64_t frame, Blocks<T>& blocks) {
  const int64_t atoms = args.terms.atoms;
  const T* positions = args.atoms + 3 * atoms * frame;
  T* gradient = args.gradient + 3 * atoms * frame;
  const bool finite = std::all_of(positions, positions + 3 * atoms, [](T v) { return v - v == T(0); });
  if (!finite) {
    args.energy[frame] = std::numeric_limits<T>::quiet_NaN();
    std::fill(gradient, gradient + 3 * atoms, args.energy[frame]);
    return;
  }
  for (auto* values : {&blocks.grad_x, &blocks.grad_y, &blocks.grad_z}) std::fill(values->begin(), values->end(), T(0));
  if (atoms > 0) place(positions, atoms, blocks);
  double energy = add_pairs(args, blocks);
  for (int64_t i = 0; i < atoms; ++i) store(gradient + 3 * i, {blocks.grad_x[i], blocks.grad_y[i], blocks.grad_z[i]});
  energy += add_listed(args.terms, positions, gradient);
  args.energy[frame] = T(energy);
}

}  // namespace

template <typename T>
void molecular_mechanics(const MechanicsArguments<T>& args) {
  parallel_ranges(args.batch, 1, [&](int64_t begin, int64_t end) {
    Blocks<T> blocks(args);
    for (int64_t frame = begin; frame < end; ++frame) evaluate_frame(args, frame, blocks);
  });
}

template void molecular_mechanics(const MechanicsArguments<float>&);
template void molecular_mechanics(const MechanicsArguments<double>&);

}  // namespace backmap::cpu
