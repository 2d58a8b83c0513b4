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
#include <troupe/tools/troupe/views/to_json.h>

namespace troupe::tools {
namespace {

struct PlanOptions {
  CommonOptions common;
  std::string cluster, layers;
  PlanRequest request;
};

void print_prediction(const PredictedSpeed& speed) {
  std::printf("  prompt of 512 tokens   %8s tokens/s\n",
              format_number(speed.prompt_tok_s, 1).c_str());
  std::printf("  one stream             %8s tokens/s\n",
              format_number(speed.decode_tok_s, 1).c_str());
  std::printf("  %s streams together     %8s tokens/s\n", std::to_string(speed.streams).c_str(),
              format_number(speed.streams_tok_s, 1).c_str());
}

std::vector<std::string> row_of(const PlanNode& node, const Plan& plan) {
  std::string layers = "-";
  std::uint64_t bytes = 0;
  for (const PlannedStage& stage : plan.stages) {
    if (stage.node != node.name) continue;
    layers = stage.layers;
    bytes = stage.memory_bytes;
  }
  std::vector<std::string> row = {node.name, layers, format_bytes(bytes),
                                  format_bytes(node.memory_left_bytes)};
  if (const auto& cost = node.cost) {
    row.push_back(format_number(cost->many.layer_row_us, 0) + " us");
    row.push_back(format_number(cost->weight_bytes_per_s / 1e9, 1) + " GB/s");
    row.push_back(format_number(cost->layer_prompt_row_us, 1) + " us a row");
  } else {
    row.insert(row.end(), 3, "not measured");
  }
  return row;
}

void print_replicas(const Plan& plan) {
  for (const std::vector<PlannedStage>& replica : plan.replicas) {
    std::string where;
    for (const PlannedStage& stage : replica) {
      where += (where.empty() ? "" : ", ") + stage.layers + " on " + stage.node;
    }
    std::printf("one more replica when there is enough to do: %s\n", where.c_str());
  }
  if (const auto& speed = plan.with_replicas) {
    std::printf("  %s streams over all of them  %s tokens/s\n",
                std::to_string(speed->streams).c_str(),
                format_number(speed->streams_tok_s, 0).c_str());
  }
}

void print_plan(const Plan& plan) {
  std::vector<std::vector<std::string>> rows = {
      {"NODE", "LAYERS", "MEMORY", "OF", "LAYER, ONE ROW", "WEIGHTS", "LAYER, PROMPT"}};
  for (const PlanNode& node : plan.nodes) rows.push_back(row_of(node, plan));
  print_table(rows);
  if (!plan.left_out.empty()) std::printf("%s\n", plan.left_out.c_str());
  for (const PlanConnection& connection : plan.connections) {
    const std::string carries =
        connection.bytes_per_s ? ", " + format_number(*connection.bytes_per_s / 1e6, 1) + " MB/s"
                               : "";
    std::printf("%s -> %s: %s us%s\n", connection.from.c_str(), connection.to.c_str(),
                format_number(connection.latency_us, 0).c_str(), carries.c_str());
  }
  std::printf("%s with keys and values of %s positions takes %s\n", plan.model.c_str(),
              std::to_string(plan.context).c_str(), format_bytes(plan.memory_bytes).c_str());
  if (plan.prediction) {
    std::printf("predicted:\n");
    print_prediction(*plan.prediction);
  }
  if (plan.equal_split && plan.stages.size() > 1) {
    std::printf("with equal shares (%s):\n", plan.equal_split->layers.c_str());
    print_prediction(plan.equal_split->speed);
  }
  print_replicas(plan);
  if (plan.whole_on.size() > 1) {
    std::string names;
    for (const std::string& name : plan.whole_on) names += (names.empty() ? "" : ", ") + name;
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

int run(PlanOptions& options) {
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
  const Result<Plan> plan = open->cluster.plan(options.request);
  if (!plan) return fail(plan.status(), json);
  if (json) {
    print_json(to_json(*plan));
  } else {
    print_plan(*plan);
  }
  return kExitOk;
}

}  // namespace

Action add_plan(CLI::App& app) {
  auto options = std::make_shared<PlanOptions>();
  add_model_argument(app, options->request.model);
  app.add_option("-c,--context", options->request.context,
                 "Positions to keep keys and values for [4096, or the model's limit if less]")
      ->check(CLI::Range(1, 1 << 24));
  app.add_option("--nodes", options->request.nodes, "Use these nodes only, e.g. head,a,b")
      ->delimiter(',');
  app.add_option("--layers", options->layers,
                 "Evaluate this split, in the order of `troupe nodes`, e.g. 0-9,10-29");
  add_kv_option(app, options->request.kv_type);
  add_cluster_option(app, options->cluster);
  add_common_options(app, options->common);
  app.footer(
      "Measures what a layer of the model's shape costs each node, with the node's own kernels,\n"
      "and what the connections between the nodes carry (the measurements count for ten minutes,\n"
      "for `run`, too). Then says which layers would go where, and predicts the speed. Loads\n"
      "nothing, and needs only the model's header, not its weights.\n"
      "\n"
      "Examples:\n"
      "  troupe plan smollm2-135m --cluster 127.0.0.1:7700\n"
      "  troupe plan smollm2-135m --context 2048 --nodes a,b --json\n"
      "\n"
      "--json prints {\"model\",\"model_id\",\"sha256\",\"context\",\"memory_bytes\",\n"
      "\"stages\":[{\"node\",\"layers\",\"memory_bytes\"}],\"replicas\":[stages of each further "
      "replica],\n"
      "\"with_replicas\":{\"streams\",\"streams_tok_s\"} or null,\n"
      "\"prediction\":{\"prompt_tok_s\",\"decode_tok_s\",\"streams\",\"streams_tok_s\"},\n"
      "\"equal_split\":{the same, \"layers\"} or null if it does not fit,\"whole_on\":[names],\n"
      "\"nodes\":[{\"name\",...,\"cost\"}],\"ways\":[{\"from\",\"to\",\"latency_us\",\"bytes_s\"}]}"
      ".");
  return [options] { return run(*options); };
}

}  // namespace troupe::tools
