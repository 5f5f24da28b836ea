// One boxed fallback serves all operators: its tensors become CPU tensors over the same memory, which is open
// while the CPU's kernel runs. So in-place results, `out` arguments and views need no copying. Operators that
// torch composes of others (narrow, clone, mm by way of mm.out) get here through their parts.
#include "tests/guarded_device.h"

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/impl/FakeGuardImpl.h>
#include <sys/mman.h>
#include <torch/library.h>

#include <map>
#include <mutex>
#include <vector>

namespace elrea {
namespace {

using torch::Tensor;

void Protect(const c10::Storage& storage, int protection) {
  if (storage.nbytes() == 0) return;
  TORCH_CHECK(mprotect(storage.mutable_data(), storage.nbytes(), protection) == 0,
              "guarded device: mprotect failed");
}

struct Pages {
  void* begin;
  size_t num_bytes;
};

struct GuardedAllocator final : c10::Allocator {
  c10::DataPtr allocate(size_t num_bytes) override {
    if (num_bytes == 0) return {nullptr, GuardedDevice()};
    void* begin = mmap(nullptr, num_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    TORCH_CHECK(begin != MAP_FAILED, "guarded device: no memory for ", num_bytes, " bytes");
    const auto release = [](void* context) {
      const auto* pages = static_cast<Pages*>(context);
      munmap(pages->begin, pages->num_bytes);
      delete pages;
    };
    return {begin, new Pages{begin, num_bytes}, release, GuardedDevice()};
  }
  void copy_data(void*, const void*, size_t) const override {
    TORCH_CHECK(false, "guarded device: use copy_");
  }
};

GuardedAllocator allocator;
const c10::DispatchKeySet kKeys(c10::DispatchKey::PrivateUse1);

bool IsGuarded(const Tensor& t) { return t.defined() && t.is_privateuseone(); }

// One operator under way: the CPU twins of its guarded tensors. One at a time, or one would close what
// another reads.
class Operator {
 public:
  Operator() : lock_(Mutex()) {}
  ~Operator() {
    for (const auto& [guarded, twin] : storages_) Protect(guarded, PROT_NONE);
  }

  // The same memory as a CPU tensor; other tensors are their own twins.
  Tensor Twin(const Tensor& t) {
    if (!IsGuarded(t)) return t;
    for (const auto& [guarded, twin] : tensors_) {
      if (guarded.is_same(t)) return twin;
    }
    Tensor twin = Open(t);
    tensors_.emplace_back(t, twin);
    return twin;
  }

  // The guarded tensor of a result: of an argument or a view of one the same memory, else a copy.
  Tensor Guarded(const Tensor& result) {
    if (!result.defined()) return result;
    for (const auto& [guarded, twin] : tensors_) {
      if (twin.is_same(result)) return guarded;
    }
    Tensor made = torch::empty({0}, result.options().device(GuardedDevice()));
    for (const auto& [guarded, twin] : storages_) {
      if (!twin.is_alias_of(result.storage())) continue;
      SetStorage(made, guarded, result);
      return made;
    }
    Fill(made, result);
    return made;
  }

  // Arguments whose twins the kernel has resized are given memory of the new size.
  void TakeNewSizes() {
    for (const auto& [guarded, twin] : tensors_) {
      if (twin.sizes() != guarded.sizes()) Fill(guarded, twin);
    }
  }

 private:
  static std::mutex& Mutex() {
    static std::mutex mutex;
    return mutex;
  }

  c10::Storage TwinOf(const c10::Storage& guarded) {
    for (const auto& [known, twin] : storages_) {
      if (known.is_alias_of(guarded)) return twin;
    }
    Protect(guarded, PROT_READ | PROT_WRITE);
    c10::DataPtr memory(guarded.mutable_data(), torch::kCPU);
    c10::Storage twin(c10::Storage::use_byte_size_t(), guarded.nbytes(), std::move(memory),
                      /*allocator=*/nullptr,
                      /*resizable=*/false);
    storages_.emplace_back(guarded, twin);
    return twin;
  }

  static void SetStorage(const Tensor& t, const c10::Storage& storage, const Tensor& shape) {
    t.unsafeGetTensorImpl()->set_storage_keep_dtype(storage);
    t.unsafeGetTensorImpl()->set_sizes_and_strides(shape.sizes(), shape.strides(), shape.storage_offset());
  }

  // A CPU tensor over the memory of a guarded one. An empty one keeps memory of its own, so that a kernel may
  // resize it.
  Tensor Open(const Tensor& t) {
    Tensor twin = torch::empty({0}, t.options().device(torch::kCPU));
    const bool is_empty = t.storage().nbytes() == 0;
    SetStorage(twin, is_empty ? twin.storage() : TwinOf(t.storage()), t);
    return twin;
  }

  // `guarded` becomes a copy of the values [any shape] in memory of its own.
  void Fill(const Tensor& guarded, const Tensor& values) {
    const Tensor made = torch::empty_strided(values.sizes(), values.strides(), guarded.options());
    SetStorage(guarded, made.storage(), made);
    Open(guarded).copy_(values);
  }

  std::lock_guard<std::mutex> lock_;
  std::vector<std::pair<Tensor, Tensor>> tensors_;               // guarded, twin
  std::vector<std::pair<c10::Storage, c10::Storage>> storages_;  // guarded, twin
};

// Every tensor among the values, in lists too, becomes of(tensor).
template <typename Of>
void ForEachTensor(at::ArrayRef<c10::IValue> values, const Of& of, torch::jit::Stack& changed) {
  for (const c10::IValue& value : values) {
    if (value.isTensor()) {
      changed.emplace_back(of(value.toTensor()));
    } else if (value.isTensorList()) {
      c10::List<Tensor> list;
      for (const Tensor& t : value.toTensorVector()) list.push_back(of(t));
      changed.emplace_back(std::move(list));
    } else if (value.isOptionalTensorList()) {
      c10::List<std::optional<Tensor>> list;
      for (const std::optional<Tensor>& t : value.toOptionalTensorVector()) {
        list.push_back(t ? std::optional(of(*t)) : std::nullopt);
      }
      changed.emplace_back(std::move(list));
    } else {
      changed.push_back(value);
    }
  }
}

void RunOnTwins(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  Operator running;
  const size_t num_arguments = op.schema().arguments().size();
  torch::jit::Stack twins;
  const auto twin_of = [&](const Tensor& t) {
    TORCH_CHECK(!t.defined() || IsGuarded(t) || t.dim() == 0, op.schema().operator_name(),
                ": tensors on different devices, a CPU tensor of ", t.sizes(), " among guarded ones");
    return running.Twin(t);
  };
  ForEachTensor(torch::jit::last(*stack, num_arguments), twin_of, twins);
  op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), &twins);
  running.TakeNewSizes();
  torch::jit::drop(*stack, num_arguments);
  ForEachTensor(
      twins, [&](const Tensor& t) { return running.Guarded(t); }, *stack);
}

Tensor Empty(at::IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
             std::optional<at::Device>, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  return Tensor(at::detail::empty_generic(size, &allocator, kKeys, c10::dtype_or_default(dtype), format));
}

Tensor EmptyStrided(at::IntArrayRef size, at::IntArrayRef stride, std::optional<at::ScalarType> dtype,
                    std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>) {
  return Tensor(
      at::detail::empty_strided_generic(size, stride, &allocator, kKeys, c10::dtype_or_default(dtype)));
}

// What copy_ calls when either tensor is here.
Tensor CopyFrom(const Tensor& from, const Tensor& to, bool) {
  Operator running;
  running.Twin(to).copy_(running.Twin(from));
  return to;
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&RunOnTwins>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", Empty);
  m.impl("empty_strided", EmptyStrided);
  m.impl("_copy_from", CopyFrom);
}

using Guard = c10::impl::FakeGuardImpl<c10::DeviceType::PrivateUse1>;
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);
REGISTER_ALLOCATOR(c10::DeviceType::PrivateUse1, &allocator);
// The backend keeps its name: with one of its own it would be the accelerator of a program that has a GPU too.

}  // namespace
}  // namespace elrea
