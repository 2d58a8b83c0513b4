#pragma once

#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <troupe/model/tokenizer/normalizer.h>
#include <troupe/model/tokenizer/pre_tokenizer.h>
#include <troupe/runtime/status.h>

// Readers of the steps in Hugging Face's tokenizer.json: normalizers, cuts and decoders. For
// tokenizer_json.cpp.
//   Errors: kBadData naming the field and the value that is not known.
// Source: the serialized forms of the Rust crate `tokenizers`.

namespace troupe::model {

// Returns kBadData with a message that begins with "tokenizer.json: ".
Status bad_tokenizer(const std::string& what);

// These read a field of an object, which `where` names in messages. A missing flag or null is
// `fallback`.
Result<bool> json_flag(const nlohmann::json& object, const char* field, bool fallback,
                       const std::string& where);
Result<std::string> json_string(const nlohmann::json& object, const char* field,
                                const std::string& where);

Status read_normalizers(const nlohmann::json& step, std::vector<Normalizer>* out);
// Sets `byte_level` if words are looked up by bytes.
Status read_cuts(const nlohmann::json& step, std::vector<Cut>* out, bool* byte_level);

// How a token's text becomes its bytes in the middle of a text.
struct PieceRules {
  bool byte_level = false;
  bool byte_fallback = false;
  bool joins_words = false;    // WordPiece: a space before each token but continuations
  bool cleans_up = false;      // WordPiece: no space before "." and the like
  bool space_between = false;  // no decoder: a space before each token
  std::string continuation;    // WordPiece's prefix, "##"
  std::string word_end;        // BPE's suffix, which becomes a space
  std::vector<std::pair<std::string, std::string>> replacements;
  bool drops_first_space = false;
};
Result<PieceRules> read_decoder(const nlohmann::json& step);
// Returns the bytes of a token in the middle of a text.
std::string piece_of(const std::string& token, const PieceRules& rules);

}  // namespace troupe::model
