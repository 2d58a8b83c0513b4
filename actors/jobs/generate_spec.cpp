#include <charconv>
#include <optional>
#include <set>

#include <nlohmann/json.hpp>

#include <troupe/actors/jobs/generate_spec.h>
#include <troupe/actors/messages/jobs.h>
#include <troupe/model/config/layer_range.h>

namespace troupe::actors {
namespace {

using nlohmann::json;

// Returns a value as a message shows it: at most 80 bytes of it.
std::string shown(const json& value) {
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() > 80) text = text.substr(0, 77) + "...";
  return text;
}

Status wrong(const std::string& field, const json& value, const std::string& expected) {
  return Status(Code::kInvalidArgument,
                "\"" + field + "\" is " + shown(value) + ", expected " + expected);
}

// Reads the members of one object. A member that no call has read is an error, too.
class Reader {
 public:
  explicit Reader(const json& object) : object_(object) {}

  const json* find(const char* field) {
    known_.insert(field);
    const auto found = object_.find(field);
    return found == object_.end() ? nullptr : &*found;
  }
  void text(const char* field, std::string* out) {
    const json* value = find(field);
    if (value == nullptr || !status_) return;
    if (!value->is_string()) return fail(wrong(field, *value, "a text"));
    *out = value->get<std::string>();
  }
  void flag(const char* field, bool* out) {
    const json* value = find(field);
    if (value == nullptr || !status_) return;
    if (!value->is_boolean()) return fail(wrong(field, *value, "true or false"));
    *out = value->get<bool>();
  }
  template <class T>
  void whole(const char* field, std::uint64_t least, std::uint64_t most, T* out) {
    const json* value = find(field);
    if (value == nullptr || !status_) return;
    const std::string range =
        "a whole number from " + std::to_string(least) + " to " + std::to_string(most);
    if (!value->is_number_unsigned()) return fail(wrong(field, *value, range));
    const auto number = value->get<std::uint64_t>();
    if (number < least || number > most) return fail(wrong(field, *value, range));
    *out = static_cast<T>(number);
  }
  void real(const char* field, float* out) {
    const json* value = find(field);
    if (value == nullptr || !status_) return;
    if (!value->is_number()) return fail(wrong(field, *value, "a number"));
    *out = value->get<float>();
  }
  void texts(const char* field, std::vector<std::string>* out) {
    const json* value = find(field);
    if (value == nullptr || !status_) return;
    bool right = value->is_array();
    for (std::size_t i = 0; right && i < value->size(); ++i) right = (*value)[i].is_string();
    if (!right) return fail(wrong(field, *value, "a list of texts"));
    *out = value->get<std::vector<std::string>>();
  }
  void fail(const Status& why) {
    if (status_) status_ = why;
  }
  // Called after every field was asked for.
  Status finish() {
    for (const auto& [name, value] : object_.items()) {
      if (status_ && !known_.contains(name)) {
        status_ = Status(Code::kInvalidArgument, "there is no field \"" + name.substr(0, 80) +
                                                     "\"; 'troupe submit --help' lists the fields");
      }
    }
    return status_;
  }

 private:
  const json& object_;
  std::set<std::string> known_;
  Status status_;
};

void read_bias(Reader& reader, model::SamplingParams* sampling) {
  const json* bias = reader.find("logit_bias");
  if (bias == nullptr) return;
  if (!bias->is_object()) {
    return reader.fail(wrong("logit_bias", *bias, "{\"TOKEN ID\": number}"));
  }
  for (const auto& [name, value] : bias->items()) {
    const bool digits = !name.empty() && name.size() < 10 &&
                        name.find_first_not_of("0123456789") == std::string::npos;
    if (!digits || !value.is_number()) {
      return reader.fail(wrong("logit_bias", *bias, "{\"TOKEN ID\": number}"));
    }
    sampling->logit_bias.push_back({std::stoi(name), value.get<float>()});
  }
}

void read_messages(Reader& reader, std::vector<ChatTurn>* out) {
  const json* messages = reader.find("messages");
  if (messages == nullptr) return;
  const std::string expected = "[{\"role\",\"content\"},...] of texts";
  bool right = messages->is_array() && !messages->empty();
  for (std::size_t i = 0; right && i < messages->size(); ++i) {
    const json& one = (*messages)[i];
    right = one.is_object() && one.size() == 2 && one.contains("role") && one["role"].is_string() &&
            one.contains("content") && one["content"].is_string();
    if (right) out->push_back({one["role"], one["content"]});
  }
  if (!right) reader.fail(wrong("messages", *messages, expected));
}

void read_ids(Reader& reader, std::vector<model::TokenId>* out) {
  const json* ids = reader.find("prompt_ids");
  if (ids == nullptr) return;
  bool right = ids->is_array() && !ids->empty();
  for (std::size_t i = 0; right && i < ids->size(); ++i) {
    right = (*ids)[i].is_number_unsigned() && (*ids)[i].get<std::uint64_t>() <= INT32_MAX;
    if (right) out->push_back((*ids)[i].get<model::TokenId>());
  }
  if (!right) reader.fail(wrong("prompt_ids", *ids, "a list of token ids"));
}

json head_of(std::uint64_t index, const std::string& id) {
  json object = {{"index", index}};
  if (!id.empty()) object["id"] = json::parse(id, nullptr, false);
  return object;
}

std::string line_of(const json& object) {
  return object.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

constexpr std::uint64_t kTokensMax = 1u << 24;
constexpr std::uint32_t kDefaultTokens = 256;

// Returns the shortest decimal number that reads back as this float: 0.7, not 0.699999988.
double shortest(float value) {
  char digits[32];
  const auto written = std::to_chars(std::begin(digits), std::end(digits), value);
  double number = 0;
  std::from_chars(std::begin(digits), written.ptr, number);
  return number;
}

void write_real(const char* field, float value, float absent, json* object) {
  if (value != absent) (*object)[field] = shortest(value);
}

void write_sampling(const GenerateSpec& spec, json* object) {
  const model::SamplingParams& sampling = spec.base.sampling;
  const model::SamplingParams absent;
  write_real("temperature", sampling.temperature, absent.temperature, object);
  write_real("top_p", sampling.top_p, absent.top_p, object);
  if (sampling.top_k != absent.top_k) (*object)["top_k"] = sampling.top_k;
  write_real("min_p", sampling.min_p, absent.min_p, object);
  write_real("typical", sampling.typical, absent.typical, object);
  write_real("repeat_penalty", sampling.repeat_penalty, absent.repeat_penalty, object);
  write_real("presence_penalty", sampling.presence_penalty, absent.presence_penalty, object);
  write_real("frequency_penalty", sampling.frequency_penalty, absent.frequency_penalty, object);
  if (spec.seeded) (*object)["seed"] = sampling.seed;
  for (const model::LogitBias& one : sampling.logit_bias) {
    (*object)["logit_bias"][std::to_string(one.id)] = shortest(one.bias);
  }
}

}  // namespace

const JsonLimits& spec_limits() {
  static const JsonLimits kLimits{kShardBytesMax, 32, "correct it and submit it again"};
  return kLimits;
}

Result<GenerateSpec> parse_generate_spec(const std::string& text) {
  const auto object = parse_json(text, "it", spec_limits());
  if (!object) {
    return Status(Code::kInvalidArgument, "the job is not a JSON object: " + object.message());
  }
  return read_generate_spec(*object);
}

Result<GenerateSpec> read_generate_spec(const json& object) {
  if (!object.is_object()) {
    return Status(Code::kInvalidArgument, "the job is not a JSON object");
  }
  GenerateSpec spec;
  Submit& base = spec.base;
  model::SamplingParams& sampling = base.sampling;
  std::string layers, kv, activations;
  base.max_tokens = kDefaultTokens;
  Reader reader(object);
  reader.text("model", &spec.open.model);
  reader.text("model_name", &spec.model_name);
  reader.text("layers", &layers);
  reader.text("kv", &kv);
  reader.text("activations", &activations);
  reader.whole("max_tokens", 1, kTokensMax, &base.max_tokens);
  reader.flag("raw", &base.raw);
  reader.text("system", &base.system);
  reader.texts("stop", &base.stop);
  reader.whole("context", 1, kTokensMax, &base.context);
  spec.open.context = base.context;
  reader.real("temperature", &sampling.temperature);
  reader.real("top_p", &sampling.top_p);
  reader.whole("top_k", 0, kTokensMax, &sampling.top_k);
  reader.real("min_p", &sampling.min_p);
  reader.real("typical", &sampling.typical);
  reader.real("repeat_penalty", &sampling.repeat_penalty);
  reader.real("presence_penalty", &sampling.presence_penalty);
  reader.real("frequency_penalty", &sampling.frequency_penalty);
  spec.seeded = object.contains("seed");
  reader.whole("seed", 0, UINT64_MAX, &sampling.seed);
  read_bias(reader, &sampling);
  TROUPE_RETURN_IF_ERROR(reader.finish());
  if (spec.open.model.empty()) {
    return Status(Code::kInvalidArgument, "\"model\" is missing: say which model is to answer");
  }
  if (!kv.empty() && kv != "f16" && kv != "f32") return wrong("kv", kv, "\"f16\" or \"f32\"");
  if (!activations.empty() && activations != "f16" && activations != "f32") {
    return wrong("activations", activations, "\"f16\" or \"f32\"");
  }
  std::optional<kernels::KvType> kv_type;
  if (!kv.empty()) kv_type = kv == "f16" ? kernels::KvType::kF16 : kernels::KvType::kF32;
  spec.open.kv = kv_code(kv_type, activations == "f16");
  if (!layers.empty()) {
    TROUPE_ASSIGN_OR_RETURN(const auto ranges, model::parse_layer_ranges(layers));
    set_layer_ranges(ranges, &spec.open);
  }
  if (base.raw && !base.system.empty()) {
    return Status(Code::kInvalidArgument,
                  "\"raw\" leaves the chat template out, where \"system\" would go");
  }
  TROUPE_RETURN_IF_ERROR(model::validate(sampling));
  return spec;
}

std::string to_json(const GenerateSpec& spec) {
  const Submit& base = spec.base;
  json object = {{"model", spec.open.model}, {"max_tokens", base.max_tokens}};
  if (!spec.model_name.empty()) object["model_name"] = spec.model_name;
  std::string layers;
  for (std::size_t i = 0; i < spec.open.layer_begins.size(); ++i) {
    const model::LayerRange range{spec.open.layer_begins[i], spec.open.layer_ends.at(i)};
    layers += (i == 0 ? "" : ",") + model::to_string(range);
  }
  if (!layers.empty()) object["layers"] = layers;
  if (const auto kv = kv_type_of(spec.open.kv)) {
    object["kv"] = *kv == kernels::KvType::kF16 ? "f16" : "f32";
  }
  if (f16_activations_of(spec.open.kv)) object["activations"] = "f16";
  if (base.raw) object["raw"] = true;
  if (!base.system.empty()) object["system"] = base.system;
  if (!base.stop.empty()) object["stop"] = base.stop;
  if (base.context != 0) object["context"] = base.context;
  write_sampling(spec, &object);
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<GenerateLine> parse_generate_line(const GenerateSpec& spec, const std::string& text) {
  const auto parsed = parse_json(text, "it", spec_limits());
  if (!parsed || !parsed->is_object()) {
    return Status(Code::kInvalidArgument,
                  "is not a JSON object in UTF-8, such as {\"prompt\": \"Why is the sky blue?\"}" +
                      (parsed ? "" : ": " + parsed.message()));
  }
  const json& object = *parsed;
  GenerateLine line;
  line.submit = spec.base;
  Reader reader(object);
  reader.text("prompt", &line.submit.prompt);
  read_messages(reader, &line.submit.messages);
  read_ids(reader, &line.submit.prompt_ids);
  reader.whole("seed", 0, UINT64_MAX, &line.submit.sampling.seed);
  reader.whole("max_tokens", 1, kTokensMax, &line.submit.max_tokens);
  if (const json* id = reader.find("id")) {
    if (!id->is_string() && !id->is_number_integer()) {
      return wrong("id", *id, "a text or a whole number");
    }
    line.id = id->dump();
  }
  TROUPE_RETURN_IF_ERROR(reader.finish());
  const int kinds =
      !line.submit.prompt.empty() + !line.submit.messages.empty() + !line.submit.prompt_ids.empty();
  if (kinds == 1) return line;
  return Status(Code::kInvalidArgument,
                std::string(kinds == 0 ? "has no prompt" : "has several prompts") +
                    "; give one of \"prompt\", \"messages\" and \"prompt_ids\"");
}

std::string generate_result(std::uint64_t index, const std::string& id, const Finished& finished) {
  json object = head_of(index, id);
  object["text"] = finished.text;
  object["token_ids"] = finished.token_ids;
  object["finish_reason"] = finished.finish_reason;
  return line_of(object);
}

std::string generate_error(std::uint64_t index, const std::string& id, const Status& why) {
  json object = head_of(index, id);
  object["error"] = {{"code", std::string(code_name(why.code()))}, {"message", why.message()}};
  return line_of(object);
}

std::string pack_lines(std::uint64_t first, const std::vector<std::string>& lines) {
  std::string shard = std::to_string(first) + "\n";
  for (const std::string& line : lines) shard += line + "\n";
  return shard;
}

Result<PackedLines> unpack_lines(const std::string& shard) {
  PackedLines packed;
  const std::size_t head = shard.find('\n');
  const bool digits = head != std::string::npos && head > 0 && head < 19 &&
                      shard.find_first_not_of("0123456789") == head;
  if (!digits || shard.back() != '\n') {
    return Status(Code::kInvalidArgument,
                  "a shard begins with a line that has the number of its first line, and ends with "
                  "a newline");
  }
  packed.first = std::stoull(shard.substr(0, head));
  for (std::size_t at = head + 1; at < shard.size();) {
    const std::size_t end = shard.find('\n', at);
    packed.lines.push_back(shard.substr(at, end - at));
    at = end + 1;
  }
  return packed;
}

}  // namespace troupe::actors
