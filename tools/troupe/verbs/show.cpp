#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include <nlohmann/json.hpp>

#include <troupe/model/chat/chat_source.h>
#include <troupe/model/chat/chat_template.h>
#include <troupe/model/chat/prompt.h>
#include <troupe/model/config/tensor_specs.h>
#include <troupe/model/families/read_config.h>
#include <troupe/model/files/header_keys.h>
#include <troupe/model/files/weight_scales.h>
#include <troupe/model/planning/memory_need.h>
#include <troupe/model/source/open_model.h>
#include <troupe/model/tokenizer/open_tokenizer.h>
#include <troupe/model/transformer/weights.h>
#include <troupe/runtime/machine/process_memory.h>
#include <troupe/runtime/quant/format.h>
#include <troupe/tools/troupe/connect.h>
#include <troupe/tools/troupe/models.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/verbs.h>

namespace troupe::tools {
namespace {

struct ShowOptions {
  CommonOptions common;
  std::string model, cluster;
};

// The memory of one node of the cluster that is in use.
struct NodeMemory {
  std::string name;
  std::uint64_t free_bytes = 0;  // offered, and not taken by other models
};

struct Description {
  std::string path, model_id, sha256;
  std::uint64_t bytes = 0, parameters = 0;
  std::uint64_t active_parameters = 0;           // without the experts that a row does not use
  std::map<std::string, std::uint64_t> formats;  // parameters by the format's name
  std::string tokenizer;                         // "" if the model has none
  std::string other_tokenizer;  // in that case, a tokenizer's file that Troupe does not read, or ""
  // Formats that become another one in memory, and the bytes that each takes beyond its size in the
  // file.
  std::map<const quant::Format*, std::uint64_t> changed;
  std::uint64_t grows_bytes = 0;  // what all of these formats take together
  std::string kv_type;
  model::ModelConfig config;
  Status chat;                // if not ok, the reason why a chat with the model is refused
  std::size_t positions = 0;  // the number of positions whose keys and values `need_bytes` counts
  std::uint64_t need_bytes = 0, offered_bytes = 0;
  bool fits() const { return need_bytes <= offered_bytes; }
  std::optional<std::vector<NodeMemory>> nodes;  // of the cluster, if there is one
  std::uint64_t free_bytes() const {
    std::uint64_t sum = 0;
    for (const NodeMemory& node : *nodes) sum += node.free_bytes;
    return sum;
  }
};

// The number of positions that a placement plans for, unless the model has fewer.
constexpr std::size_t kPositions = 4096;

std::string tokenizer_of(const model::GgufHeader& header) {
  if (const auto kind = header.string("tokenizer.ggml.model")) {
    const auto pre = header.string("tokenizer.ggml.pre");
    return *kind + (pre ? " (" + *pre + ")" : "");
  }
  if (header.metadata.contains(model::header_keys::kTokenizerJson)) return "tokenizer.json";
  return header.metadata.contains(model::header_keys::kVocabTxt) ? "vocab.txt" : "";
}

// Returns the number of parameters in the experts that a row does not use.
std::uint64_t idle_parameters(const model::ModelConfig& config) {
  std::uint64_t all = 0;
  for (const model::TensorSpec& spec : model::stage_tensors(config, {0, config.layers}))
    if (spec.expert != model::kNoExpert)
      all += std::max<std::size_t>(spec.rows, 1) * spec.columns;  // a bias has no rows
  return config.experts == 0 ? 0 : all / config.experts * (config.experts - config.experts_used);
}

// Renders a conversation of one message, because parsing a template does not show that it names a
// filter or a function that does not exist.
Status check_chat(const model::GgufHeader& header, const model::Tokenizer& tokenizer) {
  if (!model::has_tokenizer(header)) return model::no_tokenizer();
  TROUPE_ASSIGN_OR_RETURN(const std::string source, model::chat_source(header, false));
  if (source.empty())
    return Status(Code::kFailedPrecondition, "the model has no chat template; run it with --raw");
  TROUPE_ASSIGN_OR_RETURN(const auto parsed, model::ChatTemplate::parse(source));
  model::ChatContext context = model::chat_context(tokenizer);
  context.now = model::local_time();
  return parsed->render_marked({{"user", "Hello"}}, context).status();
}

// Returns the name of a tokenizer's file in the model's folder that Troupe does not read.
std::string find_other_tokenizer(const std::filesystem::path& folder) {
  std::error_code error;
  for (const char* name : {"tokenizer.model", "tekken.json", "spiece.model",
                           "sentencepiece.bpe.model", "vocab.json", "vocab.txt"})
    if (std::filesystem::is_regular_file(folder / name, error)) return name;
  return "";
}

Result<std::vector<NodeMemory>> memory_of_nodes(const ShowOptions& options) {
  TROUPE_ASSIGN_OR_RETURN(Cluster cluster, connect_cluster(options.common.home, options.cluster));
  TROUPE_ASSIGN_OR_RETURN(const ClusterStatus status, cluster.status());
  std::vector<NodeMemory> nodes;
  for (const NodeStatus& node : status.nodes) {
    if (!node.works || node.state != "ready") continue;
    const std::uint64_t taken = node.weights_bytes + node.kv_bytes;
    nodes.push_back({node.name, node.memory_bytes - std::min(taken, node.memory_bytes)});
  }
  return nodes;
}

// Checks everything that running the model would check, except the values of its weights.
Status check_runs(const model::GgufHeader& header, Description* out) {
  TROUPE_RETURN_IF_ERROR(model::check_tensors(header, out->config));
  TROUPE_ASSIGN_OR_RETURN(const auto tokenizer,
                          model::open_tokenizer(header, out->config.vocabulary));
  out->chat = out->config.causal ? check_chat(header, *tokenizer) : Status::ok();
  out->positions = std::min(kPositions, out->config.context_max);
  const model::MemoryNeed need =
      model::memory_need(header, out->config, std::nullopt, out->positions);
  out->need_bytes = need.of({0, out->config.layers});
  out->offered_bytes = offered_memory();
  return Status::ok();
}

Result<Description> describe(const ShowOptions& options) {
  TROUPE_ASSIGN_OR_RETURN(const std::string address,
                          choose_cluster(options.common.home, options.cluster));
  TROUPE_ASSIGN_OR_RETURN(std::shared_ptr<model::Store> store, open_store(options.common.home));
  TROUPE_ASSIGN_OR_RETURN(const std::filesystem::path path,
                          model_file(*store, options.common.home, options.model));
  TROUPE_ASSIGN_OR_RETURN(const auto source, model::open_model(path.string()));
  Description out;
  TROUPE_ASSIGN_OR_RETURN(out.config, model::config_from_gguf(source->header()));
  TROUPE_ASSIGN_OR_RETURN(const model::Manifest manifest, store->manifest(path));
  const Status runs = check_runs(source->header(), &out);
  if (!runs.is_ok()) {
    // Some of these sentences begin with the file already.
    return runs.message().starts_with(path.string()) ? runs : runs.with_context(path.string());
  }
  if (!address.empty()) {
    TROUPE_ASSIGN_OR_RETURN(out.nodes, memory_of_nodes(options));
  }
  out.path = path.string();
  out.model_id = manifest.model;
  out.sha256 = manifest.file_sha256;
  out.bytes = manifest.file_bytes;
  for (const model::TensorInfo& tensor : source->header().tensors) {
    if (!model::scaled_name(tensor.name).empty()) continue;  // no parameters, but their scales
    std::uint64_t elements = 1;
    for (const std::uint64_t size : tensor.shape) elements *= size;
    out.parameters += elements;
    const quant::Format& format = *quant::find(tensor.type);
    if (format.packed_type != format.type) {
      const std::uint64_t grows = quant::packed_bytes(format, tensor.bytes) - tensor.bytes;
      out.changed[&format] += grows;
      out.grows_bytes += grows;
    }
    out.formats[std::string(format.name)] += elements;
  }
  out.active_parameters = out.parameters - idle_parameters(out.config);
  out.tokenizer = tokenizer_of(source->header());
  if (out.tokenizer.empty()) out.other_tokenizer = find_other_tokenizer(path);
  out.kv_type = model::default_kv_type(source->header()) == kernels::KvType::kF32 ? "f32" : "f16";
  return out;
}

// Says what the cluster lacks, or "" if the model fits.
std::string lack_of_memory(const Description& model) {
  if (model.nodes) {
    if (model.need_bytes <= model.free_bytes()) return "";
    return "no: it needs " + format_bytes(model.need_bytes) + ", and the " +
           std::to_string(model.nodes->size()) + " nodes of the cluster have " +
           format_bytes(model.free_bytes()) +
           " free together; add a node, unload another model (troupe ps), or take a smaller file";
  }
  if (!model.fits())
    return "not on this machine alone: it needs " + format_bytes(model.need_bytes) +
           ", and this machine offers " + format_bytes(model.offered_bytes) +
           "; spread it over more nodes (troupe plan)";
  return "";
}

// Says in one sentence whether the model runs here, and how.
std::string verdict(const Description& model) {
  if (const std::string lack = lack_of_memory(model); !lack.empty()) return lack;
  if (!model.config.causal)
    return model.config.labels > 0 ? "yes: troupe classify"
                                   : "no: it has no classification head; train one with troupe "
                                     "finetune --task classify";
  if (!model.other_tokenizer.empty())
    return "yes, on token ids (--prompt-ids): it has no tokenizer.json, but " +
           model.other_tokenizer +
           ", which Troupe does not read; put the model's tokenizer.json into the folder, or make "
           "it with transformers (AutoTokenizer.from_pretrained, then save_pretrained)";
  if (model.tokenizer.empty())
    return "yes, on token ids (--prompt-ids): it has no tokenizer; put its tokenizer.json into "
           "the folder, or take a file that has one";
  if (!model.chat.is_ok()) return "yes, with --raw: " + model.chat.message();
  return "yes, with its chat template";
}

void print_json_of(const Description& model) {
  const model::ModelConfig& c = model.config;
  nlohmann::json formats = nlohmann::json::object();
  for (const auto& [name, parameters] : model.formats) formats[name] = parameters;
  nlohmann::json becomes = nlohmann::json::object();
  for (const auto& [format, grows] : model.changed)
    becomes[std::string(format->name)] = quant::find(format->packed_type)->name;
  nlohmann::json nodes;
  if (model.nodes) {
    nodes = nlohmann::json::array();
    for (const NodeMemory& node : *model.nodes)
      nodes.push_back({{"name", node.name}, {"free_bytes", node.free_bytes}});
  }
  print_json(
      {{"family", c.family},
       {"path", model.path},
       {"model_id", model.model_id},
       {"sha256", model.sha256},
       {"bytes", model.bytes},
       {"parameters", model.parameters},
       {"active_parameters", model.active_parameters},
       {"experts", c.experts},
       {"experts_used", c.experts_used},
       {"dense_layers", std::count(c.dense_layers.begin(), c.dense_layers.end(), true)},
       {"formats", formats},
       {"becomes", becomes},
       {"grows_bytes", model.grows_bytes},
       {"layers", c.layers},
       {"channels", c.channels},
       {"ffn_channels", c.ffn_channels},
       {"heads", c.heads},
       {"kv_heads", c.kv_heads},
       {"head_dim", c.head_dim},
       {"vocabulary", c.vocabulary},
       {"context", c.context_max},
       {"window", c.window},
       {"labels", c.labels},
       {"kv", model.kv_type},
       {"tokenizer", model.tokenizer.empty() ? nlohmann::json() : nlohmann::json(model.tokenizer)},
       {"chat", model.config.causal && model.chat.is_ok()},
       {"need_bytes", model.need_bytes},
       {"offered_bytes", model.offered_bytes},
       {"fits", model.nodes ? model.need_bytes <= model.free_bytes() : model.fits()},
       {"nodes", nodes},
       {"runs", verdict(model)}});
}

// Says what a format becomes in memory, and what that costs.
std::string change_text(const quant::Format& format, std::uint64_t grows_bytes) {
  const quant::Format& to = *quant::find(format.packed_type);
  const std::string text = std::string(format.name) + " becomes " + std::string(to.name) +
                           " in memory, which takes " + format_bytes(grows_bytes) +
                           " more than the file";
  if (format.read_error == 0) return text + " and loses nothing";
  const std::string most = format_number(100.0 * static_cast<double>(format.read_error), 2) + " %";
  return text + " and changes a weight by at most " + most +
         (to.block_elements > 1
              ? " of the largest of " + std::to_string(to.block_elements) + " weights"
              : "");
}

void print_text_of(const Description& model) {
  const model::ModelConfig& c = model.config;
  const auto row = [](const char* name, const std::string& value) {
    std::printf("%-11s %s\n", name, value.c_str());
  };
  row("family", c.family + (c.causal ? "" : ", an encoder"));
  row("file", model.path);
  row("model id", model.model_id);
  row("sha256", model.sha256);
  row("size", format_bytes(model.bytes));
  std::string parameters =
      format_number(static_cast<double>(model.parameters) / 1e6, 1) + " million";
  if (c.experts > 0)
    parameters += ", " + format_number(static_cast<double>(model.active_parameters) / 1e6, 1) +
                  " million of them active: " + std::to_string(c.experts_used) + " of " +
                  std::to_string(c.experts) + " experts";
  const auto dense = std::count(c.dense_layers.begin(), c.dense_layers.end(), true);
  if (dense > 0)
    parameters +=
        ", and " + std::to_string(dense) + (dense == 1 ? " layer" : " layers") + " without experts";
  row("parameters", parameters);
  std::string formats;
  for (const auto& [name, parameters] : model.formats) {
    const double share = 100.0 * static_cast<double>(parameters) /
                         static_cast<double>(std::max<std::uint64_t>(model.parameters, 1));
    formats += (formats.empty() ? "" : ", ") + name + " " + format_number(share, 1) + " %";
  }
  row("formats", formats);
  for (const auto& [format, grows] : model.changed) row("", change_text(*format, grows));
  row("layers", std::to_string(c.layers) + " of " + std::to_string(c.channels) +
                    " channels, feed-forward " + std::to_string(c.ffn_channels));
  row("attention", std::to_string(c.heads) + " heads and " + std::to_string(c.kv_heads) +
                       " key/value heads of " + std::to_string(c.head_dim) +
                       (c.window > 0 ? ", window " + std::to_string(c.window) : ""));
  row("vocabulary", std::to_string(c.vocabulary));
  row("context", std::to_string(c.context_max) + " positions, keys and values in " + model.kv_type);
  if (c.labels > 0) row("labels", std::to_string(c.labels));
  row("tokenizer", model.tokenizer.empty() ? "none: give token ids" : model.tokenizer);
  row("memory", format_bytes(model.need_bytes) + " with keys and values of " +
                    std::to_string(model.positions) + " positions; this machine offers " +
                    format_bytes(model.offered_bytes));
  if (model.nodes) {
    std::string free;
    for (const NodeMemory& node : *model.nodes)
      free += (free.empty() ? "" : ", ") + node.name + " " + format_bytes(node.free_bytes);
    row("nodes", "free memory: " + (free.empty() ? "no node is ready" : free));
  }
  row("runs", verdict(model));
}

int show(const ShowOptions& options) {
  set_up_logging(LogLevel::kWarning, options.common.verbose);
  const Result<Description> described = describe(options);
  if (!described) return fail(described.status(), options.common.json);
  if (options.common.json) {
    print_json_of(*described);
  } else {
    print_text_of(*described);
  }
  return kExitOk;
}

}  // namespace

Action add_show(CLI::App& app) {
  auto options = std::make_shared<ShowOptions>();
  add_model_argument(app, options->model);
  add_cluster_option(app, options->cluster);
  add_common_options(app, options->common);
  app.footer(
      "Says whether the model runs on this machine, or on the nodes of the cluster if there is\n"
      "one, or else the one thing that is missing, without reading its weights. The file is\n"
      "hashed the first time.\n"
      "\n"
      "Examples:\n"
      "  troupe show smollm2-135m\n"
      "  troupe show ./folder --json   "
      "{\"family\",\"path\",\"model_id\",\"sha256\",\"bytes\",\"parameters\",\n"
      "                            "
      "\"active_parameters\",\"experts\",\"experts_used\",\"dense_layers\",\n"
      "                            "
      "\"formats\":{NAME:PARAMETERS},\"becomes\":{NAME:NAME},\"grows_bytes\",\"layers\",\n"
      "                            \"channels\",\"ffn_channels\",\n"
      "                            \"heads\",\"kv_heads\",\"head_dim\",\"vocabulary\",\"context\","
      "\"window\",\n"
      "                            \"labels\",\"kv\",\"tokenizer\",\"chat\",\"need_bytes\",\n"
      "                            "
      "\"offered_bytes\",\"fits\",\"nodes\":[{\"name\",\"free_bytes\"}] or null,\n"
      "                            \"runs\"}");
  return [options] { return show(*options); };
}

}  // namespace troupe::tools
