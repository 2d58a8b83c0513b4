#include <algorithm>
#include <ctime>
#include <filesystem>

#include <troupe/actors/http/served_models.h>
#include <troupe/model/chat/chat_source.h>
#include <troupe/model/families/read_config.h>
#include <troupe/model/source/open_model.h>
#include <troupe/model/tokenizer/open_tokenizer.h>
#include <troupe/runtime/numerics/arithmetic_version.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::http {
namespace {

constexpr std::size_t kIdBytesMax = 256;

// Returns the model's name in the store, else its file's stem.
std::string default_id(const model::Store& store, const std::string& name,
                       const std::filesystem::path& path) {
  for (const model::ModelEntry& entry : store.list()) {
    if (entry.name == name) return name;
  }
  if (name.rfind("sha256:", 0) == 0 || name.rfind("model:", 0) == 0) return name;
  return std::filesystem::is_directory(path) ? path.filename().string() : path.stem().string();
}

bool is_plain_id(const std::string& id) {
  return !id.empty() && id.size() <= kIdBytesMax && utf8_valid_prefix(id) == id.size() &&
         std::all_of(id.begin(), id.end(),
                     [](char c) { return static_cast<unsigned char>(c) > 0x20 && c != 0x7F; });
}

}  // namespace

Result<ServedModelPtr> read_card(model::Store& store, const ServedModel& served,
                                 std::size_t index) {
  auto card = std::make_shared<ServedModelCard>();
  TROUPE_ASSIGN_OR_RETURN(const std::filesystem::path path, store.resolve(served.model));
  TROUPE_ASSIGN_OR_RETURN(const auto model, model::open_model(path.string()));
  TROUPE_ASSIGN_OR_RETURN(const auto config, model::config_from_gguf(model->header()));
  if (!config.causal) {
    return Status(Code::kFailedPrecondition,
                  served.model + " is an encoder; serve needs a model that generates text");
  }
  card->index = index;
  card->id = served.id.empty() ? default_id(store, served.model, path) : served.id;
  card->source = served.model;
  card->context_max = config.context_max;
  TROUPE_ASSIGN_OR_RETURN(card->tokenizer,
                          model::open_tokenizer(model->header(), config.vocabulary));
  TROUPE_ASSIGN_OR_RETURN(const std::string source, model::chat_source(model->header(), false));
  if (!source.empty()) {
    TROUPE_ASSIGN_OR_RETURN(card->chat_template, model::ChatTemplate::parse(source));
  }
  TROUPE_ASSIGN_OR_RETURN(const model::Manifest manifest, store.manifest(path));
  card->model_id = manifest.model;
  card->sha256 = manifest.file_sha256;
  card->fingerprint =
      "fp_" + manifest.file_sha256.substr(0, 16) + "_a" + std::to_string(kArithmeticVersion);
  card->created_s = static_cast<std::int64_t>(std::time(nullptr));
  return ServedModelPtr(std::move(card));
}

std::size_t common_prefix(std::span<const model::TokenId> a, std::span<const model::TokenId> b) {
  const auto [end, other] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return static_cast<std::size_t>(end - a.begin());
}

std::size_t public_ids(const ServedModelCard& model, std::span<const model::TokenId> prompt) {
  std::size_t most = 0;
  for (const auto& known : model.public_prompts) {
    most = std::max(most, common_prefix(prompt, known));
  }
  return most;
}

Status ServedModels::add(ServedModelPtr card) {
  if (!is_plain_id(card->id)) {
    return Status(Code::kInvalidArgument,
                  "the model's id is " + in_quotes(card->id) +
                      "; give it another one without spaces and control characters");
  }
  if (find(card->id)) {
    return Status(Code::kInvalidArgument,
                  "two models have the id " + in_quotes(card->id) + "; give one of them an alias");
  }
  cards_.push_back(std::move(card));
  return Status::ok();
}

ServedModelPtr ServedModels::find(const std::string& id) const {
  for (const ServedModelPtr& card : cards_) {
    if (card->id == id) return card;
  }
  return nullptr;
}

}  // namespace troupe::http
