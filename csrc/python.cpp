// The Python module. Importing it loads the operator library, which it is linked to.
#include <pybind11/pybind11.h>

#include "build_description.h"

PYBIND11_MODULE(_core, m) {
  m.doc() = "Loads the operators of backmap and says how they were built.";
  m.def(
      "build_description",
      [] {
        const backmap::BuildDescription d = backmap::build_description();
        pybind11::dict out;
        out["version"] = d.version;
        out["compiler"] = d.compiler;
        out["torch"] = d.torch;
        out["cuda"] = d.cuda;
        out["cuda_architectures"] = d.cuda_architectures;
        return out;
      },
      "Version, compiler, torch and CUDA of the build; empty strings for CUDA if it was left out.");
}
