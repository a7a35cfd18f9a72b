// Function multi-versioning: the inner loops are compiled for several instruction sets, chosen at load time.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(BACKMAP_NO_CLONES)
#define BACKMAP_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define BACKMAP_CLONES
#endif
