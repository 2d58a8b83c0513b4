#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <troupe/actors/troupe/serve.h>
#include <troupe/model/chat/chat_template.h>
#include <troupe/model/store/store.h>
#include <troupe/model/tokenizer/tokenizer.h>
#include <troupe/runtime/status.h>

// The models of a server, as far as it needs them itself: their names, tokenizers and chat
// templates. Immutable after opening; any thread may read.

namespace troupe::http {

struct ServedModelCard {
  std::size_t index = 0;    // in the gateway's list
  std::string id;           // what requests call it
  std::string source;       // what the cluster opens: a path, model:HEX or sha256:HEX
  std::string sha256;       // of its file
  std::string model_id;     // the id that the model's parts prove
  std::string fingerprint;  // weights and arithmetic: equal ones give equal bits
  std::int64_t created_s = 0;
  std::size_t context_max = 0;  // positions that prompt and answer may take
  std::shared_ptr<const model::Tokenizer> tokenizer;
  std::shared_ptr<const model::ChatTemplate> chat_template;  // null: the model has none
  std::vector<std::vector<model::TokenId>> public_prompts;   // public_prompts.h
};
using ServedModelPtr = std::shared_ptr<const ServedModelCard>;

// Reads the header of the model's file, and hashes the file if that was not done before.
//   Errors: those of Store::resolve and open_model; kFailedPrecondition for an encoder.
Result<ServedModelPtr> read_card(model::Store& store, const ServedModel& served, std::size_t index);

// Returns the number of ids with which both begin.
std::size_t common_prefix(std::span<const model::TokenId> a, std::span<const model::TokenId> b);
// Returns the number of leading ids of a prompt that are not secret.
std::size_t public_ids(const ServedModelCard& model, std::span<const model::TokenId> prompt);

class ServedModels {
 public:
  // Adds a model. Errors: kInvalidArgument (two models of one id, an id that no request can name).
  Status add(ServedModelPtr card);
  // Returns null if there is no such model.
  ServedModelPtr find(const std::string& id) const;
  const std::vector<ServedModelPtr>& all() const { return cards_; }

 private:
  std::vector<ServedModelPtr> cards_;
};

}  // namespace troupe::http
