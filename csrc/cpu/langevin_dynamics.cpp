// Langevin dynamics of a molecule in implicit solvent. Threads share frames; vectors run over the partners of an atom.
#include "kernels/langevin_dynamics.h"

#include <algorithm>
#include <vector>

#include "core/round_up.h"
#include "cpu/clones.h"
#include "cpu/lanes.h"
#include "cpu/listed_terms.h"
#include "cpu/parallel.h"

namespace backmap::cpu {
namespace {

// Tables of all pairs and atoms, with rows padded to whole lanes by atoms that have no charge and no size.
template <typename T>
struct Tables {
  int64_t atoms, padded;
  std::vector<T> charges, repulsion, attraction, solvent_charge, screening;

  explicit Tables(const DynamicsArguments<T>& args)
      : atoms(args.terms.atoms),
        padded(round_up(atoms, lane_count<T>)),
        charges(atoms * padded),
        repulsion(atoms * padded),
        attraction(atoms * padded),
        solvent_charge(padded),
        screening(padded) {
    for (int64_t i = 0; i < atoms; ++i) {
      const T* row = args.pair + i * atoms;
      std::copy_n(row, atoms, charges.data() + i * padded);
      std::copy_n(row + atoms * atoms, atoms, repulsion.data() + i * padded);
      std::copy_n(row + 2 * atoms * atoms, atoms, attraction.data() + i * padded);
    }
    std::copy_n(args.solvent + SolventRow::solvent_charge * atoms, atoms, solvent_charge.data());
    std::copy_n(args.solvent + SolventRow::screening_radius * atoms, atoms, screening.data());
  }
};

// Working memory of a frame.
template <typename T>
struct Scratch {
  std::vector<T> x, y, z, grad_x, grad_y, grad_z, born, born_slope, by_born;
  std::vector<T> slope;             // (atoms, padded): of the screening of each atom by each other
  std::vector<T> gradient, before;  // (atoms, 3)
  std::vector<T> bond, share;       // (constraints, 3), (constraints)
  std::vector<Constraint<T>> constraint;

  Scratch(const DynamicsArguments<T>& args, const Tables<T>& tables)
      : x(tables.padded),
        y(tables.padded),
        z(tables.padded),
        grad_x(tables.padded),
        grad_y(tables.padded),
        grad_z(tables.padded),
        born(tables.padded, T(1)),
        born_slope(tables.padded),
        by_born(tables.padded),
        slope(tables.atoms * tables.padded),
        gradient(3 * tables.atoms),
        before(3 * tables.atoms),
        bond(3 * args.constraints),
        share(args.constraints) {
    for (int64_t k = 0; k < args.constraints; ++k) {
      const Constraint<T> found = constraint_at(args, k);
      if (found.acts) constraint.push_back(found);
    }
  }
};

// ---- Energy ------------------------------------------------------------------------------------

template <typename T>
BACKMAP_HD void place(const T* position, const Tables<T>& tables, Scratch<T>& s) {
  for (int64_t i = 0; i < tables.padded; ++i) {
    const bool exists = i < tables.atoms;
    const T far = T(1000 + i);  // from all atoms and from each other
    s.x[i] = exists ? position[3 * i] : far;
    s.y[i] = exists ? position[3 * i + 1] : far;
    s.z[i] = exists ? position[3 * i + 2] : far;
  }
}

template <typename T>
BACKMAP_HD T bounded_square(T dx, T dy, T dz) {
  const T square = dx * dx + dy * dy + dz * dz;
  return square < T(least_square_nm2) ? T(least_square_nm2) : square;
}

// Born radii and the slopes of all screening integrals.
template <typename T>
BACKMAP_HD void find_born_radii(const DynamicsArguments<T>& args, const Tables<T>& tables, Scratch<T>& s) {
  constexpr int64_t lanes = lane_count<T>;
  const int64_t atoms = tables.atoms;
  const T *radius = args.solvent + SolventRow::solvent_radius * atoms,
          *reduced = args.solvent + SolventRow::reduced_radius * atoms;
  for (int64_t i = 0; i < atoms; ++i) {
    const T least = reduced[i], x = s.x[i], y = s.y[i], z = s.z[i];
    Lanes<T> sum = broadcast(T(0));
    T* slope = s.slope.data() + i * tables.padded;
    for (int64_t first = 0; first < tables.padded; first += lanes) {
      T integral[lanes], steepness[lanes];
      const T *other_x = s.x.data() + first, *other_y = s.y.data() + first, *other_z = s.z.data() + first,
              *other_radius = tables.screening.data() + first;
      for (int64_t n = 0; n < lanes; ++n) {
        const Screening<T> by =
            screen(bounded_square(x - other_x[n], y - other_y[n], z - other_z[n]), other_radius[n], least);
        const bool counts = first + n != i;
        integral[n] = counts ? by.integral : T(0);
        steepness[n] = counts ? by.slope : T(0);
      }
      sum += load_lanes(integral);
      store_lanes(slope + first, load_lanes(steepness));
    }
    const BornRadius<T> born = born_radius(sum_of_lanes<T>(sum), radius[i], reduced[i]);
    s.born[i] = born.value;
    s.born_slope[i] = born.slope;
  }
}

// Adds energies and gradients of an atom's pairs with later ones, and derivatives by Born radii.
template <typename T>
BACKMAP_HD double add_pairs(const DynamicsArguments<T>& args, const Tables<T>& tables, int64_t i, Scratch<T>& s) {
  constexpr int64_t lanes = lane_count<T>;
  const T *charges = tables.charges.data() + i * tables.padded,
          *repulsion = tables.repulsion.data() + i * tables.padded,
          *attraction = tables.attraction.data() + i * tables.padded;
  const T x = s.x[i], y = s.y[i], z = s.z[i], born = s.born[i];
  const T polar = args.polarisation * tables.solvent_charge[i];
  Lanes<T> sum[5];
  for (Lanes<T>& of_all : sum) of_all = broadcast(T(0));
  T* totals[4] = {s.grad_x.data(), s.grad_y.data(), s.grad_z.data(), s.by_born.data()};
  for (int64_t first = i / lanes * lanes; first < tables.padded; first += lanes) {
    T energy[lanes], by_own[lanes], added[4][lanes];  // to own values, and to those of the others
    const T *other_x = s.x.data() + first, *other_y = s.y.data() + first, *other_z = s.z.data() + first,
            *other_born = s.born.data() + first, *other_charge = tables.solvent_charge.data() + first;
    for (int64_t n = 0; n < lanes; ++n) {
      const T dx = x - other_x[n], dy = y - other_y[n], dz = z - other_z[n];
      const SolvatedPair<T> pair = solvated_pair(bounded_square(dx, dy, dz), charges[first + n], repulsion[first + n],
                                                 attraction[first + n], polar * other_charge[n], born, other_born[n]);
      const bool counts = first + n > i;
      const T push = counts ? pair.push : T(0), by_born = counts ? pair.by_born : T(0);
      energy[n] = counts ? pair.energy : T(0);
      by_own[n] = by_born * other_born[n];
      added[0][n] = push * dx, added[1][n] = push * dy, added[2][n] = push * dz;
      added[3][n] = by_born * born;
    }
    for (int64_t k = 0; k < 4; ++k) {
      T* total = totals[k] + first;
      store_lanes(total, load_lanes(total) + load_lanes(added[k]));
    }
    for (int64_t k = 0; k < 3; ++k) sum[k] += load_lanes(added[k]);
    sum[3] += load_lanes(by_own);
    sum[4] += load_lanes(energy);
  }
  s.grad_x[i] -= sum_of_lanes<T>(sum[0]);
  s.grad_y[i] -= sum_of_lanes<T>(sum[1]);
  s.grad_z[i] -= sum_of_lanes<T>(sum[2]);
  s.by_born[i] += sum_of_lanes<T>(sum[3]);
  return double(sum_of_lanes<T>(sum[4]));
}

// Adds the gradients of an atom's screening by all others.
template <typename T>
BACKMAP_HD void add_screening(const Tables<T>& tables, int64_t i, T by_integral, Scratch<T>& s) {
  constexpr int64_t lanes = lane_count<T>;
  const T *slope = s.slope.data() + i * tables.padded, x = s.x[i], y = s.y[i], z = s.z[i];
  Lanes<T> sum[3];
  for (Lanes<T>& of_all : sum) of_all = broadcast(T(0));
  for (int64_t first = 0; first < tables.padded; first += lanes) {
    const Lanes<T> push = broadcast(by_integral) * load_lanes(slope + first);
    const Lanes<T> pull[3] = {push * (broadcast(x) - load_lanes(s.x.data() + first)),
                              push * (broadcast(y) - load_lanes(s.y.data() + first)),
                              push * (broadcast(z) - load_lanes(s.z.data() + first))};
    T* grad[3] = {s.grad_x.data() + first, s.grad_y.data() + first, s.grad_z.data() + first};
    for (int64_t k = 0; k < 3; ++k) {
      store_lanes(grad[k], load_lanes(grad[k]) + pull[k]);
      sum[k] += pull[k];
    }
  }
  s.grad_x[i] -= sum_of_lanes<T>(sum[0]);
  s.grad_y[i] -= sum_of_lanes<T>(sum[1]);
  s.grad_z[i] -= sum_of_lanes<T>(sum[2]);
}

// The energy of a frame; its gradient goes to the scratch.
template <typename T>
BACKMAP_HD T evaluate(const DynamicsArguments<T>& args, const Tables<T>& tables, const T* position, Scratch<T>& s) {
  const int64_t atoms = tables.atoms;
  place(position, tables, s);
  for (auto* values : {&s.grad_x, &s.grad_y, &s.grad_z, &s.by_born}) std::fill(values->begin(), values->end(), T(0));
  find_born_radii(args, tables, s);
  double energy = 0;
  for (int64_t i = 0; i < atoms; ++i) energy += add_pairs(args, tables, i, s);
  for (int64_t i = 0; i < atoms; ++i) {
    T slope;
    energy += double(own_energy(args.polarisation, tables.solvent_charge[i],
                                args.solvent[SolventRow::surface_energy * atoms + i], s.born[i], slope));
    add_screening(tables, i, (s.by_born[i] + slope) * s.born_slope[i], s);
  }
  for (int64_t i = 0; i < atoms; ++i) store(s.gradient.data() + 3 * i, {s.grad_x[i], s.grad_y[i], s.grad_z[i]});
  return T(energy + sum_listed(args.terms, position, s.gradient.data()));
}

// ---- Dynamics ----------------------------------------------------------------------------------

// Moves both ends of all constraints by their shares of the bonds.
template <typename T>
BACKMAP_HD void apply_shares(const DynamicsArguments<T>& args, Scratch<T>& s, T* vectors) {
  for (size_t k = 0; k < s.constraint.size(); ++k) {
    const Constraint<T>& c = s.constraint[k];
    const Vec3<T> change = s.share[k] * load(s.bond.data() + 3 * k);
    store(vectors + 3 * c.first, load(vectors + 3 * c.first) + args.inverse_mass[c.first] * change);
    store(vectors + 3 * c.second, load(vectors + 3 * c.second) - args.inverse_mass[c.second] * change);
  }
}

template <typename T>
BACKMAP_HD void find_bonds(const T* position, Scratch<T>& s) {
  for (size_t k = 0; k < s.constraint.size(); ++k) {
    const Constraint<T>& c = s.constraint[k];
    store(s.bond.data() + 3 * k, load(position + 3 * c.first) - load(position + 3 * c.second));
  }
}

// Takes the stretching of the bonds that were found from the velocities.
template <typename T>
BACKMAP_HD void constrain_velocities(const DynamicsArguments<T>& args, Scratch<T>& s, T* velocity) {
  for (int64_t iteration = 0; iteration < args.iterations; ++iteration) {
    for (size_t k = 0; k < s.constraint.size(); ++k) {
      const Constraint<T>& c = s.constraint[k];
      s.share[k] =
          velocity_share(c, load(s.bond.data() + 3 * k), load(velocity + 3 * c.first) - load(velocity + 3 * c.second));
    }
    apply_shares(args, s, velocity);
  }
}

// Restores the lengths of the bonds, along those that were found.
template <typename T>
BACKMAP_HD void constrain_positions(const DynamicsArguments<T>& args, Scratch<T>& s, T* position) {
  for (int64_t iteration = 0; iteration < args.iterations; ++iteration) {
    for (size_t k = 0; k < s.constraint.size(); ++k) {
      const Constraint<T>& c = s.constraint[k];
      s.share[k] =
          position_share(c, load(position + 3 * c.first) - load(position + 3 * c.second), load(s.bond.data() + 3 * k));
    }
    apply_shares(args, s, position);
  }
}

template <typename T>
BACKMAP_HD void simulate(const DynamicsArguments<T>& args, const Tables<T>& tables, int64_t frame, Scratch<T>& s) {
  const int64_t atoms = tables.atoms, numbers = 3 * atoms;
  T *position = args.moved + frame * numbers, *velocity = args.moved_velocity + frame * numbers;
  const T* normal = args.normal + frame * args.steps * numbers;
  const T agitation = std::sqrt(T(1) - args.kept * args.kept), half = T(0.5) * args.step;
  std::copy_n(args.atoms + frame * numbers, numbers, position);
  for (int64_t n = 0; n < numbers; ++n)
    velocity[n] = args.inverse_mass[n / 3] > T(0) ? args.velocity[frame * numbers + n] : T(0);
  find_bonds(position, s);
  for (int64_t step = 0; step < args.steps; ++step) {
    evaluate(args, tables, position, s);
    for (int64_t i = 0; i < atoms; ++i)
      store(velocity + 3 * i,
            load(velocity + 3 * i) + force_kick(args, args.inverse_mass[i], load(s.gradient.data() + 3 * i)));
    constrain_velocities(args, s, velocity);
    for (int64_t n = 0; n < numbers; ++n) {
      const T thermal = std::sqrt(args.kt * args.inverse_mass[n / 3]);
      position[n] += half * velocity[n];
      velocity[n] = args.kept * velocity[n] + agitation * thermal * normal[n];
      position[n] += half * velocity[n];
    }
    std::copy_n(position, numbers, s.before.data());
    constrain_positions(args, s, position);
    for (int64_t n = 0; n < numbers; ++n) velocity[n] += (position[n] - s.before[n]) / args.step;
    find_bonds(position, s);
    normal += numbers;
  }
  args.energy[frame] = evaluate(args, tables, position, s);
}

BACKMAP_CLONES void simulate_frames(const DynamicsArguments<float>& args, const Tables<float>& tables, int64_t begin,
                                    int64_t end, Scratch<float>& scratch) {
  for (int64_t frame = begin; frame < end; ++frame) simulate(args, tables, frame, scratch);
}
BACKMAP_CLONES void simulate_frames(const DynamicsArguments<double>& args, const Tables<double>& tables, int64_t begin,
                                    int64_t end, Scratch<double>& scratch) {
  for (int64_t frame = begin; frame < end; ++frame) simulate(args, tables, frame, scratch);
}

}  // namespace

template <typename T>
void langevin_dynamics(const DynamicsArguments<T>& args) {
  const Tables<T> tables(args);
  parallel_ranges(args.batch, 1, [&](int64_t begin, int64_t end) {
    Scratch<T> scratch(args, tables);
    simulate_frames(args, tables, begin, end, scratch);
  });
}

template void langevin_dynamics(const DynamicsArguments<float>&);
template void langevin_dynamics(const DynamicsArguments<double>&);

}  // namespace backmap::cpu
