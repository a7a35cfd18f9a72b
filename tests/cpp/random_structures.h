// Random inputs for tests of the kernels, the same on every machine.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <vector>

namespace backmap::testing {

// std::vector<bool> has no bool*.
struct Flags {
  explicit Flags(int64_t n) : values(new bool[n > 0 ? n : 1]()), size(n) {}
  bool* data() const { return values.get(); }
  bool& operator[](int64_t i) const { return values[i]; }
  std::unique_ptr<bool[]> values;
  int64_t size;
};

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}

  double uniform() { return double(engine_()) / 4294967296.0; }

  template <typename T>
  std::vector<T> uniforms(int64_t n, double low, double high) {
    std::vector<T> values(n);
    for (T& v : values) v = T(low + (high - low) * uniform());
    return values;
  }

  Flags flags(int64_t n, double probability) {
    Flags flags(n);
    for (int64_t i = 0; i < n; ++i) flags[i] = uniform() < probability;
    return flags;
  }

  std::vector<int64_t> integers(int64_t n, int64_t low, int64_t high) {
    std::vector<int64_t> values(n);
    for (int64_t& v : values) v = low + int64_t(uniform() * double(high - low));
    return values;
  }

 private:
  std::mt19937 engine_;
};

// Triclinic boxes in reduced form, one per frame, about `width` wide.
template <typename T>
std::vector<T> random_boxes(Random& random, int64_t batch, double width) {
  std::vector<T> boxes;
  for (int64_t b = 0; b < batch; ++b) {
    const auto between = [&](double low, double high) { return T(low + (high - low) * random.uniform()); };
    const T ax = between(width, 1.5 * width), by = between(width, 1.5 * width), cz = between(width, 1.5 * width);
    for (const T v :
         {ax, T(0), T(0), between(-0.5, 0.5) * ax, by, T(0), between(-0.5, 0.5) * ax, between(-0.5, 0.5) * by, cz})
      boxes.push_back(v);
  }
  return boxes;
}

}  // namespace backmap::testing
