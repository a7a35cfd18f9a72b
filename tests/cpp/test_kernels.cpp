// Compares the CUDA kernels, emulated on the CPU, with the CPU kernels.
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "check.h"
#include "core/joint_penalty.h"
#include "kernels/basins.h"
#include "kernels/bead_prior.h"
#include "kernels/c_alphas.h"
#include "kernels/canonical_alignment.h"
#include "kernels/counter_uniform.h"
#include "kernels/density_to_coordinates.h"
#include "kernels/descend_onto_beads.h"
#include "kernels/draw_angle_chains.h"
#include "kernels/encode_neighbourhood.h"
#include "kernels/joint_penalty.h"
#include "kernels/langevin_dynamics.h"
#include "kernels/least_overlap.h"
#include "kernels/molecular_mechanics.h"
#include "kernels/overlapping_placement.h"
#include "kernels/pack_side_chains.h"
#include "kernels/place_side_chains.h"
#include "kernels/remove_noise.h"
#include "kernels/schnet_energy.h"
#include "kernels/step_rotamers.h"
#include "kernels/structure_penalty.h"
#include "kernels/structure_score.h"
#include "kernels/voxelize.h"
#include "kernels/wave_logits.h"
#include "random_structures.h"

namespace backmap::testing {
namespace {

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
void test_alignment(int64_t batch, int64_t residues, int64_t slots, int64_t queries, int64_t neighbours, FrameRule rule,
                    double extent = 3, double width = 0) {
  Random random{unsigned(residues * 31 + neighbours)};
  const int64_t atoms_of_frame = residues * slots;
  // A coarse lattice, so that many distances tie.
  auto atoms = random.uniforms<T>(batch * atoms_of_frame * 3, 0, extent);
  for (size_t i = 0; i < atoms.size(); i += 2) atoms[i] = std::round(atoms[i] * 2) / 2;
  const Flags present = random.flags(batch * atoms_of_frame, 0.7), selectable = random.flags(atoms_of_frame, 0.6);
  auto query = random.uniforms<T>(batch * queries * 3, -1, 4);
  for (size_t i = 0; i < query.size(); ++i) query[i] = std::round(query[i] * 2) / 2;
  if (queries > 2) query[3] = std::numeric_limits<T>::quiet_NaN(), query[6] = std::numeric_limits<T>::infinity();
  const auto triangle = random.uniforms<T>(batch * queries * 9, 0, 1);
  const auto exclude = random.integers(queries, -1, residues > 0 ? residues : 1);
  const auto box = random_boxes<T>(random, width > 0 ? batch : 0, width);
  struct Result {
    std::vector<T> local, frame;
    std::vector<int64_t> index;
  };
  std::vector<char> workspace(cuda::alignment_workspace<T>(batch, residues, queries));
  const auto run = [&](auto&& launch) {
    Result r{std::vector<T>(batch * queries * neighbours * slots * 3, T(9)), std::vector<T>(batch * queries * 12, T(9)),
             std::vector<int64_t>(batch * queries * neighbours, 9)};
    launch(
        AlignmentArguments<T>{batch, residues,       slots,           queries,        neighbours,
                              rule,  atoms.data(),   present.data(),  atoms_of_frame, selectable.data(),
                              0,     query.data(),   triangle.data(), exclude.data(), width > 0 ? box.data() : nullptr,
                              9,     r.local.data(), r.index.data(),  r.frame.data(), workspace.data()});
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
                                         c.index.data(), triangle.data(), width > 0 ? c.local.data() : nullptr,
                                         r.atoms.data(), r.triangle.data()});
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

// ---- Placement with overlaps -------------------------------------------------------------------

template <typename T>
void test_overlap(int64_t batch, int64_t atoms, int64_t queries, int64_t slots) {
  Random random{unsigned(atoms)};
  const auto atom = random.uniforms<T>(batch * atoms * 3, -1, 1),
             frame = random.uniforms<T>(batch * queries * 12, -1, 1),
             local = random.uniforms<T>(batch * queries * slots * 3, -1, 1),
             grad = random.uniforms<T>(batch * atoms * 3, -1, 1);
  const auto target = random.integers(queries * slots, -2, atoms + 1);  // out of range: none
  std::vector<int64_t> winner(atoms, 12345);
  const auto run = [&](auto&& launch) {
    std::vector<T> placed(atom.size(), T(9));
    launch(OverlapArguments<T>{batch, atoms, queries, slots, atom.data(), frame.data(), local.data(), target.data(),
                               winner.data(), placed.data()});
    return placed;
  };
  check(difference(run([](const auto& a) { cpu::overlapping_placement(a); }),
                   run([](const auto& a) { cuda::overlapping_placement(a, nullptr); })) == 0,
        "overlapping_placement");
  struct Gradient {
    std::vector<T> atoms, frame, local;
  };
  const auto run_backward = [&](auto&& launch) {
    Gradient r{std::vector<T>(atom.size(), T(9)), std::vector<T>(frame.size(), T(9)),
               std::vector<T>(local.size(), T(9))};
    launch(OverlapBackwardArguments<T>{batch, atoms, queries, slots, grad.data(), frame.data(), local.data(),
                                       target.data(), winner.data(), r.atoms.data(), r.frame.data(), r.local.data()});
    return r;
  };
  const Gradient c = run_backward([](const auto& a) { cpu::overlapping_placement_backward(a); });
  const Gradient g = run_backward([](const auto& a) { cuda::overlapping_placement_backward(a, nullptr); });
  check(difference(c.atoms, g.atoms) == 0, "overlapping_placement_backward: atoms");
  check(difference(c.frame, g.frame) == 0, "overlapping_placement_backward: frame");
  check(difference(c.local, g.local) == 0, "overlapping_placement_backward: local");
}

// ---- Structure score ---------------------------------------------------------------------------

template <typename T>
void test_score(int64_t batch, int64_t residues, int64_t slots, int64_t bonds, double width = 0) {
  Random random{unsigned(residues)};
  const int64_t atoms_of_frame = residues * slots;
  auto atoms = random.uniforms<T>(batch * atoms_of_frame * 3, -1, 1);
  if (!atoms.empty()) atoms[0] = std::numeric_limits<T>::quiet_NaN();
  const Flags present = random.flags(atoms_of_frame, 0.8), side = random.flags(atoms_of_frame, 0.5);
  const auto following = random.integers(residues, -1, residues);
  auto bond = random.integers(2 * bonds, 0, atoms_of_frame);
  if (bonds > 0) bond[1] = atoms_of_frame;  // out of range: missing
  const auto reference = random.uniforms<T>(batch * bonds, 0.1, 0.5);
  const auto boxes = random_boxes<T>(random, width > 0 ? batch : 0, width);
  const T* box = boxes.empty() ? nullptr : boxes.data();
  std::vector<char> workspace(cuda::score_workspace<T>(batch, atoms_of_frame), 77);
  struct Result {
    std::vector<T> deviation;
    Flags clash;
    std::vector<int64_t> counts;
  };
  const auto run = [&](auto&& launch) {
    Result r{std::vector<T>(batch * bonds, T(9)), Flags(batch * residues), std::vector<int64_t>(batch * 3, 9)};
    launch(ScoreArguments<T>{batch,
                             residues,
                             slots,
                             bonds,
                             T(0.8),
                             T(0.15),
                             atoms.data(),
                             present.data(),
                             0,
                             side.data(),
                             following.data(),
                             bond.data(),
                             reference.data(),
                             bonds,
                             box,
                             9,
                             r.deviation.data(),
                             r.clash.data(),
                             r.counts.data(),
                             workspace.data()});
    return r;
  };
  const Result c = run([](const auto& a) { cpu::structure_score(a); });
  const Result g = run([](const auto& a) { cuda::structure_score(a, nullptr); });
  check(same_bytes(c.deviation.data(), g.deviation.data(), c.deviation.size() * sizeof(T)),
        "structure_score: deviation");
  check(same_bytes(c.clash.data(), g.clash.data(), size_t(batch * residues)), "structure_score: clash");
  check(c.counts == g.counts, "structure_score: counts");

  const auto grad = random.uniforms<T>(batch * bonds, -1, 1);
  std::vector<T> a(atoms.size(), T(9)), b(atoms.size(), T(9));
  std::vector<char> backward_workspace(cuda::score_backward_workspace<T>(atoms_of_frame, bonds), 77);
  if (!atoms.empty()) atoms[0] = T(0.5);
  const auto arguments = [&](std::vector<T>& out) {
    return ScoreBackwardArguments<T>{
        batch,       residues,         slots, bonds, grad.data(), atoms.data(), present.data(),           0,
        bond.data(), reference.data(), bonds, box,   9,           out.data(),   backward_workspace.data()};
  };
  cpu::structure_score_backward(arguments(a));
  cuda::structure_score_backward(arguments(b), nullptr);
  check(same_bytes(a.data(), b.data(), a.size() * sizeof(T)), "structure_score_backward");
}

// ---- Structure penalty -------------------------------------------------------------------------

template <typename T>
void test_penalty(int64_t batch, int64_t residues, int64_t slots, int64_t bonds, int64_t angles, double width = 0,
                  bool broken_lists = false, double repulsion = 300) {
  Random random{unsigned(residues + angles)};
  const int64_t atoms_of_frame = residues * slots;
  auto atoms = random.uniforms<T>(batch * atoms_of_frame * 3, -1, 1);
  if (atoms.size() > 9) atoms[5] = std::numeric_limits<T>::infinity();
  const Flags present = random.flags(batch * atoms_of_frame, 0.8);
  auto bond = random.integers(2 * bonds, 2, atoms_of_frame), angle = random.integers(2 * angles, 2, atoms_of_frame);
  if (bonds > 0) bond[1] = -1;  // out of range: missing
  const auto bond_length = random.uniforms<T>(batch * bonds, 0.1, 0.5), angle_span = random.uniforms<T>(angles, 0, 1);
  auto radius = random.uniforms<T>(atoms_of_frame, 0, 0.15);
  if (atoms_of_frame > 4) radius[3] = -1, radius[4] = std::numeric_limits<T>::infinity();
  std::vector<int64_t> start{0}, exclusion;
  for (int64_t i = 0; i < atoms_of_frame; ++i) {
    for (const int64_t j : {i - 7, i - 1, i + 1, i + 7})
      if (0 <= j && j < atoms_of_frame) exclusion.push_back(j);
    start.push_back(int64_t(exclusion.size()));
  }
  if (broken_lists) start[5] = -3, start[6] = 1 << 30;  // must be read within bounds
  const auto boxes = random_boxes<T>(random, width > 0 ? batch : 0, width);
  std::vector<char> workspace(cuda::penalty_workspace<T>(batch, atoms_of_frame, bonds, angles), 77);
  const PenaltyInputs<T> inputs{batch,
                                residues,
                                slots,
                                bonds,
                                angles,
                                int64_t(exclusion.size()),
                                T(10),
                                T(20),
                                T(repulsion),
                                T(1.1),
                                atoms.data(),
                                present.data(),
                                atoms_of_frame,
                                bond.data(),
                                bond_length.data(),
                                bonds,
                                angle.data(),
                                angle_span.data(),
                                0,
                                radius.data(),
                                start.data(),
                                exclusion.data(),
                                boxes.empty() ? nullptr : boxes.data(),
                                9,
                                workspace.data()};
  std::vector<T> a(3 * batch, T(9)), b(3 * batch, T(9));
  cpu::structure_penalty(PenaltyArguments<T>{inputs, a.data()});
  cuda::structure_penalty(PenaltyArguments<T>{inputs, b.data()}, nullptr);
  check(broken_lists || difference(a, b) < 1e3 * tolerance<T>, "structure_penalty");
  check(residues < 20 || a[2] > T(0), "structure_penalty: nothing overlaps");

  const auto grad = random.uniforms<T>(3 * batch, -1, 1);
  std::vector<T> c(atoms.size(), T(9)), d(atoms.size(), T(9));
  cpu::structure_penalty_backward(PenaltyBackwardArguments<T>{inputs, grad.data(), c.data()});
  cuda::structure_penalty_backward(PenaltyBackwardArguments<T>{inputs, grad.data(), d.data()}, nullptr);
  check(difference(c, d) < 1e3 * tolerance<T>, "structure_penalty_backward");
}

// ---- Side-chain packing ------------------------------------------------------------------------

template <typename T>
void test_packing(int64_t batch, int64_t residues, int64_t candidates, int64_t side_slots, int64_t backbone_slots,
                  int64_t sweeps, double extent, double width = 0, bool with_energies = false,
                  bool with_contacts = false) {
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
              backbone_present = random.flags(batch * residues * backbone_slots, 0.9);
  const auto following = random.integers(residues, -1, residues);
  const auto radii = random.uniforms<T>(residues * side_slots, 0.15, 0.19),
             backbone_radii = random.uniforms<T>(residues * backbone_slots, 0.15, 0.17),
             uniform = random.uniforms<T>(batch * sweeps * residues, 0, 1),
             own_energy = random.uniforms<T>(batch * residues * candidates, 0, 3);
  const int64_t classes = 3, knots = 7;
  const auto contacts = random.uniforms<T>(classes * classes * knots, -1, 1);
  const auto side_class = random.integers(residues * side_slots, -1, classes + 1),
             backbone_class = random.integers(residues * backbone_slots, -1, classes + 1);
  const auto box = random_boxes<T>(random, width > 0 ? batch : 0, width);
  std::vector<char> workspace(cuda::pack_workspace<T>(batch, residues, candidates), 77);
  struct Result {
    std::vector<int64_t> choice;
    std::vector<T> energy;
  };
  const auto run = [&](auto&& launch) {
    Result r{std::vector<int64_t>(batch * residues, 9), std::vector<T>(batch * residues, T(9))};
    launch(PackArguments<T>{batch,
                            residues,
                            candidates,
                            side_slots,
                            backbone_slots,
                            sweeps,
                            T(300),
                            candidate.data(),
                            present.data(),
                            backbone.data(),
                            backbone_present.data(),
                            residues * backbone_slots,
                            radii.data(),
                            backbone_radii.data(),
                            following.data(),
                            uniform.data(),
                            with_energies ? own_energy.data() : nullptr,
                            {with_contacts ? contacts.data() : nullptr, classes, knots, T(0.5)},
                            side_class.data(),
                            backbone_class.data(),
                            width > 0 ? box.data() : nullptr,
                            9,
                            r.choice.data(),
                            r.energy.data(),
                            workspace.data()});
    return r;
  };
  const Result c = run([](const auto& a) { cpu::pack_side_chains(a); });
  const Result g = run([](const auto& a) { cuda::pack_side_chains(a, nullptr); });
  check(c.choice == g.choice, "pack_side_chains: choice");
  check(difference(c.energy, g.energy) < 1e3 * tolerance<T>, "pack_side_chains: energy");
}

// ---- Trials that overlap least -----------------------------------------------------------------

template <typename T>
void test_least_overlap(int64_t batch, int64_t residues, int64_t slots, int64_t groups, int64_t trials, int64_t points,
                        double extent, double width = 0) {
  Random random{unsigned(residues + groups)};
  const int64_t atoms_of_frame = residues * slots;
  const auto atoms = random.uniforms<T>(batch * atoms_of_frame * 3, 0, extent),
             trial = random.uniforms<T>(batch * groups * trials * points * 3, 0, extent),
             penalty = random.uniforms<T>(batch * groups * trials, 0, 0.01);
  const auto residue = random.integers(groups, 0, residues > 0 ? residues : 1),
             target = random.integers(groups * points, -1, atoms_of_frame);
  const auto box = random_boxes<T>(random, width > 0 ? batch : 0, width);
  const auto run = [&](auto&& launch) {
    std::vector<T> standing = atoms, score(batch * trials);
    std::vector<int64_t> choice(batch * groups, 9);
    launch(LeastOverlapArguments<T>{batch, residues, slots, groups, trials, points, T(0.34), standing.data(),
                                    trial.data(), penalty.data(), residue.data(), target.data(),
                                    width > 0 ? box.data() : nullptr, 9, choice.data(), score.data()});
    return choice;
  };
  check(
      run([](const auto& a) { cpu::least_overlap(a); }) == run([](const auto& a) { cuda::least_overlap(a, nullptr); }),
      "least_overlap");
}

// ---- Neighbourhoods ----------------------------------------------------------------------------

template <typename T>
void test_neighbourhoods(int64_t batch, int64_t neighbours, int64_t points, int64_t queries, int64_t width) {
  Random random{unsigned(batch + width)};
  const int64_t types = 5, offsets = 4, numbers = 4 * points + 3;
  const auto position = random.uniforms<T>(batch * neighbours * points * 3, -1, 1),
             query = random.uniforms<T>(batch * queries * width, -1, 1),
             position_weight = random.uniforms<T>(width * numbers, -1, 1),
             position_bias = random.uniforms<T>(width, -1, 1), type_rows = random.uniforms<T>(types * width, -1, 1),
             offset_rows = random.uniforms<T>(offsets * width, -1, 1),
             inner_weight = random.uniforms<T>(width * width, -0.3, 0.3), inner_bias = random.uniforms<T>(width, -1, 1);
  std::vector<uint8_t> type, offset;
  for (const int64_t value : random.integers(batch * neighbours, 0, types)) type.push_back(uint8_t(value));
  for (const int64_t value : random.integers(batch * neighbours, 0, offsets)) offset.push_back(uint8_t(value));
  std::vector<T> workspace(cuda::encode_neighbourhood_workspace<T>(batch, neighbours, points, queries, width) /
                           sizeof(T));
  const auto run = [&](auto&& launch) {
    std::vector<T> summary(batch * queries * width, T(9));
    launch(EncodeNeighbourhoodArguments<T>{batch, neighbours, points, queries, width, types, offsets, position.data(),
                                           type.data(), offset.data(), query.data(), position_weight.data(),
                                           position_bias.data(), type_rows.data(), offset_rows.data(),
                                           inner_weight.data(), inner_bias.data(), summary.data(), workspace.data()});
    return summary;
  };
  check(difference(run([](const auto& a) { cpu::encode_neighbourhood(a); }),
                   run([](const auto& a) { cuda::encode_neighbourhood(a, nullptr); })) < tolerance<T>,
        "encode_neighbourhood");
}

template <typename T>
void test_wave_logits(int64_t batch, int64_t draws, int64_t waves, int64_t width, int64_t classes, bool shared) {
  Random random{unsigned(batch + classes)};
  const auto context = random.uniforms<T>(batch * width, -1, 1),
             wave = random.uniforms<T>(batch * draws * waves, -1, 1),
             coefficient = random.uniforms<T>(batch * waves * width, -1, 1),
             weight = random.uniforms<T>(classes * width, -0.3, 0.3), bias = random.uniforms<T>(classes, -1, 1);
  std::vector<T> workspace(cuda::wave_logits_workspace<T>(batch * draws, width) / sizeof(T));
  const auto run = [&](auto&& launch) {
    std::vector<T> logits(batch * draws * classes, T(9));
    launch(WaveLogitsArguments<T>{batch, draws, waves, width, classes, context.data(), wave.data(),
                                  shared ? 0 : draws * waves, coefficient.data(), shared ? 0 : waves * width,
                                  weight.data(), bias.data(), logits.data(), workspace.data()});
    return logits;
  };
  check(difference(run([](const auto& a) { cpu::wave_logits(a); }),
                   run([](const auto& a) { cuda::wave_logits(a, nullptr); })) < tolerance<T>,
        "wave_logits");
}

// ---- Removal of noise --------------------------------------------------------------------------

template <typename T>
void test_removal(int64_t batch, int64_t points, int64_t hidden, int64_t layers, int64_t atoms, int64_t steps,
                  bool fresh) {
  Random random{unsigned(batch + hidden)};
  const int64_t pairs = pair_count(points), coordinates = 3 * points, rows = fresh ? steps : 1;
  const Flags generated = random.flags(batch * points, 0.7), empty = random.flags(batch * points, 0.2);
  const auto uniforms = [&](int64_t n, double low, double high) { return random.uniforms<T>(n, low, high); };
  // Weights beyond the last feature change nothing that is read.
  const auto weights = [&](int64_t n, int64_t width, int64_t inputs) {
    const double most = 1 / std::sqrt(double(inputs));
    return uniforms(n * panel_numbers(width, inputs), -most, most);
  };
  const auto given = uniforms(batch * coordinates, -1, 1), normal = uniforms(batch * rows * coordinates, -1, 1),
             features = uniforms(batch * hidden, -1, 1), modulation = uniforms(batch * layers * 2 * hidden, -0.3, 0.3),
             pair = uniforms(batch * pair_numbers * pairs, 0.5, 1), atom = uniforms(batch * 3 * atoms, -2, 2),
             level = uniforms(steps * level_numbers, 0.3, 1), move = uniforms(steps * move_numbers, 0, 0.5),
             step_features = uniforms(steps * hidden, -1, 1),
             step_modulation = uniforms(steps * layers * 2 * hidden, -0.3, 0.3),
             entry = weights(1, hidden, 7 * points + pairs), layer = weights(2 * layers, hidden, hidden),
             layer_bias = uniforms(layers * 2 * hidden, -1, 1), leave = weights(1, coordinates + pairs, hidden),
             leave_bias = uniforms(coordinates + pairs, -1, 1);
  std::vector<T> workspace(cuda::remove_noise_workspace<T>(batch, points, hidden) / sizeof(T), T(77));
  const auto run = [&](auto&& launch) {
    std::vector<T> point(batch * coordinates, T(9));
    launch(RemoveNoiseArguments<T>{batch,
                                   points,
                                   hidden,
                                   layers,
                                   atoms,
                                   steps,
                                   rows,
                                   given.data(),
                                   generated.data(),
                                   empty.data(),
                                   normal.data(),
                                   features.data(),
                                   modulation.data(),
                                   pair.data(),
                                   atom.data(),
                                   level.data(),
                                   move.data(),
                                   step_features.data(),
                                   step_modulation.data(),
                                   entry.data(),
                                   layer.data(),
                                   layer_bias.data(),
                                   leave.data(),
                                   leave_bias.data(),
                                   T(1),
                                   T(4),
                                   point.data(),
                                   workspace.data()});
    return point;
  };
  check(difference(run([](const auto& a) { cpu::remove_noise(a); }),
                   run([](const auto& a) { cuda::remove_noise(a, nullptr); })) < 10 * tolerance<T>,
        "remove_noise");
}

// ---- Angles along chains -----------------------------------------------------------------------

template <typename T>
void test_joint_penalty(int64_t batch, int64_t previous, int64_t quantities, int64_t angles) {
  Random random{unsigned(batch + angles)};
  const int64_t kinds = 3, cells = 10;
  const auto form = random.uniforms<T>(batch * 3 * quantities * waves_of_angle, -1, 1),
             table = random.uniforms<T>(kinds * cells * cells, 0, 5),
             cosine = random.uniforms<T>(batch * previous, -1, 1), sine = random.uniforms<T>(batch * previous, -1, 1),
             wave = random.uniforms<T>(3 * angles, -1, 1);
  const auto kind = random.integers(batch, 0, kinds);
  const auto run = [&](auto&& launch) {
    std::vector<T> penalty(batch * previous * angles, T(9));
    launch(JointPenaltyArguments<T>{batch, previous, quantities, angles, kinds, cells, form.data(), kind.data(),
                                    table.data(), cosine.data(), sine.data(), wave.data(), penalty.data()});
    return penalty;
  };
  check(difference(run([](const auto& a) { cpu::joint_penalty(a); }),
                   run([](const auto& a) { cuda::joint_penalty(a, nullptr); })) < tolerance<T>,
        "joint_penalty");
}

template <typename T>
void test_angle_chains(int64_t batch, int64_t samples, int64_t residues, int64_t chains, int64_t longest, int64_t width,
                       int64_t classes, bool some_known) {
  Random random{unsigned(batch + residues)};
  const int64_t kinds = 3, cells = 10, quantities = some_known ? 6 : 5, sites = batch * residues;
  const auto context = random.uniforms<T>(sites * width, -1, 1),
             coefficient = random.uniforms<T>(sites * 3 * width, -1, 1),
             weight = random.uniforms<T>(classes * width, -0.3, 0.3), bias = random.uniforms<T>(classes, -1, 1),
             form = random.uniforms<T>(sites * 3 * quantities * waves_of_angle, -1, 1),
             table = random.uniforms<T>(kinds * cells * cells, 0, 2),
             offset = random.uniforms<T>(sites * classes, -1, 1),
             uniform = random.uniforms<T>(samples * sites * 2, 0, 1);
  auto known = random.uniforms<T>(sites, -3, 3);
  for (T& angle : known)
    if (random.uniform() < 0.7) angle = std::numeric_limits<T>::quiet_NaN();
  const auto kind = random.integers(sites, 0, kinds);
  std::vector<int64_t> chain;  // each one shorter than the one before
  int64_t next = 0;
  for (int64_t c = 0; c < chains; ++c)
    for (int64_t place = 0; place < longest; ++place) chain.push_back(place + c < longest ? next++ : -1);
  const int64_t bytes = cuda::draw_angle_chains_workspace<T>(chains * samples * batch, width, classes);
  std::vector<T> workspace(bytes / sizeof(T), T(7));
  const auto run = [&](auto&& launch) {
    std::vector<T> angle(samples * sites, T(9));
    launch(DrawAngleChainsArguments<T>{.batch = batch,
                                       .samples = samples,
                                       .residues = residues,
                                       .width = width,
                                       .classes = classes,
                                       .quantities = quantities,
                                       .kinds = kinds,
                                       .cells = cells,
                                       .chains = chains,
                                       .longest = longest,
                                       .context = context.data(),
                                       .coefficient = coefficient.data(),
                                       .weight = weight.data(),
                                       .bias = bias.data(),
                                       .form = form.data(),
                                       .kind = kind.data(),
                                       .table = table.data(),
                                       .offset = offset.data(),
                                       .known = some_known ? known.data() : nullptr,
                                       .chain = chain.data(),
                                       .uniform = uniform.data(),
                                       .angle = angle.data(),
                                       .workspace = workspace.data()});
    return angle;
  };
  check(difference(run([](const auto& a) { cpu::draw_angle_chains(a); }),
                   run([](const auto& a) { cuda::draw_angle_chains(a, nullptr); })) < 10 * tolerance<T>,
        "draw_angle_chains");
}

// ---- Random numbers ----------------------------------------------------------------------------

void test_counter_uniform(int64_t batch, int64_t counters) {
  Random random{unsigned(batch + counters)};
  const auto key = random.integers(batch, -1000, 1000), counter = random.integers(counters, 0, 100000);
  const auto run = [&](auto&& launch) {
    std::vector<float> number(batch * counters, 9.0f);
    launch(CounterUniformArguments<float>{batch, counters, 5, key.data(), counter.data(), number.data()});
    return number;
  };
  check(run([](const auto& a) { cpu::counter_uniform(a); }) ==
            run([](const auto& a) { cuda::counter_uniform(a, nullptr); }),
        "counter_uniform");
}

// ---- Steps of side chains in time --------------------------------------------------------------

template <typename T>
void test_rotamers(int64_t batch, int64_t torsions, int64_t width, int64_t bins) {
  Random random{unsigned(batch + bins)};
  const int64_t rows = batch * torsions;
  const auto context = random.uniforms<T>(rows * width, -1, 1),
             coefficient = random.uniforms<T>(torsions * 2 * torsions * width, -1, 1),
             weight = random.uniforms<T>(torsions * width * bins, -1, 1),
             bias = random.uniforms<T>(torsions * bins, -1, 1), before = random.uniforms<T>(rows, -3, 3),
             rate = random.uniforms<T>(rows, 0, 1), window = random.uniforms<T>(batch, 0, 1),
             uniform = random.uniforms<T>(rows * step_draws, 0, 1);
  const Flags moves = random.flags(rows, 0.8), repeats = random.flags(rows, 0.5), leaps_only = random.flags(batch, 0.3);
  std::vector<char> workspace(cuda::step_rotamers_workspace<T>(batch, width, bins), 77);
  std::vector<int64_t> firsts[2];
  const auto run = [&](auto&& launch, std::vector<int64_t>& first) {
    std::vector<T> after(rows, T(9));
    first.assign(batch, 9);
    const int64_t passes = 2;
    launch(StepRotamersArguments<T>{batch, torsions, width, bins, passes, context.data(), coefficient.data(),
                                    weight.data(), bias.data(), moves.data(), repeats.data(), leaps_only.data(),
                                    before.data(), rate.data(), window.data(), uniform.data(), workspace.data(),
                                    after.data(), first.data()});
    return after;
  };
  const auto on_cpu = run([](const auto& a) { cpu::step_rotamers(a); }, firsts[0]),
             on_cuda = run([](const auto& a) { cuda::step_rotamers(a, nullptr); }, firsts[1]);
  check(difference(on_cpu, on_cuda) < tolerance<T>, "step_rotamers: torsions");
  check(firsts[0] == firsts[1], "step_rotamers: first to leave");
}

// ---- Descent onto beads ------------------------------------------------------------------------

// Places in a list by item.
struct Grouped {
  std::vector<int64_t> start, entry;

  Grouped(const std::vector<int64_t>& items, int64_t n_items) : start(n_items + 1, 0) {
    for (int64_t item = 0; item < n_items; ++item) {
      for (size_t place = 0; place < items.size(); ++place)
        if (items[place] == item) entry.push_back(place);
      start[item + 1] = entry.size();
    }
  }
  PlacesByItem places() const { return {start.data(), entry.data()}; }
};

template <typename T>
void test_descent(int64_t batch, int64_t atoms, int64_t springs, int64_t centres, int64_t links, int64_t beads,
                  int64_t parts) {
  Random random{unsigned(batch + atoms)};
  const auto place = random.uniforms<T>(batch * atoms * 3, -1, 1), before = random.uniforms<T>(place.size(), -1, 1),
             slope = random.uniforms<T>(place.size(), -1, 1), length = random.uniforms<T>(batch * springs, 0, 1),
             stiffness = random.uniforms<T>(springs, 0, 1), volume = random.uniforms<T>(batch * centres, -1, 1),
             volume_stiffness = random.uniforms<T>(centres, 0, 1),
             link_length = random.uniforms<T>(batch * links, 0, 1),
             link_stiffness = random.uniforms<T>(batch * links, 0, 1), weight = random.uniforms<T>(parts, 0, 1),
             pull = random.uniforms<T>(parts, 0, T(0.1)), bead = random.uniforms<T>(batch * beads * 3, -1, 1),
             share = random.uniforms<T>(batch * beads, 0, 1);
  const auto spring = random.integers(2 * springs, 0, atoms), centre = random.integers(4 * centres, 0, atoms),
             link = random.integers(2 * batch * links, -1, atoms), of_bead = random.integers(parts, 0, beads),
             of_atom = random.integers(parts, 0, atoms);
  std::vector<int64_t> part;
  for (int64_t p = 0; p < parts; ++p) part.insert(part.end(), {of_bead[p], of_atom[p]});
  const Grouped ends(spring, atoms), corners(centre, atoms), parts_of_atom(of_atom, atoms),
      parts_of_bead(of_bead, beads);
  std::vector<char> workspace(cuda::descent_workspace<T>(batch, atoms, beads), 77);
  const auto run = [&](auto&& launch) {
    auto now = place, last = before;
    const DescentSettings<T> settings{T(0.01), T(0.9), T(0.05), T(1e-9)};
    const int64_t steps = 3;
    launch(DescentArguments<T>{batch,
                               atoms,
                               springs,
                               centres,
                               links,
                               parts,
                               beads,
                               steps,
                               settings,
                               slope.data(),
                               spring.data(),
                               length.data(),
                               stiffness.data(),
                               centre.data(),
                               volume.data(),
                               volume_stiffness.data(),
                               link.data(),
                               link_length.data(),
                               link_stiffness.data(),
                               part.data(),
                               weight.data(),
                               pull.data(),
                               bead.data(),
                               share.data(),
                               ends.places(),
                               corners.places(),
                               parts_of_atom.places(),
                               parts_of_bead.places(),
                               workspace.data(),
                               now.data(),
                               last.data()});
    now.insert(now.end(), last.begin(), last.end());
    return now;
  };
  const auto on_cpu = run([](const auto& a) { cpu::descend_onto_beads(a); }),
             on_cuda = run([](const auto& a) { cuda::descend_onto_beads(a, nullptr); });
  check(difference(on_cpu, on_cuda) < tolerance<T>, "descend_onto_beads");
}

// ---- Side chains on ideal bonds ----------------------------------------------------------------

template <typename T>
void test_placement_of_side_chains(int64_t batch, int64_t candidates, int64_t torsions, int64_t atoms, bool known) {
  Random random{unsigned(batch + candidates)};
  const int64_t kinds = 4;
  const auto backbone = random.uniforms<T>(batch * backbone_atoms * 3, 0, 1),
             beta = random.uniforms<T>(batch * 3, 0, 1),
             torsion = random.uniforms<T>(batch * candidates * torsions, -4, 4),
             geometry = random.uniforms<T>(kinds * atoms * 3, 0.1, 2),
             fixed = random.uniforms<T>(batch * atoms * 3, 0, 1);
  const std::vector<T> ring{T(0.15), T(0.15), T(0.147), T(0.68), T(1.87), T(0.21), T(1.95)};
  const auto type = random.integers(batch, 0, kinds), torsion_of = random.integers(kinds * atoms, 0, torsions + 1);
  auto rule = random.integers(kinds * atoms, 0, 5);
  std::vector<int64_t> parent;
  for (int64_t row = 0; row < kinds * atoms; ++row) {
    for (int64_t p = 1; p <= 3; ++p) parent.push_back(row % atoms + p);
    if (row % atoms == 0) rule[row] = 1;
  }
  const Flags present = random.flags(batch * atoms, 0.2);
  const auto run = [&](auto&& launch) {
    std::vector<T> placed(batch * candidates * atoms * 3, T(9));
    launch(PlaceSideChainsArguments<T>{batch, candidates, torsions, kinds, atoms, backbone.data(), beta.data(),
                                       type.data(), torsion.data(), rule.data(), parent.data(), torsion_of.data(),
                                       geometry.data(), ring.data(), known ? fixed.data() : nullptr, present.data(),
                                       placed.data()});
    return placed;
  };
  check(difference(run([](const auto& a) { cpu::place_side_chains(a); }),
                   run([](const auto& a) { cuda::place_side_chains(a, nullptr); })) < 50 * tolerance<T>,
        "place_side_chains");
}

// ---- Basins ------------------------------------------------------------------------------------

template <typename T>
void test_basins(int64_t rows, int64_t bins) {
  Random random{unsigned(rows + bins)};
  auto probability = random.uniforms<T>(rows * bins, -0.5, 1);
  for (T& p : probability) p = p > T(0) ? p : T(0);
  auto before = random.uniforms<T>(rows, -9, 9);
  if (rows > 2) before[0] = std::numeric_limits<T>::quiet_NaN(), before[1] = std::numeric_limits<T>::infinity();
  if (rows > 2) probability[2 * bins] = std::numeric_limits<T>::quiet_NaN();
  const auto rate = random.uniforms<T>(rows, 0, 2), window = random.uniforms<T>(rows, 0, 2),
             uniform = random.uniforms<T>(rows * step_draws, 0, 1);
  std::vector<char> workspace(cuda::basins_workspace<T>(rows, bins), 77);
  struct Result {
    std::vector<int64_t> basin;
    std::vector<T> angle;
    Flags left;
  };
  const auto run = [&](auto&& find, auto&& step) {
    Result r{std::vector<int64_t>(rows * bins, 9), std::vector<T>(rows, T(9)), Flags(rows)};
    const int64_t passes = 3;
    find(FindBasinsArguments<T>{rows, bins, passes, probability.data(), workspace.data(), r.basin.data()});
    step(StepAngleArguments<T>{rows, bins, passes, probability.data(), before.data(), rate.data(), window.data(),
                               uniform.data(), workspace.data(), r.angle.data(), r.left.data()});
    return r;
  };
  const Result c = run([](const auto& a) { cpu::find_basins(a); }, [](const auto& a) { cpu::step_angle(a); });
  const Result g =
      run([](const auto& a) { cuda::find_basins(a, nullptr); }, [](const auto& a) { cuda::step_angle(a, nullptr); });
  check(c.basin == g.basin, "find_basins");
  check(same_bytes(c.angle.data(), g.angle.data(), rows * sizeof(T)), "step_angle: angle");
  check(same_bytes(c.left.data(), g.left.data(), rows), "step_angle: left");
}

// ---- C-alphas ----------------------------------------------------------------------------------

template <typename T>
void test_c_alphas(int64_t batch, int64_t residues, int64_t steps, double width = 0, int64_t ring = 0) {
  Random random{unsigned(residues + steps)};
  const int64_t kinds = 2, angles = 5, dihedrals = 6;
  std::vector<T> bead;
  for (int64_t i = 0; i < batch * residues; ++i) {  // chains with an angle at every bead
    const auto step = random.uniforms<T>(3, -0.08, 0.08);
    for (int64_t axis = 0; axis < 3; ++axis) {
      const T before = i % residues == 0 ? T(0) : bead[bead.size() - 3];
      bead.push_back(before + step[axis] + T(i % 3 == axis ? (i % 2 == 0 ? 0.38 : -0.3) : 0));
    }
  }
  const auto noise = random.uniforms<T>(batch * residues, 0.03, 0.08),
             weight = random.uniforms<T>(batch * residues, 0, 1),
             energy = random.uniforms<T>(kinds * angles * dihedrals * angles, 0, 4);
  auto bond = random.uniforms<T>(batch * residues, 0.37, 0.39);
  for (size_t i = 6; i < bond.size(); i += 7) bond[i] = T(0);
  const auto kind = random.integers(residues, 0, kinds), key = random.integers(batch, 0, 1 << 30),
             other = random.integers(batch, 0, 1 << 30);
  const auto turn = random.uniforms<T>(batch, 0, 1.5);
  const std::vector<int64_t> count(batch, steps);
  const auto box = random_boxes<T>(random, width > 0 ? batch : 0, width);
  const PriorTable<T> table{kinds, angles, dihedrals, T(1), T(0.5), energy.data()};
  std::vector<int64_t> following(residues), preceding(residues);
  for (int64_t i = 0; ring > 0 && i < residues; ++i) {
    const int64_t first = i - i % ring, last = std::min(first + ring, residues) - 1;
    following[i] = i == last ? first : i + 1, preceding[i] = i == first ? last : i - 1;
  }
  const Succession chain{residues, ring > 0 ? following.data() : nullptr};
  std::vector<T> a(batch * residues, T(9)), b = a;
  const auto energies = [&](std::vector<T>& out) {
    return CAlphaEnergyArguments<T>{batch, residues, chain, table, bead.data(), weight.data(), kind.data(), out.data()};
  };
  cpu::c_alpha_energy(energies(a));
  cuda::c_alpha_energy(energies(b), nullptr);
  check(difference(a, b) == 0, "c_alpha_energy");

  std::vector<char> workspace(cuda::draw_c_alphas_workspace<T>(batch, residues), 77);
  const auto run = [&](bool between, auto&& launch) {
    std::vector<T> c_alpha(bead.size(), T(9));
    launch(DrawCAlphasArguments<T>{batch,
                                   residues,
                                   chain,
                                   ring > 0 ? preceding.data() : nullptr,
                                   table,
                                   {T(1.5), T(3e-4), T(0.03)},
                                   T(0.4),
                                   T(500),
                                   bead.data(),
                                   noise.data(),
                                   bond.data(),
                                   weight.data(),
                                   kind.data(),
                                   key.data(),
                                   between ? other.data() : nullptr,
                                   between ? turn.data() : nullptr,
                                   count.data(),
                                   box.empty() ? nullptr : box.data(),
                                   9,
                                   c_alpha.data(),
                                   workspace.data()});
    return c_alpha;
  };
  for (const bool between : {false, true}) {
    const auto c = run(between, [](const auto& args) { cpu::draw_c_alphas(args); });
    const auto g = run(between, [](const auto& args) { cuda::draw_c_alphas(args, nullptr); });
    check(difference(c, g) < 1e3 * tolerance<T>, "draw_c_alphas");
    check(steps == 0 ? c == bead : residues * batch == 0 || difference(c, bead) > 1e-3, "draw_c_alphas: moves");
  }
}

// ---- Densities on voxels -----------------------------------------------------------------------

// Cubes inside a larger array, which start after `shift` elements, with `gap` cubes between frames.
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

// ---- Molecular mechanics -----------------------------------------------------------------------

// A chain of atoms in a small volume, so that many overlap; each excludes its two neighbours.
template <typename T>
void test_mechanics(int64_t batch, int64_t atoms, int64_t count, bool broken = false) {
  Random random{unsigned(atoms * 7 + count)};
  auto positions = random.uniforms<T>(batch * atoms * 3, 0, 1.5);
  if (broken) positions[4] = std::numeric_limits<T>::quiet_NaN();
  constexpr int64_t terms = 4;
  const auto bond = random.integers(2 * count, broken ? -1 : 0, atoms), angle = random.integers(3 * count, 0, atoms),
             torsion = random.integers(4 * count, 0, atoms), pair = random.integers(2 * count, 0, atoms);
  const auto bond_parameter = random.uniforms<T>(2 * count, 0.1, 1),
             angle_parameter = random.uniforms<T>(2 * count, 1, 2),
             coefficient = random.uniforms<T>(2 * terms * count, -1, 1),
             pair_parameter = random.uniforms<T>(3 * count, 0, 0.2), particle = random.uniforms<T>(3 * atoms, 0, 0.2);
  std::vector<int64_t> start{0}, exclusion;
  for (int64_t i = 0; i < atoms; ++i) {
    for (const int64_t j : {i - 1, i + 1})
      if (0 <= j && j < atoms) exclusion.push_back(j);
    start.push_back(int64_t(exclusion.size()));
  }
  struct Result {
    std::vector<T> energy, gradient;
  };
  std::vector<uint64_t> workspace(cuda::mechanics_workspace<T>(batch, atoms) / 8 + 1);
  const auto run = [&](auto&& launch) {
    Result r{std::vector<T>(batch, T(9)), std::vector<T>(positions.size(), T(9))};
    const ListedTerms<T> listed{atoms,          count,
                                count,          count,
                                count,          terms,
                                bond.data(),    bond_parameter.data(),
                                angle.data(),   angle_parameter.data(),
                                torsion.data(), coefficient.data(),
                                pair.data(),    pair_parameter.data(),
                                T(138.9 / 16),  T(1 / 0.49)};
    launch(MechanicsArguments<T>{batch, int64_t(exclusion.size()), T(0.7), listed, particle.data(), start.data(),
                                 exclusion.data(), positions.data(), r.energy.data(), r.gradient.data(),
                                 workspace.data()});
    return r;
  };
  const Result c = run([](const auto& a) { cpu::molecular_mechanics(a); });
  const Result g = run([](const auto& a) { cuda::molecular_mechanics(a, nullptr); });
  if (broken) {
    check(std::isnan(c.energy[0]) && std::isnan(g.energy[0]), "molecular_mechanics: energy of a broken frame");
    for (int64_t n = 0; n < 3 * atoms; ++n)
      check(std::isnan(c.gradient[n]) && std::isnan(g.gradient[n]), "molecular_mechanics: gradient of a broken frame");
    return;
  }
  double scale = 1;
  for (const T v : c.gradient) scale = std::fmax(scale, std::fabs(double(v)));
  for (const T v : c.energy) scale = std::fmax(scale, std::fabs(double(v)));
  const double close = 1e2 * tolerance<T> * scale + 1e-5;  // steps of the fixed-point sums
  check(difference(c.energy, g.energy) < close, "molecular_mechanics: energy");
  check(difference(c.gradient, g.gradient) < close, "molecular_mechanics: gradient");
}

// ---- Langevin dynamics -------------------------------------------------------------------------

template <typename T>
void test_dynamics(int64_t batch, int64_t atoms, int64_t count, int64_t steps, bool broken = false) {
  Random random{unsigned(atoms * 5 + steps)};
  const auto uniforms = [&](int64_t n, double low, double high) { return random.uniforms<T>(n, low, high); };
  const auto structure = uniforms(atoms * 3, 0, 1.2), shifts = uniforms(batch * atoms * 3, -0.001, 0.001);
  std::vector<T> positions(shifts.size());
  for (size_t n = 0; n < shifts.size(); ++n) positions[n] = structure[n % structure.size()] + shifts[n];
  constexpr int64_t terms = 4;
  const auto bond = random.integers(2 * count, broken ? -1 : 0, atoms), angle = random.integers(3 * count, 0, atoms),
             torsion = random.integers(4 * count, 0, atoms);
  const auto bond_parameter = uniforms(2 * count, 0.1, 1), angle_parameter = uniforms(2 * count, 1, 2),
             coefficient = uniforms(2 * terms * count, -1, 1), velocity = uniforms(batch * atoms * 3, -1, 1),
             normal = uniforms(batch * steps * atoms * 3, -1, 1);
  auto pair = uniforms(3 * atoms * atoms, 0, 1);
  for (int64_t i = 0; i < atoms; ++i)
    for (int64_t j = 0; j <= i; ++j)
      for (const auto& [table, scale] : {std::pair{0, 9.0}, std::pair{1, 1e-9}, std::pair{2, 1e-4}}) {
        T* values = pair.data() + table * atoms * atoms;
        values[j * atoms + i] = values[i * atoms + j] = T(scale) * values[i * atoms + j];
      }
  std::vector<T> solvent = uniforms(atoms, -1, 1), inverse = uniforms(atoms, 0.05, 0.3), length;
  for (int64_t i = 0; i < atoms; ++i) solvent.push_back(T(0.12 + 0.01 * double(i % 5)));
  for (int64_t i = 0; i < atoms; ++i) solvent.push_back(solvent[atoms + i] - T(0.009));
  for (const T radius : uniforms(atoms, 0.05, 0.2)) solvent.push_back(radius);
  for (const T surface : uniforms(atoms, 0, 1e-6)) solvent.push_back(surface);
  // Pairs of neighbours, of which some share atoms; two atoms do not move.
  std::vector<int64_t> constraint;
  for (int64_t i = 0; i + 1 < atoms; ++i) {
    if (i % 4 > 1) continue;
    constraint.insert(constraint.end(), {i, i + 1});
    double square = 0;
    for (int64_t k = 0; k < 3; ++k) square += std::pow(double(structure[3 * i + k] - structure[3 * i + 3 + k]), 2);
    length.push_back(T(std::sqrt(square)));
  }
  for (int64_t i = 0; i < std::min<int64_t>(atoms, 2); ++i) inverse[i] = T(0);
  const int64_t constraints = int64_t(length.size());
  std::vector<uint64_t> workspace(cuda::dynamics_workspace<T>(batch, atoms, constraints) / 8 + 1);
  struct Result {
    std::vector<T> moved, velocity, energy;
  };
  const auto run = [&](auto&& launch) {
    Result r{std::vector<T>(positions.size(), T(9)), std::vector<T>(positions.size(), T(9)),
             std::vector<T>(batch, T(9))};
    const ListedTerms<T> listed{atoms,
                                count,
                                count,
                                count,
                                0,
                                terms,
                                bond.data(),
                                bond_parameter.data(),
                                angle.data(),
                                angle_parameter.data(),
                                torsion.data(),
                                coefficient.data(),
                                nullptr,
                                nullptr,
                                T(0),
                                T(0)};
    launch(DynamicsArguments<T>{batch,
                                steps,
                                constraints,
                                3,
                                listed,
                                pair.data(),
                                solvent.data(),
                                inverse.data(),
                                constraint.data(),
                                length.data(),
                                T(-137),
                                T(0.002),
                                T(0.9),
                                T(2.5),
                                T(0.002),
                                positions.data(),
                                velocity.data(),
                                normal.data(),
                                r.moved.data(),
                                r.velocity.data(),
                                r.energy.data(),
                                workspace.data()});
    return r;
  };
  const Result c = run([](const auto& a) { cpu::langevin_dynamics(a); });
  const Result g = run([](const auto& a) { cuda::langevin_dynamics(a, nullptr); });
  double scale = 1;
  for (const T v : c.energy) scale = std::fmax(scale, std::fabs(double(v)));
  check(difference(c.moved, g.moved) < 10 * tolerance<T> + 1e-7, "langevin_dynamics: atoms");
  check(difference(c.velocity, g.velocity) < 1e4 * tolerance<T> + 1e-4, "langevin_dynamics: velocities");
  check(difference(c.energy, g.energy) < 1e2 * tolerance<T> * scale + 1e-4, "langevin_dynamics: energy");
}

// ---- Coarse-grained force fields ---------------------------------------------------------------

template <typename T>
double largest_of(const std::vector<T>& values) {
  double largest = 1;
  for (const T v : values) largest = std::fmax(largest, std::fabs(double(v)));
  return largest;
}

// Compares energies and gradients of frames; in broken frames, which come first, all of them are NaN.
template <typename T>
void compare_frames(const std::vector<T>& energy, const std::vector<T>& gradient, const std::vector<T>& other_energy,
                    const std::vector<T>& other_gradient, size_t broken, double factor, const std::string& what) {
  const size_t of_frame = energy.empty() ? 0 : gradient.size() / energy.size();
  for (size_t f = 0; f < broken; ++f) {
    check(std::isnan(energy[f]) && std::isnan(other_energy[f]), (what + ": energy of a broken frame").c_str());
    for (size_t n = f * of_frame; n < (f + 1) * of_frame; ++n)
      check(std::isnan(gradient[n]) && std::isnan(other_gradient[n]), (what + ": gradient of a broken frame").c_str());
  }
  const auto sound = [&](const std::vector<T>& values, size_t per_frame) {
    return std::vector<T>(values.begin() + std::ptrdiff_t(broken * per_frame), values.end());
  };
  const auto e = sound(energy, 1), g = sound(gradient, of_frame);
  check(difference(e, sound(other_energy, 1)) < factor * tolerance<T> * largest_of(e), (what + ": energy").c_str());
  check(difference(g, sound(other_gradient, of_frame)) < factor * tolerance<T> * largest_of(g),
        (what + ": gradient").c_str());
}

template <typename T>
void test_schnet(int64_t batch, int64_t beads, int64_t width, int64_t hidden, int64_t blocks, int64_t knots,
                 bool broken = false) {
  Random random{unsigned(beads * 7 + width)};
  auto position = random.uniforms<T>(batch * beads * 3, 0, 1);
  if (broken) position[4] = std::numeric_limits<T>::quiet_NaN();
  const auto feature = random.uniforms<T>(beads * width, -1, 1),
             filter = random.uniforms<T>(blocks * knots * 2 * width, -1, 1),
             incoming = random.uniforms<T>(blocks * width * width, -0.3, 0.3),
             mixing = random.uniforms<T>(blocks * width * width, -0.3, 0.3),
             outgoing = random.uniforms<T>(blocks * width * width, -0.3, 0.3),
             mixing_bias = random.uniforms<T>(blocks * width, -1, 1),
             outgoing_bias = random.uniforms<T>(blocks * width, -1, 1),
             readout = random.uniforms<T>(hidden * width, -1, 1), readout_bias = random.uniforms<T>(hidden, -1, 1),
             readout_weight = random.uniforms<T>(hidden, -1, 1);
  std::vector<uint64_t> workspace(cuda::schnet_workspace<T>(batch, beads, width, hidden, blocks) / 8 + 1, ~0ull);
  struct Result {
    std::vector<T> energy, gradient;
  };
  const auto run = [&](auto&& launch) {
    Result r{std::vector<T>(batch, T(9)), std::vector<T>(position.size(), T(9))};
    launch(SchNetArguments<T>{batch,
                              beads,
                              width,
                              hidden,
                              blocks,
                              filter_knots<T>(knots, 0.8),
                              position.data(),
                              feature.data(),
                              filter.data(),
                              incoming.data(),
                              mixing.data(),
                              mixing_bias.data(),
                              outgoing.data(),
                              outgoing_bias.data(),
                              readout.data(),
                              readout_bias.data(),
                              readout_weight.data(),
                              r.energy.data(),
                              r.gradient.data(),
                              workspace.data()});
    return r;
  };
  const Result c = run([](const auto& a) { cpu::schnet_energy(a); });
  const Result g = run([](const auto& a) { cuda::schnet_energy(a, nullptr); });
  compare_frames(c.energy, c.gradient, g.energy, g.gradient, broken ? 1 : 0, 10, "schnet_energy");
}

// Terms of successive beads; some are beyond the ends of the chain, and count as missing.
template <typename T>
void test_prior(int64_t batch, int64_t beads, int64_t count, bool broken = false) {
  Random random{unsigned(beads * 11 + count)};
  auto position = random.uniforms<T>(batch * beads * 3, 0, 1.5);
  if (broken) position[4] = std::numeric_limits<T>::infinity();
  constexpr int64_t terms = 4;
  const auto successive = [&](int64_t members) {
    std::vector<int64_t> indices;
    for (const int64_t first : random.integers(count, -1, beads))
      for (int64_t m = 0; m < members; ++m) indices.push_back(first + m);
    return indices;
  };
  const auto bond = successive(2), angle = successive(3), torsion = successive(4), centre = successive(4),
             pair = successive(2);
  const auto bond_parameter = random.uniforms<T>(2 * count, 0.1, 1),
             angle_parameter = random.uniforms<T>(2 * count, 1, 2),
             coefficient = random.uniforms<T>(2 * terms * count, -1, 1),
             centre_parameter = random.uniforms<T>(2 * count, -1, 1), sigma = random.uniforms<T>(count, 0, 0.2);
  std::vector<uint64_t> workspace(cuda::prior_workspace<T>(batch, beads) / 8 + 1);
  struct Result {
    std::vector<T> energy, gradient;
  };
  const auto run = [&](auto&& launch) {
    Result r{std::vector<T>(batch, T(9)), std::vector<T>(position.size(), T(9))};
    const ListedTerms<T> bent{beads,
                              0,
                              count,
                              count,
                              0,
                              terms,
                              nullptr,
                              nullptr,
                              angle.data(),
                              angle_parameter.data(),
                              torsion.data(),
                              coefficient.data(),
                              nullptr,
                              nullptr,
                              T(0),
                              T(0)};
    const PriorTerms<T> listed{bent,          count,
                               count,         count,
                               bond.data(),   bond_parameter.data(),
                               centre.data(), centre_parameter.data(),
                               pair.data(),   sigma.data(),
                               T(2.5)};
    launch(PriorArguments<T>{batch, listed, position.data(), r.energy.data(), r.gradient.data(), workspace.data()});
    return r;
  };
  const Result c = run([](const auto& a) { cpu::bead_prior(a); });
  const Result g = run([](const auto& a) { cuda::bead_prior(a, nullptr); });
  const double steps = 1e-5 / tolerance<T>;  // of the fixed-point sums
  compare_frames(c.energy, c.gradient, g.energy, g.gradient, broken ? 1 : 0, 100 + steps, "bead_prior");
}

template <typename T>
void test_all() {
  for (const FrameRule rule : {FrameRule::GramSchmidt, FrameRule::Isosceles}) {
    test_alignment<T>(2, 200, 3, 3, 12, rule);
    test_alignment<T>(1, 1200, 3, 40, 20, rule);      // sorted
    test_alignment<T>(2, 1200, 3, 33, 20, rule, 9);   // the same, less dense
    test_alignment<T>(1, 1200, 3, 5, 20, rule);       // a scan, partly measured twice on CUDA
    test_alignment<T>(1, 1500, 2, 2, 500, rule);      // the same in three rounds
    test_alignment<T>(1, 1030, 1, 32, 300, rule);     // sorted, in two rounds
    test_alignment<T>(1, 2500, 1, 32, 24, rule, 12);  // several regions
    test_alignment<T>(1, 1030, 1, 32, 10, rule, 0);   // all atoms in one place
    test_alignment<T>(1, 900, 2, 2, 10, rule, 0);     // all atoms in one place
    test_alignment<T>(3, 6, 4, 3, 9, rule);           // more neighbours than residues
    test_alignment<T>(2, 40, 3, 5, 1, rule);
    test_alignment<T>(1, 1, 1, 1, 1, rule);
    test_alignment<T>(1, 0, 2, 2, 3, rule);
    test_alignment<T>(2, 200, 3, 3, 12, rule, 3, 2.1);
    test_alignment<T>(2, 1200, 3, 40, 20, rule, 9, 5.3);
    test_alignment<T>(2, 2500, 1, 32, 24, rule, 40, 12);
    test_alignment<T>(1, 1030, 1, 32, 12, rule, 9, 0.4);  // no distance is sure to be the shortest
    test_alignment<T>(0, 5, 2, 2, 3, rule);
  }
  test_placement<T>(5, 14);
  test_placement<T>(0, 14);
  test_overlap<T>(3, 50, 20, 7);
  test_overlap<T>(1, 1, 1, 1);
  test_overlap<T>(2, 5, 0, 3);
  test_overlap<T>(2, 0, 4, 3);
  test_overlap<T>(0, 5, 4, 3);
  test_score<T>(3, 60, 9, 50);
  test_score<T>(3, 60, 9, 50, 1.5);
  test_score<T>(3, 60, 9, 50, 0.31);  // one cell per axis
  test_score<T>(1, 1, 1, 1);
  test_score<T>(1, 0, 4, 0);
  test_penalty<T>(3, 60, 9, 50, 70);
  test_penalty<T>(3, 60, 9, 50, 400, 1.5);
  test_penalty<T>(2, 40, 5, 300, 20, 0.7);  // one cell per axis
  test_penalty<T>(1, 20, 5, 9, 9, 0, true);
  test_penalty<T>(2, 19, 9, 40, 50, 0, false, 0);  // without a search for contacts
  test_penalty<T>(1, 1, 1, 0, 0);
  test_penalty<T>(2, 0, 3, 0, 0);
  test_penalty<T>(0, 5, 3, 2, 2);
  test_packing<T>(2, 20, 9, 5, 4, 3, 1.2);
  test_packing<T>(1, 270, 3, 2, 4, 1, 2.5);  // more residues than threads
  test_packing<T>(2, 20, 9, 5, 4, 3, 1.2, 1.1);
  test_packing<T>(2, 20, 9, 5, 4, 3, 1.2, 0, true);
  test_packing<T>(2, 20, 9, 5, 4, 3, 1.2, 0, true, true);
  test_packing<T>(2, 20, 9, 5, 4, 3, 1.2, 1.1, false, true);
  test_packing<T>(1, 270, 3, 2, 4, 1, 2.5, 0, false, true);
  test_packing<T>(1, 270, 3, 2, 4, 1, 2.5, 2.3);
  test_packing<T>(2, 1, 1, 1, 5, 2, 1);
  test_packing<T>(1, 5, 2, 0, 4, 2, 1);
  test_packing<T>(0, 5, 2, 3, 4, 2, 1);
  test_least_overlap<T>(2, 60, 4, 9, 12, 3, 1.5);
  test_least_overlap<T>(2, 60, 4, 9, 12, 3, 1.5, 0.9);
  test_least_overlap<T>(1, 300, 4, 20, 5, 1, 3, 2.5);
  test_least_overlap<T>(1, 1, 1, 1, 1, 1, 1);
  test_least_overlap<T>(1, 0, 4, 2, 3, 1, 1);
  test_least_overlap<T>(0, 5, 4, 2, 3, 1, 1);
  test_neighbourhoods<T>(20, 24, 3, 4, 40);
  test_neighbourhoods<T>(2500, 2, 1, 1, 3);  // more sites than blocks
  test_neighbourhoods<T>(1, 1, 1, 1, 1);
  test_neighbourhoods<T>(0, 5, 2, 2, 8);
  test_wave_logits<T>(20, 16, 4, 40, 36, false);
  test_wave_logits<T>(7, 5, 3, 21, 3, true);
  test_wave_logits<T>(3000, 3, 1, 2, 2, false);  // more draws than blocks
  test_wave_logits<T>(3, 2, 0, 0, 1, false);
  test_wave_logits<T>(0, 2, 2, 4, 3, false);
  test_placement_of_side_chains<T>(30, 20, 4, 10, false);
  test_placement_of_side_chains<T>(300, 3, 2, 5, true);  // several threads
  test_placement_of_side_chains<T>(3, 1, 0, 1, true);
  test_placement_of_side_chains<T>(0, 2, 4, 10, false);
  test_placement_of_side_chains<T>(2, 0, 4, 10, false);
  test_descent<T>(9, 30, 40, 10, 3, 6, 20);
  test_descent<T>(1, 300, 400, 100, 0, 60, 200);
  test_descent<T>(3, 1, 0, 0, 0, 1, 0);
  test_descent<T>(0, 30, 40, 10, 3, 6, 20);
  test_removal<T>(5, 19, 40, 2, 64, 3, true);
  test_removal<T>(3, 7, 300, 1, 5, 2, false);   // more features than threads
  test_removal<T>(515, 3, 4, 1, 2, 2, true);    // several residues in a block
  test_removal<T>(9000, 1, 1, 0, 0, 1, false);  // more residues than blocks
  test_removal<T>(2, 2, 17, 1, 3, 0, false);
  test_removal<T>(0, 4, 8, 1, 3, 2, true);
  test_joint_penalty<T>(20, 12, 5, 12);
  test_joint_penalty<T>(300, 1, 7, 72);  // several threads
  test_joint_penalty<T>(3, 0, 5, 4);
  test_joint_penalty<T>(0, 2, 5, 4);
  test_angle_chains<T>(3, 2, 30, 3, 10, 24, 36, false);
  test_angle_chains<T>(2, 3, 21, 2, 9, 7, 5, true);
  test_angle_chains<T>(9000, 1, 2, 1, 2, 2, 3, false);  // more chains than blocks
  test_angle_chains<T>(1, 1, 4, 0, 0, 3, 5, false);
  test_angle_chains<T>(1, 1, 5, 1, 9, 0, 1, false);  // the chain ends at an index out of range
  test_angle_chains<T>(0, 2, 5, 1, 5, 3, 4, false);
  test_rotamers<T>(50, 4, 20, 36);
  test_rotamers<T>(150, 2, 3, 5);  // several threads
  test_rotamers<T>(3, 3, 0, 1);
  test_rotamers<T>(3, 0, 4, 36);
  test_rotamers<T>(0, 4, 20, 36);
  test_basins<T>(100, 36);
  test_basins<T>(700, 72);  // several threads
  test_basins<T>(5, 1);
  test_basins<T>(0, 36);
  test_mechanics<T>(2, 300, 200);  // several blocks of threads
  test_mechanics<T>(3, 21, 9);
  test_mechanics<T>(1, 1, 0);
  test_mechanics<T>(2, 0, 0);
  test_mechanics<T>(0, 5, 3);
  test_mechanics<T>(2, 30, 9, true);
  test_dynamics<T>(2, 30, 9, 3);
  test_dynamics<T>(1, 150, 20, 2);  // more atoms than threads
  test_dynamics<T>(2100, 3, 1, 1);  // more frames than blocks
  test_dynamics<T>(2, 9, 4, 0);
  test_dynamics<T>(2, 9, 4, 2, true);
  test_dynamics<T>(2, 1, 0, 2);
  test_dynamics<T>(2, 0, 0, 2);
  test_dynamics<T>(0, 5, 3, 2);
  test_schnet<T>(5, 6, 32, 16, 2, 20);
  test_schnet<T>(3, 21, 7, 3, 3, 2);  // features that do not fill lanes, more rows than the CPU takes at once
  test_schnet<T>(4, 6, 9, 40, 1, 5, true);
  test_schnet<T>(2, 5, 8, 4, 0, 3);
  test_schnet<T>(2, 1, 8, 4, 2, 3);
  test_schnet<T>(2, 0, 8, 4, 2, 3);
  test_schnet<T>(0, 5, 8, 4, 2, 3);
  test_prior<T>(3, 21, 9);
  test_prior<T>(2, 60, 200);
  test_prior<T>(1, 1, 0);
  test_prior<T>(2, 0, 0);
  test_prior<T>(0, 5, 3);
  test_prior<T>(2, 30, 9, true);
  test_c_alphas<T>(2, 60, 12);
  test_c_alphas<T>(2, 60, 12, 3);
  test_c_alphas<T>(1, 300, 11, 4);  // more residues than threads
  test_c_alphas<T>(2, 60, 12, 3, 8);
  test_c_alphas<T>(1, 300, 11, 0, 300);
  test_c_alphas<T>(2, 3, 5);
  test_c_alphas<T>(1, 1, 2);
  test_c_alphas<T>(2, 20, 0);
  test_c_alphas<T>(0, 5, 2);
  for (const int32_t points : {1, 5, 8, 12, 16, 20}) {
    test_densities<T>(2, 9, points, 3, 0);  // more cubes than a block has warps
    test_densities<T>(1, 2, points, 0, 1);  // not aligned to 16 bytes
    test_densities<T>(0, 5, points, 0, 0);
    test_densities<T>(3, 0, points, 0, 0);
  }
}

void test_random_numbers() {
  test_counter_uniform(20, 30);
  test_counter_uniform(3, 20000);  // several threads
  test_counter_uniform(0, 5);
  test_counter_uniform(5, 0);
}

}  // namespace
}  // namespace backmap::testing

int main() {
  backmap::testing::test_random_numbers();
  backmap::testing::test_all<float>();
  backmap::testing::test_all<double>();
  return backmap::testing::finish();
}
