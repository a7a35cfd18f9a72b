// The CUDA kernels, run on the CPU by emulation, against the CPU kernels.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>

#include "core/cell_hash.h"
#include "core/exponential.h"
#include "kernels.h"
#include "random_structures.h"

namespace backmap::testing {
namespace {

int failures = 0;

void check(bool condition, const char* what) {
  if (condition) return;
  std::printf("FAILED: %s\n", what);
  ++failures;
}

template <typename T>
double difference(const std::vector<T>& a, const std::vector<T>& b) {
  double largest = a.size() == b.size() ? 0 : INFINITY;
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) {
    const double d = std::fabs(double(a[i]) - double(b[i]));
    if (!(d <= largest)) largest = d;
  }
  return largest;
}

bool same_bytes(const void* a, const void* b, size_t bytes) { return bytes == 0 || std::memcmp(a, b, bytes) == 0; }

template <typename T>
constexpr double tolerance = sizeof(T) == 4 ? 2e-5 : 1e-12;

// ---- Canonical alignment -----------------------------------------------------------------------

template <typename T>
void test_alignment(int64_t batch, int64_t residues, int64_t slots, int64_t queries, int64_t neighbours,
                    FrameRule rule) {
  Random random{unsigned(residues * 31 + neighbours)};
  const int64_t atoms_of_frame = residues * slots;
  // A coarse lattice, so that many distances tie.
  auto atoms = random.uniforms<T>(batch * atoms_of_frame * 3, 0, 3);
  for (size_t i = 0; i < atoms.size(); i += 2) atoms[i] = std::round(atoms[i] * 2) / 2;
  const Flags present = random.flags(batch * atoms_of_frame, 0.7), selectable = random.flags(atoms_of_frame, 0.6);
  auto query = random.uniforms<T>(batch * queries * 3, -1, 4);
  for (size_t i = 0; i < query.size(); ++i) query[i] = std::round(query[i] * 2) / 2;
  const auto triangle = random.uniforms<T>(batch * queries * 9, 0, 1);
  const auto exclude = random.integers(queries, -1, residues > 0 ? residues : 1);
  struct Result {
    std::vector<T> local, frame;
    std::vector<int64_t> index;
  };
  const auto run = [&](auto&& launch) {
    Result r{std::vector<T>(batch * queries * neighbours * slots * 3, T(9)), std::vector<T>(batch * queries * 12, T(9)),
             std::vector<int64_t>(batch * queries * neighbours, 9)};
    launch(AlignmentArguments<T>{batch, residues, slots, queries, neighbours, rule, atoms.data(), present.data(),
                                 atoms_of_frame, selectable.data(), 0, query.data(), triangle.data(), exclude.data(),
                                 r.local.data(), r.index.data(), r.frame.data()});
    return r;
  };
  const Result c = run([](const auto& a) { cpu::canonical_alignment(a); });
  const Result g = run([](const auto& a) { cuda::canonical_alignment(a, nullptr); });
  check(c.index == g.index, "canonical_alignment: index");
  check(difference(c.local, g.local) == 0, "canonical_alignment: local");
  check(difference(c.frame, g.frame) == 0, "canonical_alignment: frame");

  const auto grad_local = random.uniforms<T>(c.local.size(), -1, 1),
             grad_frame = random.uniforms<T>(c.frame.size(), -1, 1);
  struct Gradient {
    std::vector<T> atoms, triangle;
  };
  const auto run_backward = [&](auto&& launch) {
    Gradient r{std::vector<T>(atoms.size(), T(0)), std::vector<T>(triangle.size(), T(9))};
    launch(AlignmentBackwardArguments<T>{batch, residues, slots, queries, neighbours, rule, grad_local.data(),
                                         grad_frame.data(), atoms.data(), present.data(), atoms_of_frame,
                                         c.index.data(), triangle.data(), r.atoms.data(), r.triangle.data()});
    return r;
  };
  const Gradient cb = run_backward([](const auto& a) { cpu::canonical_alignment_backward(a); });
  const Gradient gb = run_backward([](const auto& a) { cuda::canonical_alignment_backward(a, nullptr); });
  double scale = 1;
  for (const T v : cb.triangle) scale = std::fmax(scale, std::fabs(double(v)));
  check(difference(cb.atoms, gb.atoms) < 10 * tolerance<T>, "canonical_alignment_backward: atoms");
  check(difference(cb.triangle, gb.triangle) < 10 * tolerance<T> * scale, "canonical_alignment_backward: triangle");
}

template <typename T>
void test_placement(int64_t queries, int64_t slots) {
  Random random(7);
  const auto frame = random.uniforms<T>(queries * 12, -1, 1), local = random.uniforms<T>(queries * slots * 3, -1, 1),
             grad = random.uniforms<T>(queries * slots * 3, -1, 1);
  std::vector<T> a(local.size()), b(local.size());
  cpu::canonical_placement(PlacementArguments<T>{queries, slots, frame.data(), local.data(), a.data()});
  cuda::canonical_placement(PlacementArguments<T>{queries, slots, frame.data(), local.data(), b.data()}, nullptr);
  check(difference(a, b) == 0, "canonical_placement");
  std::vector<T> fa(frame.size()), fb(frame.size()), la(local.size()), lb(local.size());
  cpu::canonical_placement_backward(
      PlacementBackwardArguments<T>{queries, slots, grad.data(), frame.data(), local.data(), fa.data(), la.data()});
  cuda::canonical_placement_backward(
      PlacementBackwardArguments<T>{queries, slots, grad.data(), frame.data(), local.data(), fb.data(), lb.data()},
      nullptr);
  check(difference(fa, fb) == 0 && difference(la, lb) == 0, "canonical_placement_backward");
}

// ---- Structure score ---------------------------------------------------------------------------

template <typename T>
void test_score(int64_t batch, int64_t residues, int64_t slots, int64_t bonds) {
  Random random{unsigned(residues)};
  const int64_t atoms_of_frame = residues * slots;
  auto atoms = random.uniforms<T>(batch * atoms_of_frame * 3, -1, 1);
  if (!atoms.empty()) atoms[0] = std::numeric_limits<T>::quiet_NaN();
  const Flags present = random.flags(atoms_of_frame, 0.8), side = random.flags(atoms_of_frame, 0.5),
              linked = random.flags(residues, 0.7);
  auto bond = random.integers(2 * bonds, 0, atoms_of_frame);
  if (bonds > 0) bond[1] = atoms_of_frame;  // out of range: missing
  const auto reference = random.uniforms<T>(batch * bonds, 0.1, 0.5);
  std::vector<int32_t> workspace(batch * cuda::score_workspace(atoms_of_frame), 12345);
  struct Result {
    std::vector<T> deviation;
    Flags clash;
    std::vector<int64_t> counts;
  };
  const auto run = [&](auto&& launch) {
    Result r{std::vector<T>(batch * bonds, T(9)), Flags(batch * residues), std::vector<int64_t>(batch * 3, 9)};
    launch(ScoreArguments<T>{batch, residues, slots, bonds, T(0.8), T(0.15), atoms.data(), present.data(), 0,
                             side.data(), linked.data(), bond.data(), reference.data(), bonds, r.deviation.data(),
                             r.clash.data(), r.counts.data(), workspace.data()});
    return r;
  };
  const Result c = run([](const auto& a) { cpu::structure_score(a); });
  const Result g = run([](const auto& a) { cuda::structure_score(a, nullptr); });
  check(same_bytes(c.deviation.data(), g.deviation.data(), c.deviation.size() * sizeof(T)),
        "structure_score: deviation");
  check(same_bytes(c.clash.data(), g.clash.data(), size_t(batch * residues)), "structure_score: clash");
  check(c.counts == g.counts, "structure_score: counts");

  const auto grad = random.uniforms<T>(batch * bonds, -1, 1);
  std::vector<T> a(atoms.size()), b(atoms.size());
  if (!atoms.empty()) atoms[0] = T(0.5);
  const auto arguments = [&](std::vector<T>& out) {
    return ScoreBackwardArguments<T>{batch,       residues,         slots,          bonds,
                                     grad.data(), atoms.data(),     present.data(), 0,
                                     bond.data(), reference.data(), bonds,          out.data()};
  };
  cpu::structure_score_backward(arguments(a));
  cuda::structure_score_backward(arguments(b), nullptr);
  check(difference(a, b) < 10 * tolerance<T>, "structure_score_backward");
}

// ---- Side-chain packing ------------------------------------------------------------------------

template <typename T>
void test_packing(int64_t batch, int64_t residues, int64_t candidates, int64_t side_slots, int64_t backbone_slots,
                  int64_t sweeps, double extent) {
  Random random{unsigned(residues + candidates)};
  std::vector<T> candidate, backbone;
  for (int64_t i = 0; i < batch * residues; ++i) {
    const auto centre = random.uniforms<T>(3, 0, extent);
    for (int64_t n = 0; n < candidates * side_slots * 3; ++n)
      candidate.push_back(centre[n % 3] + T(0.5 * random.uniform() - 0.25));
    for (int64_t n = 0; n < backbone_slots * 3; ++n)
      backbone.push_back(centre[n % 3] + T(0.3 * random.uniform() - 0.15));
  }
  const Flags present = random.flags(residues * side_slots, 0.5),
              backbone_present = random.flags(batch * residues * backbone_slots, 0.9),
              linked = random.flags(residues, 0.8);
  const auto radii = random.uniforms<T>(residues * side_slots, 0.15, 0.19),
             backbone_radii = random.uniforms<T>(residues * backbone_slots, 0.15, 0.17),
             uniform = random.uniforms<T>(batch * sweeps * residues, 0, 1);
  std::vector<T> workspace(batch * cuda::pack_workspace(residues, candidates), T(12345));
  struct Result {
    std::vector<int64_t> choice;
    std::vector<T> energy;
  };
  const auto run = [&](auto&& launch) {
    Result r{std::vector<int64_t>(batch * residues, 9), std::vector<T>(batch * residues, T(9))};
    launch(PackArguments<T>{batch, residues, candidates, side_slots, backbone_slots, sweeps, T(300), candidate.data(),
                            present.data(), backbone.data(), backbone_present.data(), residues * backbone_slots,
                            radii.data(), backbone_radii.data(), linked.data(), uniform.data(), r.choice.data(),
                            r.energy.data(), workspace.data()});
    return r;
  };
  const Result c = run([](const auto& a) { cpu::pack_side_chains(a); });
  const Result g = run([](const auto& a) { cuda::pack_side_chains(a, nullptr); });
  check(c.choice == g.choice, "pack_side_chains: choice");
  check(difference(c.energy, g.energy) < 1e3 * tolerance<T>, "pack_side_chains: energy");
}

// ---- Densities on voxels -----------------------------------------------------------------------

// Cubes inside a larger array, after `shift` elements and with `gap` cubes between frames.
template <typename T>
struct Frames {
  Frames(int64_t batch, int64_t particles, int32_t points, int64_t gap, int64_t shift)
      : values(batch * (particles + gap) * points * points * points + shift, T(9)),
        batch(batch),
        particles(particles),
        cube(int64_t(points) * points * points),
        frame((particles + gap) * cube),
        shift(shift) {}

  Cubes<T> cubes() { return {values.data() + shift, batch, particles, frame, cube}; }
  Cubes<const T> inputs() const { return {values.data() + shift, batch, particles, frame, cube}; }

  std::vector<T> values;
  int64_t batch, particles, cube, frame, shift;
};

template <typename T>
void test_densities(int64_t batch, int64_t particles, int32_t points, int64_t gap, int64_t shift) {
  Random random{unsigned(points)};
  const auto grid = voxel_grid<T>(points, 1.8);
  const auto shape = gaussian<T>(0.12);
  auto coordinates = random.uniforms<T>(batch * particles * 3, -1, 1);
  if (!coordinates.empty()) coordinates[1] = std::numeric_limits<T>::infinity();
  Frames<T> c(batch, particles, points, gap, shift), g = c;
  cpu::voxelize(VoxelizeArguments<T>{grid, shape, coordinates.data(), c.cubes()});
  cuda::voxelize(VoxelizeArguments<T>{grid, shape, coordinates.data(), g.cubes()}, nullptr);
  check(difference(c.values, g.values) == 0, "voxelize");

  Frames<T> weights(batch, particles, points, gap, shift);
  weights.values = random.uniforms<T>(int64_t(weights.values.size()), -1, 2);
  std::vector<T> a(coordinates.size()), b(coordinates.size());
  cpu::voxelize_backward(VoxelizeBackwardArguments<T>{grid, shape, weights.inputs(), coordinates.data(), a.data()});
  cuda::voxelize_backward(VoxelizeBackwardArguments<T>{grid, shape, weights.inputs(), coordinates.data(), b.data()},
                          nullptr);
  check(difference(a, b) < 1e2 * tolerance<T>, "voxelize_backward");

  const auto grad = random.uniforms<T>(batch * particles * 3, -1, 1);
  for (const bool logits : {false, true}) {
    std::vector<T> total_a(batch * particles), total_b(batch * particles);
    cpu::density_to_coordinates(MomentsArguments<T>{grid, logits, weights.inputs(), a.data(), total_a.data()});
    cuda::density_to_coordinates(MomentsArguments<T>{grid, logits, weights.inputs(), b.data(), total_b.data()},
                                 nullptr);
    check(difference(a, b) < tolerance<T>, "density_to_coordinates: coordinates");
    check(difference(total_a, total_b) <= tolerance<T> * double(grid.cube()), "density_to_coordinates: total");
    const auto gradient = [&](Frames<T>& out) {
      return MomentsBackwardArguments<T>{grid,     logits,         grad.data(), weights.inputs(),
                                         a.data(), total_a.data(), out.cubes()};
    };
    cpu::density_to_coordinates_backward(gradient(c));
    cuda::density_to_coordinates_backward(gradient(g), nullptr);
    check(difference(c.values, g.values) == 0, "density_to_coordinates_backward");
  }
}

// To two units in the last place down to the smallest normal number, and zero from there on.
template <typename T>
void test_exponential(double lowest) {
  double worst = 0;
  for (int n = 0; n <= 1000000; ++n) {
    const T x = T(lowest * n / 1000000);
    const double exact = std::exp(double(x)), last_place = std::numeric_limits<T>::epsilon() * exact;
    worst = std::fmax(worst, std::fabs(double(decaying_exponential(x)) - exact) / last_place);
  }
  check(worst < 2, "exponential: error");
  check(decaying_exponential(T(0)) == 1 && decaying_exponential(T(1.01 * lowest)) == 0 &&
            decaying_exponential(-std::numeric_limits<T>::infinity()) == 0 &&
            std::isnan(decaying_exponential(std::numeric_limits<T>::quiet_NaN())),
        "exponential: limits");
}

// ---- Spatial hash ------------------------------------------------------------------------------

// The eight cells of a ball contain every point of it, wherever it is, far outside the integers too.
void test_cells() {
  Random random(3);
  const double reach = 0.12, inverse_side = 1.0 / cell_side(reach);
  for (int n = 0; n < 100000; ++n) {
    const double scale = std::pow(10.0, random.uniform() * 6 - 2);
    const Vec3<float> a{float(scale * (random.uniform() - 0.5)), float(scale * random.uniform()), float(-scale)};
    const Vec3<float> b{a.x + float(reach * (2 * random.uniform() - 1)), a.y, a.z};
    if (!(squared_distance(a, b) < float(reach) * float(reach))) continue;
    const Cell low = lower_cell_of(a, inverse_side), at = cell_of(b, inverse_side);
    if (at.x < low.x || at.x > low.x + 1 || at.y < low.y || at.y > low.y + 1) return check(false, "cell_hash");
  }
  const Cell far = cell_of(Vec3<float>{3e38f, -3e38f, 0}, inverse_side);
  check(far.x == 1000000000 && far.y == -1000000000, "cell_hash: clamped");
}

template <typename T>
void test_all() {
  for (const FrameRule rule : {FrameRule::GramSchmidt, FrameRule::Isosceles}) {
    test_alignment<T>(2, 200, 3, 3, 12, rule);
    test_alignment<T>(1, 520, 2, 3, 5, rule);  // by cells on the CPU
    test_alignment<T>(3, 6, 4, 3, 9, rule);    // more neighbours than residues
    test_alignment<T>(1, 1, 1, 1, 1, rule);
    test_alignment<T>(1, 0, 2, 2, 3, rule);
    test_alignment<T>(0, 5, 2, 2, 3, rule);
  }
  test_placement<T>(5, 14);
  test_placement<T>(0, 14);
  test_score<T>(3, 60, 9, 50);
  test_score<T>(1, 1, 1, 1);
  test_score<T>(1, 0, 4, 0);
  test_packing<T>(2, 20, 9, 5, 4, 3, 1.2);
  test_packing<T>(1, 270, 3, 2, 4, 1, 2.5);  // more residues than threads
  test_packing<T>(2, 1, 1, 1, 5, 2, 1);
  test_packing<T>(1, 5, 2, 0, 4, 2, 1);
  test_packing<T>(0, 5, 2, 3, 4, 2, 1);
  for (const int32_t points : {1, 5, 8, 12, 16, 20}) {
    test_densities<T>(2, 9, points, 3, 0);  // more cubes than a block has warps
    test_densities<T>(1, 2, points, 0, 1);  // not on 16 bytes
    test_densities<T>(0, 5, points, 0, 0);
    test_densities<T>(3, 0, points, 0, 0);
  }
}

}  // namespace
}  // namespace backmap::testing

int main() {
  backmap::testing::test_cells();
  backmap::testing::test_exponential<float>(-87.336);
  backmap::testing::test_exponential<double>(-708.39);
  backmap::testing::test_all<float>();
  backmap::testing::test_all<double>();
  std::printf("%d failures\n", backmap::testing::failures);
  return backmap::testing::failures != 0;
}
