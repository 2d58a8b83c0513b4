#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <troupe/model/tokenizer/tokenizer_parts.h>

// Readers of the parts of Hugging Face's tokenizer.json. For the .cpp files of this room. What is
// not known is kBadData naming the field and the value: half a tokenizer is none.
// Source: the serialized forms of the Rust crate `tokenizers`.

namespace troupe::model {

Status bad_tokenizer(const std::string& what);  // begins with "tokenizer.json: "

// Fields of an object, `where` naming the object; a missing field or null is `fallback`.
Result<bool> json_flag(const nlohmann::json& object, const char* field, bool fallback,
                       const std::string& where);
Result<std::string> json_string(const nlohmann::json& object, const char* field,
                                const std::string& where);

Status read_normalizers(const nlohmann::json& step, std::vector<Normalizer>* out);
// `byte_level`: set when words are looked up by bytes.
Status read_cuts(const nlohmann::json& step, std::vector<Cut>* out, bool* byte_level);

// How a token's text becomes its bytes in the middle of a text.
struct PieceRules {
  bool byte_level = false;
  bool byte_fallback = false;
  bool joins_words = false;    // WordPiece: a space before what is no continuation
  bool cleans_up = false;      // WordPiece: no space before "." and the like
  bool space_between = false;  // no decoder: a space before each
  std::string continuation;    // WordPiece's prefix, "##"
  std::string word_end;        // BPE's suffix, which becomes a space
  std::vector<std::pair<std::string, std::string>> replacements;
  bool drops_first_space = false;
};
Result<PieceRules> read_decoder(const nlohmann::json& step);
std::string piece_of(const std::string& token, const PieceRules& rules);

}  // namespace troupe::model
