// Registration of operators with torch, and calls through its dispatcher.
//
// For each operator, a file of csrc/torch has a function `empty_*`, which checks the arguments and allocates the
// results; Meta tensors need nothing else. The function of the same name without the prefix fills the results, on the
// device of the arguments. Both are registered at the end of the file.
#pragma once

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <cstring>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace backmap {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using Tensors2 = std::tuple<Tensor, Tensor>;
using Tensors3 = std::tuple<Tensor, Tensor, Tensor>;

// ---- Calls through the dispatcher --------------------------------------------------------------

// Schema of the operator that a function computes; set on registration.
template <auto function>
inline const char* schema_of = nullptr;

inline std::string name_in(const char* schema) { return {schema, std::strcspn(schema, "(")}; }

// Calls the operator that a function computes; it is looked up only once.
template <auto function, typename... Arguments>
auto call(const Arguments&... arguments) {
  using Signature = std::remove_pointer_t<decltype(function)>;
  static const auto handle = c10::Dispatcher::singleton()
                                 .findSchemaOrThrow(("backmap::" + name_in(schema_of<function>)).c_str(), "")
                                 .template typed<Signature>();
  return handle.call(arguments...);
}

// The same below autograd: the results have no history.
template <auto function, typename... Arguments>
auto call_below_autograd(const Arguments&... arguments) {
  const at::AutoDispatchBelowADInplaceOrView guard;
  return call<function>(arguments...);
}

inline std::optional<Tensor> if_defined(const Tensor& tensor) {
  return tensor.defined() ? std::optional<Tensor>(tensor) : std::nullopt;
}

// ---- Gradients ---------------------------------------------------------------------------------

// For a draw or a choice: the results are constants, even if arguments require gradients.
struct NoGradient {};

// For a gradient, which is an operator of its own: a second derivative is an error.
struct NoSecondGradient {};

// For inference only: asking for a gradient is an error.
using NotDifferentiable = NoSecondGradient;

// Converts results from the form that autograd gives to the form that the function returns.
template <typename Result>
Result as_result(const variable_list& tensors) {
  const auto all = [&]<size_t... n>(std::index_sequence<n...>) { return Result{tensors[n]...}; };
  return all(std::make_index_sequence<std::tuple_size_v<Result>>());
}

template <typename Result>
Result as_result(const Tensor& tensor) {
  return tensor;
}

// A function as autograd calls it. `Gradient` is a torch::autograd::Function or one of the structs above.
template <typename Gradient, auto function>
struct UnderAutograd;

template <typename Gradient, typename Result, typename... Arguments, Result (*function)(Arguments...)>
struct UnderAutograd<Gradient, function> {
  static Result call(Arguments... arguments) {
    if constexpr (std::is_same_v<Gradient, NoGradient>) return call_below_autograd<function>(arguments...);
    else if constexpr (std::is_void_v<Result>) Gradient::apply(arguments...);
    else return as_result<Result>(Gradient::apply(arguments...));
  }
};

template <typename Gradient, auto function>
torch::CppFunction under_autograd() {
  if constexpr (std::is_same_v<Gradient, NoSecondGradient>) return torch::autograd::autogradNotImplementedFallback();
  else return torch::CppFunction(&UnderAutograd<Gradient, function>::call);
}

// ---- Registration ------------------------------------------------------------------------------

// Registers the operator of a schema. `function` chooses the device by its arguments, so it is registered for both
// keys.
template <auto function, auto empty, typename Gradient>
void register_operator(torch::Library& library, const char* schema) {
  static_assert(std::is_same_v<decltype(function), decltype(empty)>, "both take the same arguments");
  schema_of<function> = schema;
  const std::string name = name_in(schema);
  library.def(schema);
  library.impl(name.c_str(), torch::dispatch(c10::DispatchKey::CPU, function));
  library.impl(name.c_str(), torch::dispatch(c10::DispatchKey::CUDA, function));
  library.impl(name.c_str(), torch::dispatch(c10::DispatchKey::Meta, empty));
  library.impl(name.c_str(), torch::dispatch(c10::DispatchKey::Autograd, under_autograd<Gradient, function>()));
}

}  // namespace backmap
