// The formulas of csrc/core, one function per header: gradients against finite differences, and behaviour where a
// formula is undefined (collinear points, coinciding atoms, zero vectors, values that are not finite).
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "core/activation.h"
#include "core/bead_prior.h"
#include "core/bounding_sphere.h"
#include "core/bounds.h"
#include "core/c_alpha_dynamics.h"
#include "core/cell_hash.h"
#include "core/density_moments.h"
#include "core/exponential.h"
#include "core/gaussian_density.h"
#include "core/halving.h"
#include "core/implicit_solvent.h"
#include "core/joint_penalty.h"
#include "core/local_frame.h"
#include "core/logarithm.h"
#include "core/nearest.h"
#include "core/overlap.h"
#include "core/pair_terms.h"
#include "core/periodic_box.h"
#include "core/rotamer_draw.h"
#include "core/schnet.h"
#include "core/side_chain_geometry.h"
#include "core/trial_overlap.h"
#include "core/voxel_grid.h"
#include "random_structures.h"

namespace backmap::testing {
namespace {

template <typename T>
constexpr T not_a_number = std::numeric_limits<T>::quiet_NaN();
template <typename T>
constexpr T infinite = std::numeric_limits<T>::infinity();
template <typename T>
constexpr T rounding = std::numeric_limits<T>::epsilon();

using Values = std::vector<double>;

// A formula of several numbers and its backward, which maps inputs and gradients with respect to outputs to gradients
// with respect to inputs.
using Formula = std::function<Values(const Values&)>;
using Backward = std::function<Values(const Values&, const Values&)>;

// Compares the backward at `inputs` with central differences of the formula.
void check_gradient(const char* what, const Formula& formula, const Backward& backward, const Values& inputs,
                    Random& random) {
  const Values grad = random.uniforms<double>(int64_t(formula(inputs).size()), -1, 1);
  const Values actual = backward(inputs, grad);
  check(actual.size() == inputs.size(), what);
  for (size_t i = 0; i < inputs.size(); ++i) {
    const double step = 1e-6;
    Values above = inputs, below = inputs;
    above[i] += step;
    below[i] -= step;
    const Values high = formula(above), low = formula(below);
    double expected = 0;
    for (size_t o = 0; o < grad.size(); ++o) expected += grad[o] * (high[o] - low[o]) / (2 * step);
    if (std::fabs(actual[i] - expected) <= 1e-6 * (1 + std::fabs(expected))) continue;
    std::printf("input %zu: gradient %g, finite difference %g\n", i, actual[i], expected);
    return check(false, what);
  }
}

// Scales at which geometry is tested: from far below to far above the sizes of molecules in nm.
const double scales[] = {1e-6, 1e-2, 1, 1e2, 1e6};

template <typename T>
Vec3<T> random_vector(Random& random, double scale = 1) {
  const auto v = random.uniforms<T>(3, -scale, scale);
  return load(v.data());
}

template <typename T>
bool near_zero(T value) {
  return std::fabs(value) <= 16 * rounding<T>;
}

// ---- vec3.h ------------------------------------------------------------------------------------

template <typename T>
void test_vec3() {
  Random random(1);
  for (int n = 0; n < 1000; ++n) {
    const Vec3<T> a = random_vector<T>(random), b = random_vector<T>(random), c = cross(a, b);
    check(near_zero(dot(a, c)) && near_zero(dot(b, c)), "vec3: cross product is orthogonal to both");
    const T area = dot(a, a) * dot(b, b) - dot(a, b) * dot(a, b);
    check(near_zero(dot(c, c) - area), "vec3: length of the cross product");
    check(squared_distance(a, b) == squared_distance(b, a), "vec3: a distance is symmetric to the last bit");
  }
  for (const T bad : {not_a_number<T>, infinite<T>, -infinite<T>}) {
    check(!is_finite(Vec3<T>{bad, T(0), T(0)}) && !is_finite(Vec3<T>{T(0), bad, T(0)}) &&
              !is_finite(Vec3<T>{T(0), T(0), bad}),
          "vec3: not finite");
  }
  check(is_finite(Vec3<T>{std::numeric_limits<T>::max(), T(0), std::numeric_limits<T>::denorm_min()}), "vec3: finite");
}

// ---- local_frame.h -----------------------------------------------------------------------------

Values flat(const Frame<double>& f) {
  Values v(12);
  store_frame(v.data(), f);
  return v;
}

Values flat(const Triangle<double>& t) {
  Values v(9);
  store_triangle(v.data(), t);
  return v;
}

void test_frame_gradients() {
  Random random(2);
  for (int n = 0; n < 100; ++n) {
    for (const FrameRule rule : {FrameRule::GramSchmidt, FrameRule::Isosceles}) {
      check_gradient(
          "frame_backward", [&](const Values& x) { return flat(frame_of(rule, load_triangle(x.data()))); },
          [&](const Values& x, const Values& grad) {
            return flat(frame_backward(rule, load_triangle(x.data()), load_frame(grad.data())));
          },
          random.uniforms<double>(9, -1, 1), random);
    }
    check_gradient(
        "direction_backward",
        [](const Values& x) {
          Values unit(3);
          store(unit.data(), direction(load(x.data())));
          return unit;
        },
        [](const Values& x, const Values& grad) {
          Values out(3);
          const Vec3<double> v = load(x.data());
          store(out.data(), direction_backward(v, direction(v), load(grad.data())));
          return out;
        },
        random.uniforms<double>(3, -1, 1), random);
    // The frame and the point as 15 independent numbers.
    const auto moved = [](const auto& move) {
      return [move](const Values& x) {
        Values out(3);
        store(out.data(), move(load_frame(x.data()), load(x.data() + 12)));
        return out;
      };
    };
    const auto moved_back = [](const auto& backward) {
      return [backward](const Values& x, const Values& grad) {
        Frame<double> grad_frame{};
        Values out(15);
        store(out.data() + 12, backward(load_frame(x.data()), load(x.data() + 12), load(grad.data()), grad_frame));
        store_frame(out.data(), grad_frame);
        return out;
      };
    };
    // `to_global` is the inverse of `to_local` only for orthonormal bases, so only those are tested.
    Values inputs = flat(gram_schmidt_frame(load_triangle(random.uniforms<double>(9, -1, 1).data())));
    for (const double v : random.uniforms<double>(3, -1, 1)) inputs.push_back(v);
    check_gradient("to_local_backward", moved([](const auto& f, const auto& p) { return to_local(f, p); }),
                   moved_back([](const auto& f, const auto& p, const auto& g, auto& grad_frame) {
                     return to_local_backward(f, p, g, grad_frame);
                   }),
                   inputs, random);
    check_gradient("to_global_backward", moved([](const auto& f, const auto& p) { return to_global(f, p); }),
                   moved_back([](const auto& f, const auto& p, const auto& g, auto& grad_frame) {
                     return to_global_backward(f, p, g, grad_frame);
                   }),
                   inputs, random);
  }
}

template <typename T>
bool is_rotation(const Frame<T>& f) {
  const auto unit = [](const Vec3<T>& v) { return near_zero(dot(v, v) - T(1)); };
  return unit(f.e1) && unit(f.e2) && unit(f.e3) && near_zero(dot(f.e1, f.e2)) && near_zero(dot(f.e2, f.e3)) &&
         near_zero(dot(f.e3, f.e1)) && near_zero(dot(cross(f.e1, f.e2), f.e3) - T(1));
}

template <typename T>
bool is_finite(const Triangle<T>& t) {
  return is_finite(t.p0) && is_finite(t.p1) && is_finite(t.p2);
}

// Points on one line in any order, coinciding points, and points almost on one line, anywhere and of any size.
template <typename T>
std::vector<Triangle<T>> degenerate_triangles(Random& random) {
  std::vector<Triangle<T>> triangles;
  const Vec3<T> axes[] = {
      {T(1), T(0), T(0)}, {T(0), T(-1), T(0)}, {T(0), T(0), T(1)}, random_vector<T>(random), {T(1), T(1), T(1)}};
  const T places[][3] = {{-1, 0, 1}, {1, 0, 1}, {0, 0, 1}, {1, 0, 0}, {1, 0, 1}, {0, 1, 0}, {0, 0, 0}, {2, 0, 1}};
  for (const double scale : scales)
    for (const Vec3<T>& axis : axes)
      for (const auto& place : places) {
        const Vec3<T> origin = random_vector<T>(random, scale);
        const auto point = [&](T x) { return origin + (x * T(scale)) * axis; };
        triangles.push_back({point(place[0]), point(place[1]), point(place[2])});
        for (const double bend : {1e-2, 1e-4, 1e-6, 1e-9, 1e-12}) {
          const Vec3<T> nudge = random_vector<T>(random, scale * bend);
          triangles.push_back({point(place[0]) + nudge, point(place[1]), point(place[2])});
        }
      }
  return triangles;
}

template <typename T>
void test_frames() {
  Random random(3);
  const Frame<T> grad{random_vector<T>(random), random_vector<T>(random), random_vector<T>(random),
                      random_vector<T>(random)};
  for (const FrameRule rule : {FrameRule::GramSchmidt, FrameRule::Isosceles}) {
    for (const Triangle<T>& t : degenerate_triangles<T>(random)) {
      check(is_rotation(frame_of(rule, t)), "frame_of: degenerate points give a rotation");
      check(is_finite(frame_backward(rule, t, grad)), "frame_backward: degenerate points give a finite gradient");
    }
    for (const double scale : scales) {
      const Vec3<T> a = random_vector<T>(random), b = random_vector<T>(random), c = random_vector<T>(random);
      const Frame<T> f = frame_of(rule, Triangle<T>{a, b, c});
      const T s = T(scale);
      const Frame<T> larger = frame_of(rule, Triangle<T>{s * a, s * b, s * c});
      check(is_rotation(f) && is_rotation(larger), "frame_of: a rotation");
      check(near_zero(norm(f.e1 - larger.e1)) && near_zero(norm(f.e2 - larger.e2)), "frame_of: any size, one basis");
      const Vec3<T> there = to_global(f, to_local(f, a));
      check(near_zero(norm(there - a)), "to_global undoes to_local");
    }
  }
  const Vec3<T> zero{T(0), T(0), T(0)};
  check(direction(zero).x == T(1) && norm(direction(zero)) == T(1), "direction: of a zero vector");
  check(norm(direction_backward(zero, direction(zero), grad.e1)) == T(0), "direction_backward: of a zero vector");
  for (int n = 0; n < 1000; ++n) {
    Vec3<T> axis = direction(random_vector<T>(random));
    if (n < 3) axis = {T(n == 0), T(n == 1), T(n == 2)};
    const Vec3<T> v = any_perpendicular(axis);
    check(near_zero(dot(v, axis)) && near_zero(norm(v) - T(1)), "any_perpendicular");
  }
}

// ---- pair_terms.h ------------------------------------------------------------------------------

// A term of the difference d of two atoms, and its gradient; the other number is a constant.
void check_pair_term(const char* what, Random& random, const Values& difference,
                     const std::function<double(const Vec3<double>&)>& term,
                     const std::function<Vec3<double>(const Vec3<double>&, double)>& backward) {
  check_gradient(
      what, [&](const Values& x) { return Values{term(load(x.data()))}; },
      [&](const Values& x, const Values& grad) {
        Values out(3);
        store(out.data(), backward(load(x.data()), grad[0]));
        return out;
      },
      difference, random);
}

void test_pair_gradients() {
  Random random(4);
  for (int n = 0; n < 200; ++n) {
    const double length = 0.1 + random.uniform();
    const Values d = random.uniforms<double>(3, -1, 1);
    check_pair_term(
        "bond_deviation_backward", random, d, [&](const auto& v) { return bond_deviation(v, length); },
        [&](const auto& v, double grad) { return bond_deviation_backward(v, length, grad); });
    check_pair_term(
        "squared_stretch_backward", random, d, [&](const auto& v) { return squared_stretch(v, length); },
        [&](const auto& v, double grad) { return squared_stretch_backward(v, length, grad); });
    check_pair_term(
        "squared_overlap_backward", random, d, [&](const auto& v) { return squared_overlap(dot(v, v), length); },
        [&](const auto& v, double grad) { return squared_overlap_backward(v, length, grad); });
  }
}

template <typename T>
void test_pair_terms() {
  const Vec3<T> zero{T(0), T(0), T(0)}, tiny{T(0), T(0), 4 * rounding<T>};
  check(bond_deviation(zero, T(0.15)) == T(-1), "bond_deviation: coinciding atoms");
  check(norm(bond_deviation_backward(zero, T(0.15), T(1))) == T(0), "bond_deviation_backward: coinciding atoms");
  check(norm(squared_stretch_backward(zero, T(0.15), T(1))) == T(0), "squared_stretch_backward: coinciding atoms");
  check(norm(squared_overlap_backward(zero, T(0.3), T(1))) == T(0), "squared_overlap_backward: coinciding atoms");
  check(is_finite(bond_deviation_backward(tiny, T(0.15), T(1))) &&
            is_finite(squared_stretch_backward(tiny, T(0.15), T(1))) &&
            is_finite(squared_overlap_backward(tiny, T(0.3), T(1))),
        "pair_terms: atoms almost in one place");
  const Vec3<T> apart{T(0.4), T(0), T(0)};
  check(norm(squared_overlap_backward(apart, T(0.3), T(1))) == T(0), "squared_overlap_backward: apart");
  check(is_radius(T(0)) && !is_radius(T(-1)) && !is_radius(infinite<T>) && !is_radius(not_a_number<T>), "is_radius");
  check(!within_tolerance(not_a_number<T>, T(1)), "within_tolerance: NaN is not");
  check(within_tolerance(T(-0.1), T(0.1)) && !within_tolerance(T(-0.2), T(0.1)), "within_tolerance: either sign");
  check(squared_overlap(T(0), T(0.3)) == T(0.3) * T(0.3), "squared_overlap: coinciding atoms");
  check(squared_overlap(T(0.09), T(0.2)) == T(0), "squared_overlap: apart");
  check(squared_overlap(not_a_number<T>, T(0.2)) == T(0), "squared_overlap: NaN");
  const int64_t following[] = {1, -1, 3, 0};
  for (int64_t i = 0; i < 4; ++i)
    for (int64_t j = 0; j < 4; ++j)
      for (const bool i_side : {false, true})
        for (const bool j_side : {false, true}) {
          const bool neighbours = following[i] == j || following[j] == i;
          const bool expected = i != j && (!neighbours || (i_side && j_side));
          check(may_clash(i, i_side, j, j_side, following) == expected, "may_clash");
        }
}

// ---- exponential.h, gaussian_density.h, voxel_grid.h -------------------------------------------

template <typename T>
void test_exponential() {
  check(decaying_exponential(T(0)) == T(1) && decaying_exponential(-T(0)) == T(1), "decaying_exponential: of zero");
  for (int n = 0; n <= 1000000; ++n) {
    const T x = T(0.999999 * double(ExponentialParts<T>::lowest) * n / 1000000);
    const double exact = std::exp(double(x));
    if (!(std::fabs(double(decaying_exponential(x)) - exact) <= 2 * double(rounding<T>) * exact))
      return check(false, "decaying_exponential: two units in the last place");
  }
  for (const T low : {std::nextafter(ExponentialParts<T>::lowest, -infinite<T>), T(-1e30), -infinite<T>})
    check(decaying_exponential(low) == T(0), "decaying_exponential: zero where it would be subnormal");
  check(std::isnan(decaying_exponential(not_a_number<T>)), "decaying_exponential: of NaN");
}

template <typename T>
void test_logarithm() {
  check(logarithm(T(1)) == T(0), "logarithm: of one");
  for (int n = -30000; n <= 30000; ++n) {
    const T x = T(std::exp(0.0027 * n));
    const double exact = std::log(double(x));
    if (!(std::fabs(double(logarithm(x)) - exact) <= 2 * double(rounding<T>) * std::fabs(exact)))
      return check(false, "logarithm: two units in the last place");
  }
}

template <typename T>
void test_silu() {
  for (int n = -100000; n <= 100000; ++n) {
    const T x = T(0.0009 * n);
    const double exact = double(x) / (1 + std::exp(-double(x)));
    if (!(std::fabs(double(silu(x)) - exact) <= 5 * double(rounding<T>) * std::fabs(exact) + 1e-30))
      return check(false, "silu: a few units in the last place");
  }
  check(silu(T(0)) == T(0) && silu(T(1e30)) == T(1e30) && silu(T(-1e30)) == T(0), "silu: limits");
  check(std::isnan(silu(not_a_number<T>)), "silu: of NaN");
}

template <typename T>
void test_gaussian() {
  const Gaussian<T> narrow = gaussian<T>(1e-300), usual = gaussian<T>(0.05);
  check(axis_factor(usual, T(0)) == T(1) && axis_slope(usual, T(0), T(1)) == T(0), "axis_factor: on the particle");
  check(axis_factor(narrow, T(0.1)) == T(0) && axis_slope(narrow, T(0.1), T(0)) == T(0), "axis_factor: no width");
  for (const T far : {T(1e30), infinite<T>, -infinite<T>}) {
    check(axis_factor(usual, far) == T(0) && axis_slope(usual, far, T(0)) == T(0), "axis_factor: infinitely far");
  }
  check(std::isnan(axis_factor(usual, not_a_number<T>)), "axis_factor: of NaN");
  for (T x = T(0); x < T(1); x += T(0.001)) {
    const T factor = axis_factor(usual, x);
    check(factor == axis_factor(usual, -x), "axis_factor: even");
    check(factor == T(0) || factor * factor * factor >= std::numeric_limits<T>::min(), "axis_factor: never subnormal");
  }
  for (const int64_t points : {1, 2, 3, 12, 511, 512}) {
    const VoxelGrid<T> grid = voxel_grid<T>(points, 1.2);
    for (int32_t k = 0; k < grid.points; ++k)
      check(grid.centre(k) == -grid.centre(grid.points - 1 - k), "voxel_grid: symmetric");
    check(near_zero(grid.centre(grid.points - 1) + grid.half_spacing - T(0.6)), "voxel_grid: width");
  }
}

// The factor of a voxel at 0.03 nm for a particle at x.
void test_gaussian_gradient() {
  Random random(9);
  for (int n = 0; n < 100; ++n) {
    const Gaussian<double> g = gaussian<double>(0.02 + 0.1 * random.uniform());
    const auto offset = [](const Values& x) { return 0.03 - x[0]; };
    check_gradient(
        "axis_slope", [&](const Values& x) { return Values{axis_factor(g, offset(x))}; },
        [&](const Values& x, const Values& grad) {
          return Values{grad[0] * axis_slope(g, offset(x), axis_factor(g, offset(x)))};
        },
        random.uniforms<double>(1, -0.1, 0.1), random);
  }
}

// ---- density_moments.h -------------------------------------------------------------------------

constexpr int32_t edge = 3;

Moments<double> moments_of(const VoxelGrid<double>& grid, const Values& weights) {
  Moments<double> m{0, {0, 0, 0}};
  for (int32_t n = 0; n < grid.cube(); ++n) {
    const int32_t i = n / grid.plane(), j = n / edge % edge, k = n % edge;
    m.total += weights[n];
    m.first += weights[n] * Vec3<double>{grid.half_steps(i), grid.half_steps(j), grid.half_steps(k)};
  }
  return m;
}

void test_moment_gradients() {
  Random random(10);
  const VoxelGrid<double> grid = voxel_grid<double>(edge, 1.2);
  const Formula centre = [&](const Values& weights) {
    Values out(3);
    store(out.data(), centre_of(grid, moments_of(grid, weights)));
    return out;
  };
  const Backward backward = [&](const Values& weights, const Values& grad) {
    const Moments<double> m = moments_of(grid, weights);
    const auto slope = centre_backward(grid, centre_of(grid, m), m.total, load(grad.data()));
    Values out;
    for (int32_t n = 0; n < grid.cube(); ++n)
      out.push_back(slope.x(n / grid.plane()) + slope.y(n / edge % edge) + slope.z(n % edge));
    return out;
  };
  for (int n = 0; n < 50; ++n) {
    check_gradient("centre_backward", centre, backward, random.uniforms<double>(grid.cube(), 0.1, 1), random);
    check_gradient(
        "logistic", [](const Values& x) { return Values{voxel_weight<true>(x[0])}; },
        [](const Values& x, const Values& grad) { return Values{grad[0] * voxel_weight_slope<true>(x[0])}; },
        random.uniforms<double>(1, -20, 20), random);
    check_gradient(
        "voxel_weight_slope", [](const Values& x) { return Values{voxel_weight<false>(x[0])}; },
        [](const Values& x, const Values& grad) { return Values{grad[0] * voxel_weight_slope<false>(x[0])}; },
        random.uniforms<double>(1, -1, 1), random);
  }
  const Values nothing(grid.cube(), 0.0);
  check(centre(nothing) == Values(3, 0.0), "centre_of: no weight, centre of the grid");
  check(backward(nothing, {1, 1, 1}) == nothing, "centre_backward: no weight, no gradient");
}

template <typename T>
void test_weights() {
  for (T x = T(-200); x < T(200); x += T(0.5)) {
    const Logistic<T> l = logistic(x), mirrored = logistic(-x);
    check(l.value >= T(0) && l.value <= T(1) && near_zero(l.value + mirrored.value - T(1)), "logistic: value");
    check(l.slope >= T(0) && l.slope == mirrored.slope, "logistic: slope");
  }
  check(voxel_weight<true>(infinite<T>) == T(1) && voxel_weight<true>(-infinite<T>) == T(0), "logistic: infinity");
  check(voxel_weight<false>(T(-3)) == T(0) && voxel_weight<false>(T(3)) == T(3), "voxel_weight: none if negative");
  for (const T bad : {not_a_number<T>, -infinite<T>})
    check(std::isnan(voxel_weight<false>(bad)), "voxel_weight: what is not finite is not hidden");
  const VoxelGrid<T> grid = voxel_grid<T>(4, 1.2);
  for (const T bad : {not_a_number<T>, infinite<T>}) {
    const Vec3<T> c = centre_of(grid, Moments<T>{T(1), {bad, T(0), T(0)}});
    check(std::isnan(c.x) && std::isnan(c.y) && std::isnan(c.z), "centre_of: a sum that is not finite");
  }
}

// ---- bounding_sphere.h -------------------------------------------------------------------------

template <typename T>
void test_bounding_sphere() {
  Random random(5);
  const auto around = [](const std::vector<Sphere<T>>& atoms) {
    return bounding_sphere<T>(int64_t(atoms.size()), [&](int64_t n, Sphere<T>& s) {
      s = atoms[n];
      return s.radius >= T(0);
    });
  };
  const auto group = [&](double scale) {
    std::vector<Sphere<T>> atoms;
    const Vec3<T> centre = random_vector<T>(random, scale);
    for (int n = 0; n < 6; ++n)
      atoms.push_back({centre + random_vector<T>(random, 0.3 * scale), T(0.2 * scale * random.uniform())});
    return atoms;
  };
  for (const double scale : scales)
    for (int n = 0; n < 200; ++n) {
      auto first = group(scale), second = group(scale);
      first[1].radius = T(-1);  // does not exist
      second[2].centre.y = not_a_number<T>;
      const Sphere<T> a = around(first), b = around(second);
      check(may_touch(a, b, {}) == may_touch(b, a, {}), "may_touch: symmetric");
      for (const Sphere<T>& p : first)
        for (const Sphere<T>& q : second) {
          if (p.radius < T(0)) continue;
          const T reach = p.radius + q.radius;
          if (squared_distance(p.centre, q.centre) < reach * reach) check(may_touch(a, b, {}), "may_touch: hides none");
        }
    }
  const Vec3<T> nowhere{T(0), infinite<T>, T(0)};
  check(around({}).radius < T(0), "bounding_sphere: of nothing");
  check(around({{nowhere, T(1)}}).radius < T(0), "bounding_sphere: of what is not finite");
  const Sphere<T> point = around({{{T(1), T(1), T(1)}, T(0)}, {{T(1), T(1), T(1)}, T(0)}});
  check(point.radius == T(0), "bounding_sphere: of coinciding points");
  check(!may_touch(around({}), around({{{T(0), T(0), T(0)}, T(9)}}), {}), "may_touch: nothing touches nothing");
}

// ---- periodic_box.h ----------------------------------------------------------------------------

// No box, a cube, a brick, and boxes as slanted as the reduced form allows, all wider than `narrowest`.
template <typename T>
std::vector<PeriodicBox<T>> boxes(double narrowest) {
  const T w = T(1.01 * narrowest);
  return {{false, {}, {}, {}},
          {true, {w, T(0), T(0)}, {T(0), w, T(0)}, {T(0), T(0), w}},
          {true, {3 * w, T(0), T(0)}, {T(0), w, T(0)}, {T(0), T(0), 9 * w}},
          {true, {w, T(0), T(0)}, {w / 2, w, T(0)}, {-w / 2, w / 2, w}},
          {true, {5 * w, T(0), T(0)}, {T(-2) * w, 4 * w, T(0)}, {2 * w, T(-1.5) * w, 3 * w}}};
}

template <typename T>
Vec3<T> whole_vectors(const PeriodicBox<T>& box, Random& random) {
  const auto turns = random.integers(3, -3, 4);
  return T(turns[0]) * box.a + T(turns[1]) * box.b + T(turns[2]) * box.c;
}

template <typename T>
void test_periodic_box() {
  Random random(11);
  for (const PeriodicBox<T>& box : boxes<T>(0.24)) {
    const T close = T(256) * rounding<T>;
    for (int n = 0; n < 1000; ++n) {
      const Vec3<T> v = random_vector<T>(random, 2);
      if (!box.exists) {
        const Vec3<T> image = minimum_image(v, box), moved = moved_into_box(v, box);
        check(norm(image - v) == T(0) && norm(moved - v) == T(0), "periodic_box: none");
        continue;
      }
      const Vec3<T> shift = whole_vectors(box, random), near = random_vector<T>(random, 0.065);
      check(norm(minimum_image(near + shift, box) - near) <= close, "minimum_image: finds the shortest");
      check(norm(image_shift(near + shift, box) + shift) <= close, "image_shift: what minimum_image adds");
      check(norm(near) < exact_length(box), "exact_length: the shortest image is found");
      const Vec3<T> moved = moved_into_box(v + shift, box);
      const Vec3<double> s = box_fractions(moved, box);
      for (const double fraction : {s.x, s.y, s.z})
        check(fraction >= -1e-5 && fraction <= 1 + 1e-5, "moved_into_box: lies in the box");
      check(norm(minimum_image(moved - v, box)) <= close, "moved_into_box: by whole vectors");
    }
    if (!box.exists) continue;
    const Vec3<T> overflowing =
        moved_into_box(Vec3<T>{std::numeric_limits<T>::max(), infinite<T>, not_a_number<T>}, box);
    check(is_finite(overflowing), "moved_into_box: what overflows");
    const Vec3<double> faces = face_distances(box);
    check(faces.x <= double(box.a.x) * 1.0001 && faces.y <= double(box.b.y) * 1.0001 &&
              std::fabs(faces.z - double(box.c.z)) <= 1e-6 * double(box.c.z),
          "face_distances");
  }
}

// ---- cell_hash.h -------------------------------------------------------------------------------

// How often a search around `a` finds `b`, both moved into the box.
template <typename T>
int times_found(const Vec3<T>& a, const Vec3<T>& b, const CellSpace<T>& space) {
  const Cell cell = cell_of(b, space);
  int found = 0;
  for_rows_near(a, space, [&](uint32_t row, int32_t x, int32_t count, const Vec3<T>& shift) {
    const bool holds = row == row_of(cell.y, cell.z, space) && cell.x >= x && cell.x < x + count;
    if (holds && squared_distance(a - shift, b) < space.limit) ++found;
  });
  return found;
}

// Every atom within reach is found once, also in boxes barely wider than twice the reach, and anywhere without a box.
template <typename T>
void test_cells_near() {
  Random random(6);
  const double reach = 0.12;
  auto spaces = boxes<T>(2 * reach);
  for (const double width : {0.25, 0.5, 1.0, 4.0})
    for (int n = 0; n < 5; ++n) spaces.push_back(box_of_frame(random_boxes<T>(random, 1, width).data(), 0, 0));
  for (const PeriodicBox<T>& box : spaces) {
    const CellSpace<T> space = cell_space(reach, box);
    int pairs = 0;
    for (int n = 0; n < 20000; ++n) {
      const double scale = box.exists ? 3 : std::pow(10.0, random.uniform() * 6 - 2);
      const Vec3<T> a = moved_into_box(random_vector<T>(random, scale), box);
      const Vec3<T> b = moved_into_box(a + random_vector<T>(random, 1.2 * reach), box);
      const T length = norm(minimum_image(a - b, box));
      const bool near = length<T(0.999 * reach) - space.slack, far = length> T(1.001 * reach) + 2 * space.slack;
      pairs += near;
      const int found = times_found(a, b, space);
      if (near && found != 1) return check(false, "cell_hash: an atom within reach is found once");
      if (far && found != 0) return check(false, "cell_hash: an atom out of reach is not found");
    }
    check(pairs > 2000, "cell_hash: pairs within reach were drawn");
  }
}

template <typename T>
void test_cell_hash() {
  test_cells_near<T>();
  const T huge = std::numeric_limits<T>::max();
  const Cell far = cell_of(Vec3<T>{huge, -huge, T(0)}, 5.0);
  check(far.x == 1000000000 && far.y == -1000000000 && far.z == 0, "cell_hash: clamped");
  Random random(7);
  for (int n = 0; n < 10000; ++n) {  // points in order lie in cells in order
    const T a = T(std::pow(10.0, 40 * random.uniform() - 20)), b = a * T(1 + random.uniform());
    const Cell lower = cell_of(Vec3<T>{a, -a, T(0)}, 5.0), upper = cell_of(Vec3<T>{b, -b, T(0)}, 5.0);
    check(lower.x <= upper.x && lower.y >= upper.y, "cell_hash: keeps the order");
  }
  check(cells_that_fit(1e30, 1e-3) == 1000000 && cells_that_fit(1e-3, 1) == 1, "cells_that_fit: within bounds");
  check(cells_that_fit(not_a_number<double>, 1) == 1, "cells_that_fit: NaN");
}

void test_buckets() {
  for (int64_t atoms = 0; atoms < 5000; ++atoms) {
    const int64_t buckets = bucket_count(atoms);
    check(buckets >= 8 && buckets >= atoms && (buckets & (buckets - 1)) == 0, "bucket_count: a power of two");
    check(buckets == 8 || buckets / 2 < atoms, "bucket_count: the smallest");
  }
  for (int32_t cell = -20; cell < 20; ++cell)
    for (int32_t cells = 1; cells < 6; ++cells) {
      const int32_t within = cell - image_of(cell, cells) * cells;
      check(within >= 0 && within < cells, "image_of");
    }
  // A block of neighbouring cells spreads evenly over the buckets; a random hash would put about 7 in the fullest one.
  const int32_t edge = 16;
  const uint32_t buckets = uint32_t(bucket_count(int64_t(edge) * edge * edge));
  const auto fullest = [&](const CellSpace<float>& space) {
    std::vector<int> filled(buckets);
    for (int32_t x = -edge / 2; x < edge / 2; ++x)
      for (int32_t y = -edge / 2; y < edge / 2; ++y)
        for (int32_t z = -edge / 2; z < edge / 2; ++z) {
          const uint32_t bucket = bucket_of(row_of(y, z, space), x, buckets - 1);
          check(bucket < buckets, "bucket_of: in range");
          ++filled[bucket];
        }
    return *std::max_element(filled.begin(), filled.end());
  };
  CellSpace<float> space = cell_space(0.1, PeriodicBox<float>{});
  check(fullest(space) <= 16, "bucket_of: spreads neighbouring cells");
  name_rows_in_order(space, edge, edge);
  check(fullest(space) <= 2, "name_rows_in_order: fills the buckets in order");
  for (const int64_t cells : {1, 2, 7, 8, 100}) {  // nearby rows have different keys
    name_rows_in_order(space, cells, cells);
    for (int32_t y = -5; y <= 5; ++y)
      for (int32_t z = -5; z <= 5; ++z)
        check((row_of(y, z, space) == row_of(0, 0, space)) == (y == 0 && z == 0), "row_of: names");
  }
}

// ---- overlap.h ---------------------------------------------------------------------------------

void test_overlap() {
  check(claims_an_atom(0, 1) && claims_an_atom(4, 5), "claims_an_atom");
  check(!claims_an_atom(nothing_placed, 5) && !claims_an_atom(5, 5) && !claims_an_atom(0, 0), "claims_an_atom: none");
}

// ---- nearest.h ---------------------------------------------------------------------------------

template <typename T>
void test_nearest() {
  const Neighbour<T> a{T(1), 4}, b{T(1), 5}, c{T(2), 0};
  check(nearer(a, b) && !nearer(b, a) && !nearer(a, a), "nearer: the lower index on ties");
  check(nearer(b, c) && !nearer(c, b), "nearer: the smaller distance first");
  check(nearer(c, nobody<T>()) && !nearer(nobody<T>(), c), "nearer: nobody is last");
  check(reachable(T(0)) && reachable(std::numeric_limits<T>::max()), "reachable");
  check(!reachable(infinite<T>) && !reachable(not_a_number<T>), "reachable: not what is not finite");
}

// ---- rotamer_draw.h ----------------------------------------------------------------------------

template <typename T>
void test_shift_to_image() {
  const PeriodicBox<T> box{true, {T(5), T(0), T(0)}, {T(0), T(5), T(0)}, {T(0), T(0), T(5)}};
  const T atoms[] = {T(4.5), T(1), T(1), T(4.9), T(1), T(1), not_a_number<T>, T(0), T(0)};
  const auto shift = [&](T x, const PeriodicBox<T>& in, bool second) {
    return shift_to_image(atoms, 3, Vec3<T>{x, T(1), T(1)}, in, [&](int64_t i) { return i != 1 || second; }).x;
  };
  check(shift(T(0.1), box, true) == T(-5), "shift_to_image: across a face");
  check(shift(T(0.1), {}, true) == T(0), "shift_to_image: no box");
  check(shift(T(2.15), box, true) == T(-5) && shift(T(2.15), box, false) == T(0),
        "shift_to_image: of the nearest atom");
}

template <typename T>
void test_trials() {
  for (const int64_t residue : {3, 6})
    check(counts_for_trials(residue, 4 + (residue == 3)), "counts_for_trials: others");
  for (const int64_t residue : {3, 4, 5}) check(!counts_for_trials(residue, 4), "counts_for_trials: neighbours");
  const T scores[] = {not_a_number<T>, T(2), T(1), T(1), not_a_number<T>};
  check(first_smallest(scores, 5) == 2 && first_smallest(scores, 1) == 0, "first_smallest");
}

template <typename T>
void test_draw() {
  const auto drawn = [](std::vector<T> energies, T uniform) {
    return draw(energies.data(), int64_t(energies.size()), uniform);
  };
  check(drawn({T(7)}, T(0.5)) == 0, "draw: one candidate");
  check(drawn({T(0), T(1000)}, T(0.999)) == 0 && drawn({T(1000), T(0)}, T(0)) == 1, "draw: never the impossible");
  check(drawn({T(0), T(0), infinite<T>}, T(1)) == 1, "draw: a uniform of 1 gives the last that is possible");
  check(drawn({T(1e30), T(1e30)}, T(0.75)) == 1, "draw: huge energies");
  const std::vector<T> energies{T(0.3), T(-1), T(2)};
  T total = T(0), below = T(0);
  for (const T e : energies) total += std::exp(-e);
  for (int64_t k = 0; k < 3; ++k) {
    const T share = std::exp(-energies[k]) / total;
    check(drawn(energies, below + T(0.01) * share) == k && drawn(energies, below + T(0.99) * share) == k,
          "draw: shares of the uniform by Boltzmann weight");
    below += share;
  }
  for (const T bad : {not_a_number<T>, infinite<T>}) {  // the index is always in range
    const int64_t k = drawn({bad, bad, bad}, T(0.5));
    check(k >= 0 && k < 3, "draw: in range");
  }
}

// ---- side_chain_geometry.h ---------------------------------------------------------------------

template <typename T>
void test_side_chains() {
  const Vec3<T> n{T(-0.05), T(0.136), T(0)}, alpha{T(0), T(0), T(0)}, beta{T(-0.05), T(-0.08), T(0.12)};
  const T near = 100 * rounding<T>;
  for (const T torsion : {T(-2), T(0), T(0.3), T(3)}) {
    const Vec3<T> placed =
        place_atom(n, alpha, beta, bond_frame(T(0.15), T(1.9)), std::cos(torsion), std::sin(torsion));
    const Vec3<T> axis = beta - alpha, before = cross(alpha - n, axis), after = cross(axis, placed - beta);
    check(std::fabs(norm(placed - beta) - T(0.15)) < near, "place_atom: bond length");
    const T cosine = dot(alpha - beta, placed - beta) / (norm(axis) * T(0.15));
    check(std::fabs(cosine - std::cos(T(1.9))) < near, "place_atom: bond angle");
    const T found = std::atan2(dot(cross(before, after), axis) / norm(axis), dot(before, after));
    check(std::fabs(std::sin((found - torsion) / 2)) < near, "place_atom: torsion");
  }
  const Vec3<T> on_a_line = place_atom(alpha, alpha, beta, bond_frame(T(0.15), T(1.9)), T(1), T(0));
  check(is_finite(on_a_line), "place_atom: finite without a plane");
  check(is_finite(place_atom(n, n, n, bond_frame(T(0.15), T(1.9)), T(1), T(0))), "place_atom: finite without an axis");

  const Ring<T> ring{T(0.15), T(0.15), T(0.147), T(0.68), T(1.87), T(0.21), T(1.95)};
  const Vec3<T> widest = place_gamma(ring, n, alpha, beta, T(0.68));
  check(norm(place_gamma(ring, n, alpha, beta, T(2)) - widest) < near, "place_gamma: the widest pucker");
  for (const T pucker : {T(-0.5), T(0), T(0.5)}) {
    const Vec3<T> gamma = place_gamma(ring, n, alpha, beta, pucker), delta = close_ring(ring, n, alpha, beta, gamma);
    check(std::fabs(norm(gamma - beta) - ring.beta_gamma) < near, "place_gamma: bond length");
    check(std::fabs(norm(delta - n) - ring.delta_n) < near, "close_ring: bond length at N");
    const T cosine = dot(alpha - n, delta - n) / (norm(alpha - n) * ring.delta_n);
    check(std::fabs(cosine - std::cos(ring.angle_at_n)) < near, "close_ring: angle at N");
  }
  const Vec3<T> far{T(9), T(0), T(0)};  // as near as it can
  check(is_finite(close_ring(ring, n, alpha, beta, far)), "close_ring: finite where it cannot close");
  check(!is_finite(close_ring(ring, n, alpha, beta, {not_a_number<T>, T(0), T(0)})), "close_ring: NaN stays");
}

// ---- c_alpha_prior.h, c_alpha_dynamics.h, counter_random.h -------------------------------------

void test_window_gradient() {
  Random random(8);
  const auto energies = random.uniforms<double>(2 * 5 * 6 * 5, 0, 4);
  const PriorTable<double> table{2, 5, 6, 0.9, 0.5, energies.data()};
  const auto window = [](const Values& x) {
    return window_of(load(x.data()), load(x.data() + 3), load(x.data() + 6), load(x.data() + 9));
  };
  for (int n = 0; n < 200; ++n) {
    Values points = random.uniforms<double>(12, -0.1, 0.1);  // bonds of about 0.38 nm along x, y, x: no straight angle
    points[3] += 0.38, points[6] += 0.38, points[7] += 0.38, points[9] += n % 2 ? 0.76 : 0, points[10] += 0.38;
    points[11] += n % 3 ? 0.2 : -0.2;
    check_gradient(
        "add_window_gradient", [&](const Values& x) { return Values{window_energy(table, 1, window(x)).value}; },
        [&](const Values& x, const Values& grad) {
          Vec3<double> sum[4] = {};
          const auto w = window(x);
          add_window_gradient(w, window_energy(table, 1, w), grad[0], sum);
          Values out(12);
          for (int k = 0; k < 4; ++k) store(out.data() + 3 * k, sum[k]);
          return out;
        },
        points, random);
  }
}

template <typename T>
void test_c_alphas() {
  T weights = T(0), slopes = T(0);
  for (const T t : {T(-2), T(-0.5), T(-0.2), T(0), T(0.4), T(0.5), T(1.7)}) {
    const auto spline = spline_weights(int64_t(3), t);
    weights = slopes = T(0);
    for (int k = 0; k < 3; ++k) weights += spline.weight[k], slopes += spline.slope[k];
    check(std::fabs(weights - T(1)) < T(1e-6) && near_zero(slopes), "spline_weights: shares of one");
  }
  const std::vector<T> energies(3 * 1 * 3, T(2));
  const PriorTable<T> flat{1, 3, 1, T(1), T(0.5), energies.data()};
  const Vec3<T> place{T(0.1), T(0.2), T(0.3)};
  Vec3<T> gradient[4] = {};
  const auto collapsed = window_of(place, place, place, place);
  add_window_gradient(collapsed, window_energy(flat, int64_t(7), collapsed), T(1), gradient);
  for (const auto& g : gradient) check(is_finite(g), "add_window_gradient: coinciding points");

  double sum = 0, squares = 0;
  for (uint64_t n = 0; n < 20000; ++n) {
    const double x = nearly_normal<T>(absorb(absorb(7, 1), n));
    sum += x, squares += x * x;
  }
  check(std::fabs(sum / 20000) < 0.03 && std::fabs(squares / 20000 - 1) < 0.03, "nearly_normal: mean and variance");

  const T bonds[] = {T(0.38), T(0.38), T(0), T(0.38)};
  const auto near = [&](int64_t i, int64_t j, const Succession& chain) { return near_in_chain<T>(i, j, chain, bonds); };
  const Succession open{4, nullptr};
  check(near(0, 2, open) && near(2, 1, open), "near_in_chain: within two bonds");
  check(!near(2, 3, open) && !near(1, 3, open) && !near(3, 0, open), "near_in_chain: not across a break");
  const int64_t following[] = {1, 2, 3, 0};
  const Succession ring{4, following};
  check(near(3, 1, ring) && near(0, 3, ring) && !near(2, 3, ring), "near_in_chain: around a ring");
  check(four_from(2, ring).at[3] == 1 && !four_from(2, ring).are_neighbours(), "four_from: around a ring");
  check(four_from(0, open).are_neighbours() && !four_from(1, open).are_there(), "four_from: to the end of a chain");
  Vec3<T> first{T(0), T(0), T(0)}, second{T(1), T(0), T(0)};
  restore_bond(first, second, T(0.4), T(0), T(0.1));
  check(near_zero(first.x) && near_zero(second.x - T(0.4)), "restore_bond: what has no noise stays");
  restore_bond(first, second, T(0.6), T(0.1), T(0.1));
  check(near_zero(first.x + T(0.1)) && near_zero(second.x - T(0.5)), "restore_bond: both ends move");
  const Langevin<T> dynamics{T(2), T(1), T(0.05)};
  check(near_zero(heat_of_step(dynamics, 9, 10)) && heat_of_step(dynamics, 0, 10) < T(2), "heat_of_step: it cools");
  const Vec3<T> pull{T(1e9), T(0), T(0)};
  const int64_t key = 1, other = 2;
  const T quarter = T(std::acos(0.0));
  const Kicks<T> kicks = kicks_of_step<T>(&key, nullptr, nullptr, 0, 0);
  check(std::fabs(norm(langevin_move(dynamics, T(1), pull, T(1), kicks, 0)) - T(0.05)) < T(1e-6),
        "langevin_move: bounded");
  const Kicks<T> turned = kicks_of_step(&key, &other, &quarter, 0, 0),
                 ending = kicks_of_step<T>(&other, nullptr, nullptr, 0, 0);
  check(std::fabs(kick_along(turned, 5) - kick_along(ending, 5)) < T(1e-6),
        "kicks: a quarter turn to the other stream");
}

// ---- schnet.h ----------------------------------------------------------------------------------

void test_softplus_gradient() {
  Random random(31);
  for (const double scale : {1e-3, 1.0, 30.0, 800.0}) {
    for (int n = 0; n < 50; ++n) {
      const auto slope_at = [](double x) {
        double slope;
        shifted_softplus(x, slope);
        return slope;
      };
      check_gradient(
          "shifted_softplus",
          [](const Values& x) {
            double slope;
            return Values{shifted_softplus(x[0], slope)};
          },
          [&](const Values& x, const Values& grad) { return Values{grad[0] * slope_at(x[0])}; },
          random.uniforms<double>(1, -scale, scale), random);
    }
  }
}

template <typename T>
void test_softplus() {
  Random random(32);
  T slope;
  for (int n = 0; n < 2000; ++n) {
    const double x = (n % 2 ? 1 : 100) * (2 * random.uniform() - 1), exact = std::log1p(std::exp(T(x))) - std::log(2.0);
    const double error = std::fabs(double(shifted_softplus(T(x), slope)) - exact);
    check(error <= 4 * double(rounding<T>) * std::fmax(1, std::fabs(exact)), "shifted_softplus: value");
    check(std::fabs(double(slope) - 1 / (1 + std::exp(-double(T(x))))) <= 4 * double(rounding<T>),
          "shifted_softplus: slope");
  }
  check(shifted_softplus(infinite<T>, slope) == infinite<T> && slope == T(1), "shifted_softplus: infinite");
  check(near_zero(shifted_softplus(-infinite<T>, slope) + T(std::log(2.0))) && slope == T(0),
        "shifted_softplus: minus infinite");
  check(std::isnan(shifted_softplus(not_a_number<T>, slope)) && std::isnan(slope), "shifted_softplus: NaN");
}

template <typename T>
T weighted(const HermiteWeights<T>& w, T value_below, T slope_below, T value_above, T slope_above) {
  return w.value_below * value_below + w.slope_below * slope_below + w.value_above * value_above +
         w.slope_above * slope_above;
}

// A cubic polynomial is interpolated exactly, and its derivative too.
template <typename T>
void test_filter_knots() {
  const FilterKnots<T> knots = filter_knots<T>(7, 1.5);
  const auto cubic = [](T x) { return T(1) + x * (T(2) + x * (T(-3) + x * T(0.5))); };
  const auto derivative = [](T x) { return T(2) + x * (T(-6) + x * T(1.5)); };
  for (const double distance : {1e-4, 0.1, 0.25, 0.49, 0.7, 1.0, 1.4999999}) {
    const FilterPlace<T> place = place_among(knots, T(distance));
    check(0 <= place.knot && place.knot <= 5, "place_among: there is a knot above");
    check(std::fabs(double(place.knot) + double(place.beyond) - distance / 0.25) < 1e-5, "place_among");
    const T below = T(place.knot) * knots.spacing, above = below + knots.spacing;
    const auto interpolated = [&](const HermiteWeights<T>& weights) {
      return weighted(weights, cubic(below), derivative(below), cubic(above), derivative(above));
    };
    const T value = interpolated(hermite_value(place.beyond, knots.spacing)),
            slope = interpolated(hermite_slope(place.beyond, knots.inverse_spacing));
    const double close = 100 * double(rounding<T>);
    check(std::fabs(double(value - cubic(T(distance)))) < close, "hermite_value");
    check(std::fabs(double(slope - derivative(T(distance)))) < close, "hermite_slope");
  }
  // Rounding may put a distance below the cutoff on the last knot.
  check(place_among(knots, std::nextafter(knots.cutoff, T(0))).knot == 5, "place_among: just below the cutoff");
}

// ---- bead_prior.h ------------------------------------------------------------------------------

void test_prior_gradients() {
  Random random(33);
  for (int n = 0; n < 50; ++n) {
    check_gradient(
        "bead_bond_energy",
        [](const Values& x) {
          Vec3<double> grad;
          return Values{bead_bond_energy(load(x.data()), 0.3, 7.0, grad)};
        },
        [](const Values& x, const Values& by) {
          Vec3<double> grad;
          bead_bond_energy(load(x.data()), 0.3, 7.0, grad);
          return Values{by[0] * grad.x, by[0] * grad.y, by[0] * grad.z};
        },
        random.uniforms<double>(3, -1, 1), random);
    const auto handedness = [](const Values& x, Values& grad) {
      Vec3<double> u, v, w;
      const double energy = handedness_energy(load(&x[0]), load(&x[3]), load(&x[6]), 0.4, 5.0, u, v, w);
      grad = {u.x, u.y, u.z, v.x, v.y, v.z, w.x, w.y, w.z};
      return energy;
    };
    check_gradient(
        "handedness_energy",
        [&](const Values& x) {
          Values grad;
          return Values{handedness(x, grad)};
        },
        [&](const Values& x, const Values& by) {
          Values grad;
          handedness(x, grad);
          for (double& g : grad) g *= by[0];
          return grad;
        },
        random.uniforms<double>(9, 0.2, 1), random);
    check_gradient(
        "repulsion_energy",
        [](const Values& x) {
          Vec3<double> grad;
          return Values{repulsion_energy(load(x.data()), 0.5, 2.5, grad)};
        },
        [](const Values& x, const Values& by) {
          Vec3<double> grad;
          repulsion_energy(load(x.data()), 0.5, 2.5, grad);
          return Values{by[0] * grad.x, by[0] * grad.y, by[0] * grad.z};
        },
        random.uniforms<double>(3, 0.3, 0.6), random);
  }
}

void test_coinciding_beads() {
  const Vec3<double> zero{0, 0, 0};
  Vec3<double> u, v, w;
  check(std::isfinite(bead_bond_energy(zero, 0.3, 7.0, u)) && is_finite(u), "bead_bond_energy: coinciding beads");
  check(std::isfinite(handedness_energy(zero, zero, zero, 0.4, 5.0, u, v, w)) && is_finite(u) && is_finite(v) &&
            is_finite(w),
        "handedness_energy: coinciding beads");
  check(std::isfinite(repulsion_energy(zero, 0.5, 2.5, u)) && is_finite(u), "repulsion_energy: coinciding beads");
}

// ---- implicit_solvent.h ------------------------------------------------------------------------

// `slope` against the central difference of a function of one number.
void check_slope(const char* what, double slope, const std::function<double(double)>& value, double at) {
  const double step = 1e-6 * at, measured = (value(at + step) - value(at - step)) / (2 * step);
  check(std::fabs(slope - measured) <= 1e-6 * (1 + std::fabs(measured)), what);
}

void test_implicit_solvent() {
  for (int n = 1; n < 60; ++n) {
    const double r = 0.011 * n;  // inside, across and outside of the spheres
    for (const double radius : {0.05, 0.13, 0.3})
      check_slope(
          "screen: -(dI / dr) / r", -r * screen(r * r, radius, 0.11).slope,
          [&](double d) { return screen(d * d, radius, 0.11).integral; }, r);
    const auto pair = [&](double d, double born) { return solvated_pair(d * d, 20.0, 1e-7, 1e-4, -30.0, born, 0.2); };
    const double close = 0.2 + r;
    check_slope(
        "solvated_pair: -(dE / dr) / r", -close * pair(close, 0.15).push,
        [&](double d) { return pair(d, 0.15).energy; }, close);
    check_slope(
        "solvated_pair: by a Born radius", 0.2 * pair(close, 0.15).by_born,
        [&](double born) { return pair(close, born).energy; }, 0.15);
    check_slope(
        "born_radius", born_radius(0.3 * n, 0.17, 0.161).slope,
        [](double integral) { return born_radius(integral, 0.17, 0.161).value; }, 0.3 * n);
    double slope = 0, unused = 0;
    own_energy(-137.0, 0.4, 1e-6, close, slope);
    check_slope("own_energy", slope, [&](double born) { return own_energy(-137.0, 0.4, 1e-6, born, unused); }, close);
  }
}

// ---- joint_penalty.h ---------------------------------------------------------------------------

template <typename T>
void test_joints() {
  for (int n = 0; n < 4000; ++n) {
    const double angle = -3.14 + 6.28 * n / 3999;
    const T x = T(0.3 * std::cos(angle)), y = T(0.3 * std::sin(angle));
    const double exact = std::atan2(double(y), double(x)), place = (exact / 3.141592653589793 + 1) * 90;
    check(std::abs(double(polar_angle(x, y)) - exact) < 5e-7, "polar angle");
    if (std::abs(place - std::round(place)) > 1e-4) check(cell_of(x, y, 180) == int32_t(place), "cell of an angle");
  }
  check(polar_angle(T(0), T(0)) == T(0), "polar angle of the origin");
  check(cell_of(T(-1), T(0), 180) == 179 && cell_of(T(0), T(0), 180) == 90, "cells at their borders");
  const int32_t cell = cell_of(not_a_number<T>, not_a_number<T>, 180);
  check(0 <= cell && cell < 180, "cell without an angle");
  // All strains that are not those of torsions count.
  const std::vector<T> own{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0}, wave{1, 0, 0};
  check(strain_energy(own.data(), 6, wave.data(), 1, 0) == T(2.5), "strains");
  check(strain_energy(own.data(), 5, wave.data(), 1, 0) == T(0.5), "one strain");
}

// Bounds of a group never exceed the computed distance to a point of it, and are tight for points at its corners.
template <typename T>
void test_bounds() {
  Random random(11);
  for (const double width : {0.0, 2.0, 9.0})
    for (int group = 0; group < 50; ++group) {
      const auto vectors = random_boxes<T>(random, 1, width > 0 ? width : 1);
      const PeriodicBox<T> box = box_of_frame(width > 0 ? vectors.data() : nullptr, 9, 0);
      const auto numbers = random.uniforms<T>(3 * 20, -0.5, 0.5), centre = random.uniforms<T>(3, -20, 20);
      Bounds<T> bounds{};
      if (box.exists) bounds.centre = moved_into_box(load(centre.data()), box);
      T reach = norm(box.a) + norm(box.b) + norm(box.c);
      std::vector<Vec3<T>> points;
      for (int n = 0; n < 20; ++n) {
        points.push_back(load(centre.data()) + load(numbers.data() + 3 * n));
        const Vec3<T> away = minimum_image(points[n] - bounds.centre, box);
        bounds.extent.include(away);
        bounds.radius = std::max(bounds.radius, norm(away));
        reach = std::max(reach, farthest_coordinate(points[n]));
      }
      bounds.rounding = rounding_of_images(reach);
      for (int q = 0; q < 50; ++q) {
        const auto near = random.uniforms<T>(3, -3, 3);
        const Vec3<T> query = q < 20 ? points[q] : load(centre.data()) + load(near.data());
        T least = infinite<T>;
        for (const Vec3<T>& p : points) {
          const Vec3<T> d = minimum_image(p - query, box);
          least = std::min(least, dot(d, d));
        }
        const T bound = least_squared_distance(query, bounds, box, rounding_of_images(farthest_coordinate(query)));
        check(bound <= least, "bounds: not above the least distance");
        check(q >= 20 || bound == 0, "bounds: zero for a point of the group");
      }
    }
  const Extent<T> line{{T(0), T(0), T(0)}, {T(0), T(0), T(2)}};
  check(squared_distance_to_box(Vec3<T>{3, 4, 1}, line) == T(25), "bounds: distance to a box");
}

// Halvings order points along the longest sides first, and every point has a cell.
template <typename T>
void test_halvings() {
  check(halvings_for(1) == 0 && halvings_for(2) == 1 && halvings_for(1025) == 11, "halvings: number");
  const HalvedBox<T> halved{PeriodicBox<T>{}, {0, 0, 0}, {1, 4, 1}, 3};
  check(cell_of(Vec3<T>{T(0.2), T(0.5), T(0.2)}, halved) == 0, "halvings: first cell");
  check(cell_of(Vec3<T>{T(0.2), T(1.5), T(0.2)}, halved) == 2, "halvings: second quarter of the longest side");
  check(cell_of(Vec3<T>{T(0.8), T(3.5), T(0.8)}, halved) == 7, "halvings: last cell");
  const T odd[] = {not_a_number<T>, infinite<T>, -infinite<T>, std::numeric_limits<T>::max(), T(-5)};
  for (const T value : odd)
    for (const T size : odd) {
      const int64_t cell = cell_of(Vec3<T>{value, 1, value}, HalvedBox<T>{{}, {0, 0, 0}, {size, 4, 1}, 10});
      check(0 <= cell && cell < 1024, "halvings: a cell of any point");
    }
}

template <typename T>
void test_all() {
  test_bounds<T>();
  test_halvings<T>();
  test_vec3<T>();
  test_frames<T>();
  test_pair_terms<T>();
  test_exponential<T>();
  test_logarithm<T>();
  test_silu<T>();
  test_gaussian<T>();
  test_weights<T>();
  test_bounding_sphere<T>();
  test_periodic_box<T>();
  test_cell_hash<T>();
  test_nearest<T>();
  test_shift_to_image<T>();
  test_trials<T>();
  test_draw<T>();
  test_side_chains<T>();
  test_joints<T>();
  test_c_alphas<T>();
  test_softplus<T>();
  test_filter_knots<T>();
}

}  // namespace
}  // namespace backmap::testing

int main() {
  using namespace backmap::testing;
  test_frame_gradients();
  test_pair_gradients();
  test_gaussian_gradient();
  test_moment_gradients();
  test_window_gradient();
  test_softplus_gradient();
  test_prior_gradients();
  test_coinciding_beads();
  test_implicit_solvent();
  test_buckets();
  test_overlap();
  test_all<float>();
  test_all<double>();
  return finish();
}
