#include <algorithm>
#include <cstdio>
#include <memory>
#include <set>

#include <nlohmann/json.hpp>

#include <troupe/model/config/layer_range.h>
#include <troupe/runtime/text/utf8.h>
#include <troupe/tools/troupe/connect.h>
#include <troupe/tools/troupe/models.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/verbs.h>

namespace troupe::tools {
namespace {

struct Options {
  CommonOptions common;
  std::string cluster, layers;
  PlanRequest request;
};

std::string number(const nlohmann::json& object, const char* name, double unit, int decimals) {
  return format_number(object.value(name, 0.0) / unit, decimals);
}

void print_prediction(const nlohmann::json& found) {
  std::printf("  prompt of 512 tokens   %8s tokens/s\n",
              number(found, "prompt_tok_s", 1, 1).c_str());
  std::printf("  one stream             %8s tokens/s\n",
              number(found, "decode_tok_s", 1, 1).c_str());
  std::printf("  %d streams together     %8s tokens/s\n", found.value("streams", 0),
              number(found, "streams_tok_s", 1, 1).c_str());
}

void print_plan(const nlohmann::json& plan) {
  std::vector<std::vector<std::string>> rows = {
      {"NODE", "LAYERS", "MEMORY", "OF", "LAYER, ONE ROW", "WEIGHTS", "LAYER, PROMPT"}};
  for (const auto& node : plan["nodes"]) {
    const std::string name = node.value("name", "");
    std::string layers = "-";
    std::uint64_t bytes = 0;
    for (const auto& stage : plan["stages"]) {
      if (stage.value("node", "") != name) continue;
      layers = stage.value("layers", "");
      bytes = stage.value("memory_bytes", std::uint64_t{0});
    }
    std::vector<std::string> row = {
        name, layers, format_bytes(bytes),
        format_bytes(node.value("memory_left_bytes", std::uint64_t{0}))};
    if (const auto& cost = node["cost"]; cost.is_object()) {
      row.push_back(number(cost, "layer_row_us", 1, 0) + " us");
      row.push_back(number(cost, "weights_bytes_s", 1e9, 1) + " GB/s");
      row.push_back(number(cost, "layer_prompt_row_us", 1, 1) + " us a row");
    } else {
      row.insert(row.end(), 3, "not measured");
    }
    rows.push_back(std::move(row));
  }
  print_table(rows);
  for (const auto& way : plan["ways"]) {
    const std::string carries =
        way["bytes_s"].is_number() ? ", " + number(way, "bytes_s", 1e6, 1) + " MB/s" : "";
    std::printf("%s -> %s: %s us%s\n", way.value("from", "").c_str(), way.value("to", "").c_str(),
                number(way, "latency_us", 1, 0).c_str(), carries.c_str());
  }
  std::printf("%s with keys and values of %s positions takes %s\n", plan.value("model", "").c_str(),
              std::to_string(plan.value("context", std::uint64_t{0})).c_str(),
              format_bytes(plan.value("memory_bytes", std::uint64_t{0})).c_str());
  if (plan["prediction"].is_object()) {
    std::printf("predicted:\n");
    print_prediction(plan["prediction"]);
  }
  const auto& equal = plan["equal_split"];
  if (equal.is_object() && plan["stages"].size() > 1) {
    std::printf("with equal shares (%s):\n", equal.value("layers", "").c_str());
    print_prediction(equal);
  }
  for (const auto& replica : plan["replicas"]) {
    std::string where;
    for (const auto& stage : replica) {
      where += (where.empty() ? "" : ", ") + stage.value("layers", "") + " on " +
               stage.value("node", "");
    }
    std::printf("one more replica when there is enough to do: %s\n", where.c_str());
  }
  if (plan["with_replicas"].is_object()) {
    std::printf("  %s streams over all of them  %s tokens/s\n",
                std::to_string(plan["with_replicas"].value("streams", 0)).c_str(),
                number(plan["with_replicas"], "streams_tok_s", 1, 0).c_str());
  }
  if (plan["whole_on"].size() > 1) {
    std::string names;
    for (const auto& name : plan["whole_on"]) {
      names += (names.empty() ? "" : ", ") + name.get<std::string>();
    }
    std::printf("the whole model fits on each of %s\n", names.c_str());
  }
}

Status check_names(const std::vector<std::string>& nodes) {
  const std::set<std::string> names(nodes.begin(), nodes.end());
  for (const std::string& name : names) {
    if (std::count(nodes.begin(), nodes.end(), name) == 1) continue;
    return {Code::kInvalidArgument, "--nodes names " + in_quotes(name) +
                                        " more than once; a node holds one range of layers, so "
                                        "name each node once"};
  }
  return Status::ok();
}

int run(Options& options) {
  set_up_logging(LogLevel::kWarning, options.common.verbose);
  const std::string& home = options.common.home;
  const bool json = options.common.json;
  if (const Status checked = check_names(options.request.nodes); !checked) {
    return fail(checked, json);
  }
  if (!options.layers.empty()) {
    auto layers = model::parse_layer_ranges(options.layers);
    if (!layers) return fail(layers.status(), json);
    options.request.layers = std::move(*layers);
  }
  const Result<std::string> address = choose_cluster(home, options.cluster);
  if (!address) return fail(address.status(), json);
  const auto store = open_store(home);
  if (!store) return fail(store.status(), json);
  const auto model = prepare_model(**store, home, options.request.model, !address->empty());
  if (!model) return fail(model.status(), json);
  options.request.model = *model;
  Result<OpenCluster> open = open_cluster(home, options.cluster, 0);
  if (!open) return fail(open.status(), json);
  const Result<std::string> text = open->cluster.plan(options.request);
  if (!text) return fail(text.status(), json);
  const auto plan = nlohmann::json::parse(*text, nullptr, false);
  if (!plan.is_object()) {
    return fail(Status(Code::kBadData, "the head's answer is no plan"), json);
  }
  if (json) {
    print_json(plan);
  } else {
    print_plan(plan);
  }
  return kExitOk;
}

}  // namespace

Action add_plan(CLI::App& app) {
  auto options = std::make_shared<Options>();
  add_model_argument(app, options->request.model);
  app.add_option("-c,--context", options->request.context,
                 "Positions to keep keys and values for [4096, or as many as the model has]")
      ->check(CLI::Range(1, 1 << 24));
  app.add_option("--nodes", options->request.nodes, "Use these nodes only, e.g. head,a,b")
      ->delimiter(',');
  app.add_option("--layers", options->layers,
                 "Look at this split, in the order of `troupe nodes`, e.g. 0-9,10-29");
  add_kv_option(app, options->request.kv_type);
  add_cluster_option(app, options->cluster);
  add_common_options(app, options->common);
  app.footer(
      "Measures what a layer of the model's shape costs each node, with its own kernels, and what\n"
      "the ways between them carry (for ten minutes that counts, for `run` too), then says which\n"
      "layers go where, and predicts. Loads nothing; needs no weights, only the model's header.\n"
      "\n"
      "Examples:\n"
      "  troupe plan smollm2-135m --cluster 127.0.0.1:7700\n"
      "  troupe plan smollm2-135m --context 2048 --nodes a,b --json\n"
      "\n"
      "--json prints "
      "{\"model\",\"sha256\",\"context\",\"memory_bytes\",\"stages\":[{\"node\",\"layers\",\n"
      "\"memory_bytes\"}],\"replicas\":[stages of each further "
      "one],\"with_replicas\":{\"streams\",\n"
      "\"streams_tok_s\"} or "
      "null,\"prediction\":{\"prompt_tok_s\",\"decode_tok_s\",\"streams\",\"streams_"
      "tok_s\"},\n"
      "\"equal_split\":{the same, \"layers\"} or null where it does not fit,\"whole_on\":[names],\n"
      "\"nodes\":[{\"name\",...,\"cost\"}],\"ways\":[{\"from\",\"to\",\"latency_us\",\"bytes_s\"}]}"
      ".");
  return [options] { return run(*options); };
}

}  // namespace troupe::tools
