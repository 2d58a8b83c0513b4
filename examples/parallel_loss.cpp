// Computes the loss of a small batch in four parts by four actors, as data-parallel training
// begins. An encoder (all-minilm-l6-v2), its pooler, and a linear classifier on top; the first 32
// rows of a JSONL file of {"text", "label"}.
//   example_parallel_loss MODEL_FOLDER train.jsonl
// Each part gives the sum of its rows' losses; sums are added in the order of the parts, and
// divided once by the number of rows. So the bits do not depend on which actor computed which part:
// they are those of one actor that does all parts in turn.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>

#include <caf/all.hpp>
#include <nlohmann/json.hpp>

#include <troupe/model/families/read_config.h>
#include <troupe/model/local/evaluate.h>
#include <troupe/model/source/open_model.h>
#include <troupe/model/tokenizer/tokenizer.h>
#include <troupe/model/tokenizer/tokenizer_gguf.h>
#include <troupe/model/transformer/stage.h>

namespace {

using namespace troupe;

constexpr std::size_t kRows = 32, kParts = 4, kTokensMax = 64;
const std::vector<std::string> kLabels = {"editors", "games", "graphics", "mail",
                                          "math",    "net",   "science",  "sound"};

struct Row {
  std::vector<model::TokenId> ids;
  std::size_t label = 0;
};

// What all actors share; none of them changes it.
struct Shared {
  std::unique_ptr<model::WholeModel> source;
  model::ModelConfig config;
  std::vector<float> pooler_weight, pooler_bias;  // (C,C), (C)
  std::vector<Row> rows;
};
using SharedPtr = std::shared_ptr<const Shared>;

Result<std::vector<float>> floats(const model::TensorSource& source, const char* name) {
  TROUPE_ASSIGN_OR_RETURN(const auto bytes, source.bytes(name));
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

Status read_rows(const char* path, Shared* out) {
  TROUPE_ASSIGN_OR_RETURN(const auto tokenizer, model::tokenizer_from_gguf(out->source->header()));
  std::ifstream file(path);
  for (std::string line; out->rows.size() < kRows && std::getline(file, line);) {
    const auto object = nlohmann::json::parse(line, nullptr, false);
    if (!object.is_object() || !object.contains("text") || !object.contains("label")) {
      return Status(Code::kBadData, std::string(path) + ": a line has no text and label");
    }
    Row row;
    TROUPE_ASSIGN_OR_RETURN(row.ids, tokenizer->encode(object["text"].get<std::string>(), {}));
    if (row.ids.size() > kTokensMax) {  // a text that is cut keeps its end token
      row.ids[kTokensMax - 1] = row.ids.back();
      row.ids.resize(kTokensMax);
    }
    const auto label = std::find(kLabels.begin(), kLabels.end(), object["label"]);
    if (label == kLabels.end()) return Status(Code::kBadData, "an unknown label: " + line);
    row.label = static_cast<std::size_t>(label - kLabels.begin());
    out->rows.push_back(std::move(row));
  }
  if (out->rows.size() == kRows) return Status::ok();
  return Status(Code::kBadData, std::string(path) + " has fewer than 32 rows");
}

Result<SharedPtr> prepare(const char* folder, const char* rows) {
  auto shared = std::make_shared<Shared>();
  TROUPE_ASSIGN_OR_RETURN(shared->source, model::open_model(folder));
  TROUPE_ASSIGN_OR_RETURN(shared->config, model::config_from_gguf(shared->source->header()));
  TROUPE_ASSIGN_OR_RETURN(shared->pooler_weight, floats(*shared->source, "cls.weight"));
  TROUPE_ASSIGN_OR_RETURN(shared->pooler_bias, floats(*shared->source, "cls.bias"));
  TROUPE_RETURN_IF_ERROR(read_rows(rows, shared.get()));
  return SharedPtr(shared);
}

// -log softmax(classifier(tanh(pooler(x_0))))[label]; classifier weight[i][j] =
// 0.02 sin(i C + j + 1), bias 0.
double loss_of(const Shared& shared, const float* first_row, std::size_t label) {
  const std::size_t channels = shared.config.channels;
  std::vector<double> pooled(channels), scores(kLabels.size());
  for (std::size_t i = 0; i < channels; ++i) {
    double sum = shared.pooler_bias[i];
    for (std::size_t j = 0; j < channels; ++j) {
      sum += double{shared.pooler_weight[i * channels + j]} * double{first_row[j]};
    }
    pooled[i] = std::tanh(sum);
  }
  double total = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    for (std::size_t j = 0; j < channels; ++j) {
      scores[i] += 0.02 * std::sin(static_cast<double>(i * channels + j + 1)) * pooled[j];
    }
    total += std::exp(scores[i]);
  }
  return std::log(total) - scores[label];
}

// An actor that computes parts: it takes a part's number, and answers with the number and the sum
// of the losses of its rows.
using part_actor = caf::typed_actor<caf::replies_to<std::uint32_t>::with<std::uint32_t, double>>;
struct PartState {
  std::unique_ptr<Device> device;
  std::unique_ptr<model::Stage> stage;
};

Result<double> sum_of_part(PartState& state, const Shared& shared, std::size_t part) {
  if (!state.stage) {
    TROUPE_ASSIGN_OR_RETURN(state.device, Device::create({.threads = 1, .pin = false}));
    TROUPE_ASSIGN_OR_RETURN(
        state.stage, model::Stage::load(*shared.source, shared.config, {0, shared.config.layers},
                                        *state.device, {}));
  }
  double sum = 0;
  for (std::size_t i = part * kRows / kParts; i < (part + 1) * kRows / kParts; ++i) {
    TROUPE_ASSIGN_OR_RETURN(const std::vector<float> hidden,
                            model::sequence_hidden(*state.stage, shared.rows[i].ids, {}));
    sum += loss_of(shared, hidden.data(), shared.rows[i].label);
  }
  return sum;
}

part_actor::behavior_type behavior(part_actor::stateful_pointer<PartState> self, SharedPtr shared) {
  return {[self, shared](std::uint32_t part) -> caf::result<std::uint32_t, double> {
    const auto sum = sum_of_part(self->state, *shared, part);
    if (!sum) std::fprintf(stderr, "%s\n", sum.message().c_str());
    return {part, sum ? *sum : std::nan("")};
  }};
}

// Gives the parts to the actors in turn; returns the loss of all rows, or NaN.
double mean_loss(caf::actor_system& system, const SharedPtr& shared, std::size_t actors) {
  std::vector<part_actor> team;
  for (std::size_t i = 0; i < actors; ++i) {
    team.push_back(system.spawn<caf::detached>(behavior, shared));
  }
  caf::scoped_actor self(system);
  for (std::uint32_t part = 0; part < kParts; ++part) self->send(team[part % actors], part);
  std::vector<double> sums(kParts);
  for (std::size_t i = 0; i < kParts; ++i) {
    self->receive([&](std::uint32_t part, double sum) { sums[part] = sum; });
  }
  for (const part_actor& one : team) self->send_exit(one, caf::exit_reason::user_shutdown);
  double sum = 0;
  for (const double part : sums) sum += part;
  return sum / static_cast<double>(kRows);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s MODEL_FOLDER train.jsonl\n", argv[0]);
    return 2;
  }
  const auto shared = prepare(argv[1], argv[2]);
  if (!shared) {
    std::fprintf(stderr, "%s\n", shared.message().c_str());
    return 1;
  }
  caf::actor_system_config config;
  caf::actor_system system(config);
  const double parallel = mean_loss(system, *shared, kParts);
  const double serial = mean_loss(system, *shared, 1);
  std::printf("four actors  %.17g\none actor    %.17g\n%s\n", parallel, serial,
              parallel == serial ? "equal" : "different");
  return parallel == serial ? 0 : 1;
}
