#include <future>

#include <troupe/actors/node/device_actor.h>

namespace troupe::actors {
namespace {

struct DeviceState {
  std::unique_ptr<Device> device;
};

using Made = std::shared_ptr<std::promise<Result<DeviceHandle>>>;

device_actor::behavior_type device_behavior(device_actor::stateful_pointer<DeviceState> self,
                                            DeviceOptions options, Made made) {
  const auto fail = [&](const Status& status) -> device_actor::behavior_type {
    made->set_value(status);
    self->quit();
    return {[](const DeviceJobPtr&) {}};
  };
  auto device = Device::create(options);
  if (!device) return fail(device.status());
  self->state.device = std::move(*device);
  self->state.device->pool().adopt_caller();  // this thread does nothing else
  DeviceHandle handle;
  handle.actor = self;
  handle.threads = self->state.device->threads();
  handle.isa = kernels::isa_name(self->state.device->kernels().isa);
  if (Accelerator* accelerator = self->state.device->accelerator()) {
    const Result<std::uint64_t> free_bytes = accelerator->free_bytes();
    if (!free_bytes) return fail(free_bytes.status());
    handle.isa = "cuda " + accelerator->architecture();
    handle.memory_bytes = *free_bytes - *free_bytes / 16;  // the rest is working memory
  }
  made->set_value(std::move(handle));
  return {[self](const DeviceJobPtr& job) { (*job)(*self->state.device); }};
}

}  // namespace

Result<DeviceHandle> spawn_device(caf::actor_system& system, const DeviceOptions& options) {
  auto made = std::make_shared<std::promise<Result<DeviceHandle>>>();
  auto future = made->get_future();
  system.spawn<caf::detached>(device_behavior, options, made);
  return future.get();
}

}  // namespace troupe::actors
