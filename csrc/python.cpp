// The Python module. Importing it loads the operator library, which it is linked to.
#include <pybind11/pybind11.h>

PYBIND11_MODULE(_core, m) { m.doc() = "Loads the operators of backmap."; }
