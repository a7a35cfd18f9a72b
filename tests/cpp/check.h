// How all test programs report failures.
#pragma once

#include <cstdio>

namespace backmap::testing {

inline int failures = 0;

inline void check(bool condition, const char* what) {
  if (condition) return;
  std::printf("FAILED: %s\n", what);
  ++failures;
}

// Exit code of the program.
inline int finish() {
  std::printf("%d failures\n", failures);
  return failures != 0;
}

}  // namespace backmap::testing
