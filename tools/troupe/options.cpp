#include <map>

#include <troupe/tools/troupe/options.h>

namespace troupe::tools {

void add_common_options(CLI::App& app, CommonOptions& options) {
  app.add_option("--home", options.home,
                 "Where keys, store and journal lie [TROUPE_HOME, else ~/.troupe]")
      ->type_name("DIR");
  app.add_flag("--json", options.json, "Print one JSON object on stdout, at the end");
  app.add_flag(
      "-v,--verbose", options.verbose,
      "Say more on stderr; twice for more still (TROUPE_LOG=debug|info|warning|error|off)");
}

void add_model_argument(CLI::App& app, std::string& model) {
  app.add_option("MODEL", model, "A name, a path of a GGUF file or a folder, or sha256:HEX")
      ->required()
      ->type_name("");
}

void add_kv_option(CLI::App& app, std::optional<kernels::KvType>& kv_type) {
  const std::map<std::string, kernels::KvType> kTypes{{"f16", kernels::KvType::kF16},
                                                      {"f32", kernels::KvType::kF32}};
  app.add_option_function<std::string>(
         "--kv", [&kv_type, kTypes](const std::string& name) { kv_type = kTypes.at(name); },
         "How keys and values are kept: f16 or f32 [f32 when the weights are F32, else f16]")
      ->check(CLI::IsMember({"f16", "f32"}))
      ->type_name("TYPE");
}

void add_cluster_option(CLI::App& app, std::string& cluster) {
  app.add_option("--cluster", cluster,
                 "HOST:PORT of a head of yours on this machine, TOKEN@HOST:PORT of one on another, "
                 "or none for this process [TROUPE_CLUSTER, else this home's daemon, else none]")
      ->type_name("ADDRESS");
}

}  // namespace troupe::tools
