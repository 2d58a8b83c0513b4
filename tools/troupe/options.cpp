#include <charconv>
#include <map>

#include <troupe/runtime/device/device.h>
#include <troupe/tools/troupe/options.h>

namespace troupe::tools {

std::optional<std::uint64_t> read_whole_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

CLI::Validator whole_number(std::uint64_t least, std::uint64_t most) {
  const std::string range = std::to_string(least) + " to " + std::to_string(most);
  // CLI11's own conversion turns -1 and numbers over 2^64 into the largest number.
  const auto check = [=](const std::string& text) -> std::string {
    const std::optional<std::uint64_t> value = read_whole_number(text);
    if (value && *value >= least && *value <= most) return "";
    return "'" + text + "' is not a whole number from " + range;
  };
  return CLI::Validator(check, most == UINT64_MAX ? "" : "from " + range);
}

void add_common_options(CLI::App& app, CommonOptions& options) {
  app.add_option("--home", options.home,
                 "Folder of the keys, the store and the journal [TROUPE_HOME, else ~/.troupe]")
      ->type_name("DIR");
  app.add_flag("--json", options.json, "Print one JSON object on stdout, at the end");
  app.add_flag(
      "-v,--verbose", options.verbose,
      "Say more on stderr; give it twice for even more (TROUPE_LOG=debug|info|warning|error|off)");
}

void add_model_argument(CLI::App& app, std::string& model) {
  app.add_option("MODEL", model,
                 "A name, a path of a GGUF file or a folder, model:HEX or sha256:HEX")
      ->required()
      ->type_name("");
}

void add_kv_option(CLI::App& app, std::optional<kernels::KvType>& kv_type) {
  const std::map<std::string, kernels::KvType> kTypes{{"f16", kernels::KvType::kF16},
                                                      {"f32", kernels::KvType::kF32}};
  app.add_option_function<std::string>(
         "--kv", [&kv_type, kTypes](const std::string& name) { kv_type = kTypes.at(name); },
         "How keys and values are kept: f16 or f32 [f32 if the weights are F32, else f16]")
      ->check(CLI::IsMember({"f16", "f32"}))
      ->type_name("TYPE");
}

void add_activations_option(CLI::App& app, bool& f16) {
  app.add_option_function<std::string>(
         "--activations", [&f16](const std::string& name) { f16 = name == "f16"; },
         "Hidden states between layers: f32, or f16, which rounds after every layer and halves "
         "what nodes send [f32]")
      ->check(CLI::IsMember({"f16", "f32"}))
      ->type_name("TYPE");
}

void add_device_option(CLI::App& app, std::string& device) {
  app.add_option("--device", device,
                 "What computes in this process: cpu, or a GPU such as cuda:0 [cpu]")
      ->type_name("DEVICE")
      ->check([](const std::string& text) {
        const auto gpu = gpu_of(text);
        return gpu.is_ok() ? std::string() : gpu.message();
      });
}

void add_cluster_option(CLI::App& app, std::string& cluster) {
  app.add_option("--cluster", cluster,
                 "HOST:PORT of a head of yours on this machine, TOKEN@HOST:PORT of one on another, "
                 "or none for this process [TROUPE_CLUSTER, else this home's daemon, else none]")
      ->type_name("ADDRESS");
}

}  // namespace troupe::tools
