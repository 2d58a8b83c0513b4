#include <algorithm>
#include <cmath>
#include <string>
#include <tuple>
#include <variant>
#include <vector>

#include <troupe/model/families/read.h>
#include <troupe/model/files/header_keys.h>
#include <troupe/runtime/numerics/trig.h>
#include <troupe/runtime/text/utf8.h>

// Rotary positions: the keys of a GGUF header, and the fields of config.json that they are made of.

namespace troupe::model {
namespace {

constexpr double kRopeFactorMax = 1e6;

// Source: Peng et al. 2023, section 3.4.
double yarn_magnitude(double factor, double part = 1.0) {
  return factor > 1.0 ? 1.0 + 0.1 * part * natural_log(factor) : 1.0;
}

}  // namespace

Status HeaderReader::rotary(ModelConfig* config, bool interleaved) const {
  TROUPE_ASSIGN_OR_RETURN(config->rotary_dim, u64("rope.dimension_count", config->head_dim));
  TROUPE_ASSIGN_OR_RETURN(config->rope_theta, f64("rope.freq_base", 10000.0));
  TROUPE_ASSIGN_OR_RETURN(config->rope_interleaved,
                          flag(header_keys::kRopeInterleaved, interleaved));
  config->rope_factors = header_.tensor("rope_freqs.weight") != nullptr;
  config->rope_short_factors =
      !config->rope_factors && header_.tensor("rope_factors_short.weight") != nullptr;
  if (const auto found = header_.metadata.find(header_keys::kRopeDivisors);
      found != header_.metadata.end()) {
    const auto* divisors = std::get_if<std::vector<double>>(&found->second);
    if (divisors == nullptr)
      return Status(Code::kBadData,
                    std::string(header_keys::kRopeDivisors) + " is not an array of numbers");
    config->rope_divisors = *divisors;
  }
  TROUPE_RETURN_IF_ERROR(scaling(config));
  if (header_.metadata.contains(header_keys::kRopeMagnitude)) {
    TROUPE_ASSIGN_OR_RETURN(config->rope_magnitude, header_.f64(header_keys::kRopeMagnitude));
  }
  return Status::ok();
}

Status HeaderReader::scaling(ModelConfig* config) const {
  // Files made in 2023 have "rope.scale_linear". A factor without a type is linear, and a type
  // without a factor leaves the frequencies as they are. llama.cpp reads these keys in the same
  // way.
  const char* const factor = has("rope.scale_linear") && !has("rope.scaling.factor")
                                 ? "rope.scale_linear"
                                 : "rope.scaling.factor";
  std::string kind = has(factor) ? "linear" : "none";
  if (has("rope.scaling.type")) {
    TROUPE_ASSIGN_OR_RETURN(kind, header_.string(key("rope.scaling.type")));
  }
  TROUPE_ASSIGN_OR_RETURN(config->rope_magnitude, f64("rope.scaling.attn_factor", 1.0));
  const bool divides = config->rope_short_factors || !config->rope_divisors.empty();
  if (divides && (kind == "none" || kind == "longrope")) return short_context(config);
  if (kind == "none" || kind.empty()) return Status::ok();
  if (kind != "linear" && kind != "llama3" && kind != "yarn")
    return unsupported("rotary scaling of the kind " + in_quotes(kind, 40));
  if (kind != "linear" || has(factor)) {
    TROUPE_ASSIGN_OR_RETURN(config->rope_factor, header_.f64(key(factor)));
  }
  if (config->rope_factor == 0.0)
    config->rope_factor = 1.0;  // a factor of 0 says that there is none
  config->rope_scaling = RopeScaling::kLinear;
  if (kind == "linear") return Status::ok();
  TROUPE_ASSIGN_OR_RETURN(config->rope_context, u64("rope.scaling.original_context_length"));
  return kind == "yarn" ? yarn(config) : llama3(config);
}

Status HeaderReader::llama3(ModelConfig* config) const {
  config->rope_scaling = RopeScaling::kLlama3;
  TROUPE_ASSIGN_OR_RETURN(config->rope_low_factor, f64("rope.scaling.low_freq_factor", 1.0));
  TROUPE_ASSIGN_OR_RETURN(config->rope_high_factor, f64("rope.scaling.high_freq_factor", 4.0));
  return Status::ok();
}

Status HeaderReader::yarn(ModelConfig* config) const {
  config->rope_scaling = RopeScaling::kYarn;
  TROUPE_ASSIGN_OR_RETURN(config->rope_beta_fast, f64("rope.scaling.yarn_beta_fast", 32.0));
  TROUPE_ASSIGN_OR_RETURN(config->rope_beta_slow, f64("rope.scaling.yarn_beta_slow", 1.0));
  TROUPE_ASSIGN_OR_RETURN(config->rope_whole_pairs, flag(header_keys::kRopeWholePairs, true));
  if (config->rope_factor >= 1.0 && config->rope_factor <= kRopeFactorMax)
    config->rope_magnitude *= yarn_magnitude(config->rope_factor);
  return Status::ok();
}

// Limits the context of a model that has one list of divisors for the positions of its first
// training, and another one for longer texts. The second list would change every earlier position.
// Positions must not depend on what comes later, so the model runs within its first context.
Status HeaderReader::short_context(ModelConfig* config) const {
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t first,
                          u64("rope.scaling.original_context_length", config->context_max));
  config->context_max = std::min<std::size_t>(config->context_max, first);
  return Status::ok();
}

namespace {

// Where a config.json has the fields of rotary positions: in `place`, the object of folders made
// since 2025, or in the older "rope_scaling".
struct RopeFields {
  const HfConfig& config;
  std::string place;
};

// Returns the kind of scaling that a place of config.json names; "" if it names none.
Result<std::string> rope_kind(const HfConfig& config, const std::string& place) {
  return config.string(place + (config.has(place + "rope_type") ? "rope_type" : "type"), "");
}

Status contradict(const HfConfig& config, const std::string& old, const std::string& now) {
  return config.bad("the fields \"" + old + "\" and \"" + now +
                    "\" contradict each other; leave the one out that the model was not "
                    "trained with");
}

// Checks the two places of the fields. Folders made since 2025 have "rope_parameters". In older
// ones, the base and the rotated part are fields of their own beside "rope_scaling". A folder that
// has both must say the same in both.
Status check_rope_places(const RopeFields& fields) {
  const HfConfig& config = fields.config;
  const std::string old = "rope_scaling.", now = fields.place;
  for (const std::string& inner : {old, now})
    for (const char* field : {"rope_theta", "partial_rotary_factor"})
      if (config.differ(field, inner + field)) return contradict(config, field, inner + field);
  TROUPE_ASSIGN_OR_RETURN(const std::string old_kind, rope_kind(config, old));
  TROUPE_ASSIGN_OR_RETURN(const std::string kind, rope_kind(config, now));
  if (!old_kind.empty() && !kind.empty() && old_kind != kind)
    return contradict(config, "rope_scaling", "rope_parameters");
  for (const char* field :
       {"rope_theta", "factor", "low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow",
        "attention_factor", "partial_rotary_factor", "original_max_position_embeddings"}) {
    if (config.differ(old + field, now + field))
      return contradict(config, old + field, now + field);
  }
  return Status::ok();
}

// Returns the field's name with the place where config.json has it. Where both places have it, they
// agree.
std::string rope_field(const RopeFields& fields, const std::string& field) {
  const std::string now = fields.place + field;
  return fields.config.has(now) || !fields.config.has("rope_scaling") ? now
                                                                      : "rope_scaling." + field;
}

// Does the same for fields that may also be outside the object.
std::string outer_rope_field(const RopeFields& fields, const std::string& field) {
  const std::string inner = rope_field(fields, field);
  return fields.config.has(inner) ? inner : field;
}

// Reads how long the context of the first training was. If no field says so, it was the model's
// own.
Status first_context(const RopeFields& fields, const std::string& scaling, GgufMetadata* out) {
  const HfConfig& config = fields.config;
  std::string context = outer_rope_field(fields, "original_max_position_embeddings");
  if (!config.has(context)) context = "max_position_embeddings";
  TROUPE_ASSIGN_OR_RETURN((*out)[scaling + "original_context_length"],
                          config.size(context, kContextMax));
  return Status::ok();
}

Status hf_llama3_scaling(const RopeFields& fields, const std::string& scaling, GgufMetadata* out) {
  const HfConfig& config = fields.config;
  const std::string low_field = rope_field(fields, "low_freq_factor");
  const std::string high_field = rope_field(fields, "high_freq_factor");
  TROUPE_ASSIGN_OR_RETURN(const double low, config.f64(low_field));
  TROUPE_ASSIGN_OR_RETURN(const double high, config.f64(high_field));
  if (!(low > 0.0 && low < high && high <= kRopeFactorMax))
    return config.bad("the fields \"" + low_field + "\" and \"" + high_field + "\" are " +
                      std::to_string(low) + " and " + std::to_string(high) +
                      ", which do not ascend in (0, 1e6]");
  (*out)[scaling + "low_freq_factor"] = low;
  (*out)[scaling + "high_freq_factor"] = high;
  return Status::ok();
}

Status hf_yarn_scaling(const RopeFields& fields, const std::string& scaling, double factor,
                       GgufMetadata* out) {
  const HfConfig& config = fields.config;
  for (const auto& [field, key, fallback] :
       {std::tuple{"beta_fast", "yarn_beta_fast", 32.0}, {"beta_slow", "yarn_beta_slow", 1.0}}) {
    TROUPE_ASSIGN_OR_RETURN((*out)[scaling + key], config.number(rope_field(fields, field),
                                                                 fallback, 1e-6, kRopeFactorMax));
  }
  TROUPE_ASSIGN_OR_RETURN((*out)[std::string(header_keys::kRopeWholePairs)],
                          config.boolean(rope_field(fields, "truncate"), true));
  TROUPE_ASSIGN_OR_RETURN(const double all, config.f64(rope_field(fields, "mscale_all_dim"), 0.0));
  TROUPE_ASSIGN_OR_RETURN(const double one, config.f64(rope_field(fields, "mscale"), 0.0));
  const double magnitude = one != 0.0 && all != 0.0
                               ? yarn_magnitude(factor, one) / yarn_magnitude(factor, all)
                               : yarn_magnitude(factor);
  TROUPE_ASSIGN_OR_RETURN((*out)[std::string(header_keys::kRopeMagnitude)],
                          config.f64(rope_field(fields, "attention_factor"), magnitude));
  return Status::ok();
}

// Reads the scaling of Phi-3, which has divisors for the first context, and others beyond it.
Status hf_long_scaling(const RopeFields& fields, const std::string& arch, GgufMetadata* out) {
  const HfConfig& config = fields.config;
  const std::string field = rope_field(fields, "short_factor");
  TROUPE_ASSIGN_OR_RETURN(const std::vector<double> divisors, config.numbers(field));
  if (divisors.empty()) return config.bad("the field \"" + field + "\" is missing");
  (*out)[std::string(header_keys::kRopeDivisors)] = divisors;
  TROUPE_ASSIGN_OR_RETURN(const double all, config.f64("max_position_embeddings"));
  const std::string first_field = outer_rope_field(fields, "original_max_position_embeddings");
  TROUPE_ASSIGN_OR_RETURN(const double first, config.number(first_field, all, 2.0, kContextMax));
  (*out)[arch + ".rope.scaling.original_context_length"] = static_cast<std::uint64_t>(first);
  TROUPE_ASSIGN_OR_RETURN(const double factor,
                          config.f64(rope_field(fields, "factor"), all / first));
  const double magnitude =
      factor > 1.0 ? std::sqrt(1.0 + natural_log(factor) / natural_log(first)) : 1.0;
  TROUPE_ASSIGN_OR_RETURN((*out)[std::string(header_keys::kRopeMagnitude)],
                          config.f64(rope_field(fields, "attention_factor"), magnitude));
  return Status::ok();
}

// Reads the number of channels of a head that are rotated.
Status hf_rotated_part(const RopeFields& fields, const std::string& arch, const HfRotary& options,
                       GgufMetadata* out) {
  const HfConfig& config = fields.config;
  const std::string field = outer_rope_field(fields, "partial_rotary_factor");
  TROUPE_ASSIGN_OR_RETURN(const double part, config.f64(field, options.rotated_part));
  if (part == 1.0) return Status::ok();
  if (!options.partial || !(part >= 0.0 && part < 1.0))
    return config.bad("the field \"" + field + "\" is " + std::to_string(part) +
                      ": only a part of each head is rotated, which this version cannot run");
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t channels, config.u64("hidden_size"));
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t heads,
                          config.size("num_attention_heads", kChannelsMax));
  const auto found = out->find(arch + ".attention.key_length");
  const std::uint64_t head_dim =
      found != out->end() ? std::get<std::uint64_t>(found->second) : channels / heads;
  (*out)[arch + ".rope.dimension_count"] =
      static_cast<std::uint64_t>(static_cast<double>(head_dim) * part);
  return Status::ok();
}

}  // namespace

Status hf_rotary(const HfConfig& config, const std::string& arch, GgufMetadata* out,
                 const HfRotary& options) {
  constexpr double kThetaMax = 1e15;
  const RopeFields fields{config, options.place};
  TROUPE_RETURN_IF_ERROR(check_rope_places(fields));
  TROUPE_RETURN_IF_ERROR(hf_rotated_part(fields, arch, options, out));
  (*out)[std::string(header_keys::kRopeInterleaved)] = options.interleaved;
  TROUPE_ASSIGN_OR_RETURN(
      (*out)[arch + ".rope.freq_base"],
      config.number(outer_rope_field(fields, "rope_theta"), options.theta, 1.0, kThetaMax));
  const std::string kind_field =
      rope_field(fields, config.has(rope_field(fields, "rope_type")) ? "rope_type" : "type");
  TROUPE_RETURN_IF_ERROR(
      options.long_factors
          ? config.expect(kind_field, {"default", "linear", "llama3", "yarn", "longrope", "su"})
          : config.expect(kind_field, {"default", "linear", "llama3", "yarn"}));
  TROUPE_ASSIGN_OR_RETURN(const std::string kind, config.string(kind_field, "default"));
  if (kind == "default") return Status::ok();
  if (kind == "longrope" || kind == "su") return hf_long_scaling(fields, arch, out);
  const std::string scaling = arch + ".rope.scaling.";
  const std::string field = rope_field(fields, "factor");
  (*out)[scaling + "type"] = kind;
  TROUPE_RETURN_IF_ERROR(config.f64(field).status());  // the field has no default
  TROUPE_ASSIGN_OR_RETURN(const double factor, config.number(field, 1.0, 1.0, kRopeFactorMax));
  (*out)[scaling + "factor"] = factor;
  if (kind == "linear") return Status::ok();
  TROUPE_RETURN_IF_ERROR(first_context(fields, scaling, out));
  return kind == "llama3" ? hf_llama3_scaling(fields, scaling, out)
                          : hf_yarn_scaling(fields, scaling, factor, out);
}

}  // namespace troupe::model
