#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include <troupe/model/tokenizer/pre_tokenizer_families.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

constexpr std::string_view kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen35 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N})"
    R"(| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kGpt4o =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
// GPT-2's pattern without its last part: the white space that remains is a word of its own.
constexpr std::string_view kGpt2Words =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))";
constexpr std::string_view kDeepseek3 =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
    R"(| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
// The letters with two cases, in the Unicode version of DeepSeek's tokenizer.
constexpr std::string_view kDeepseekLetters =
    R"(\s?[\x{41}-\x{5a}\x{61}-\x{7a}\x{b5}\x{c0}-\x{d6}\x{d8}-\x{f6}\x{f8}-\x{1ba})"
    R"(\x{1bc}-\x{1bf}\x{1c4}-\x{293}\x{295}-\x{2af}\x{370}-\x{373}\x{376}-\x{377})"
    R"(\x{37b}-\x{37d}\x{37f}\x{386}\x{388}-\x{38a}\x{38c}\x{38e}-\x{3a1}\x{3a3}-\x{3f5})"
    R"(\x{3f7}-\x{481}\x{48a}-\x{52f}\x{531}-\x{556}\x{10a0}-\x{10c5}\x{13a0}-\x{13f5})"
    R"(\x{13f8}-\x{13fd}\x{1c90}-\x{1cba}\x{1cbd}-\x{1cbf}\x{1d00}-\x{1d2b}\x{1d6b}-\x{1d77})"
    R"(\x{1d79}-\x{1d9a}\x{1e00}-\x{1f15}\x{1f18}-\x{1f1d}\x{1f20}-\x{1f45}\x{1f48}-\x{1f4d})"
    R"(\x{1f50}-\x{1f57}\x{1f59}\x{1f5b}\x{1f5d}\x{1f5f}-\x{1f7d}\x{1f80}-\x{1fb4})"
    R"(\x{1fb6}-\x{1fbc}\x{1fbe}\x{1fc2}-\x{1fc4}\x{1fc6}-\x{1fcc}\x{1fd0}-\x{1fd3})"
    R"(\x{1fd6}-\x{1fdb}\x{1fe0}-\x{1fec}\x{1ff2}-\x{1ff4}\x{1ff6}-\x{1ffc}\x{2102}\x{2107})"
    R"(\x{210a}-\x{2113}\x{2115}\x{2119}-\x{211d}\x{2124}\x{2126}\x{2128}\x{212a}-\x{212d})"
    R"(\x{212f}-\x{2134}\x{2139}\x{213c}-\x{213f}\x{2145}-\x{2149}\x{214e}\x{2183}-\x{2184})"
    R"(\x{2c00}-\x{2c7b}\x{2c7e}-\x{2ce4}\x{2ceb}-\x{2cee}\x{2cf2}-\x{2cf3}\x{a640}-\x{a66d})"
    R"(\x{a680}-\x{a69b}\x{a722}-\x{a76f}\x{a771}-\x{a787}\x{a78b}-\x{a78e}\x{ab70}-\x{abbf})"
    R"(\x{fb00}-\x{fb06}\x{fb13}-\x{fb17}\x{ff21}-\x{ff3a}\x{ff41}-\x{ff5a})"
    R"(\x{10400}-\x{1044f}\x{104b0}-\x{104d3}\x{104d8}-\x{104fb}\x{10c80}-\x{10cb2})"
    R"(\x{10cc0}-\x{10cf2}\x{118a0}-\x{118df}\x{1e900}-\x{1e943}]+)";
constexpr std::string_view kDeepseekSigns =
    R"(\s?[!-/:-~\x{ff01}-\x{ff0f}\x{ff1a}-\x{ff5e}\x{2018}-\x{201f}\x{3000}-\x{3002}]+)";
constexpr std::string_view kDeepseekScripts =
    R"([\x{4e00}-\x{9fa5}\x{0800}-\x{4e00}\x{ac00}-\x{d7ff}]+)";

struct Row {
  std::string_view name;
  // The patterns are applied in order, each to the pieces that the previous one has left.
  std::array<std::string_view, 6> patterns;
  bool whole_words = false;
  bool adds_bos = false;
  bool composes = false;  // the text is brought to NFC first
};

// Sources: the tokenizer.json files of these families ("Split" and "Digits" steps), under the
// names that convert_hf_to_gguf.py of llama.cpp gives them. llama.cpp itself leaves out two of
// their steps, which are kept here: Qwen2 normalizes to NFC, and DeepSeek LLM cuts numbers into
// digits (DeepSeek-AI 2024, section 2.1), for which llama.cpp has \p{N}+.
constexpr Row kRows[] = {
    {"gpt-2", {kGpt2}},
    {"gpt2", {kGpt2}},
    {"phi-2", {kGpt2}},
    {"olmo", {kGpt2}},
    {"mpt", {kGpt2}},
    {"jais", {kGpt2}},
    {"exaone4", {kGpt2}},
    {"trillion", {kGpt2}},
    {"granite-docling", {kGpt2}},
    {"gigachat", {kGpt2}},
    {"mellum", {kGpt2}},
    {"modern-bert", {kGpt2}},
    {"roberta-bpe", {kGpt2}},
    {"smollm", {R"(\p{N})", kGpt2}},
    {"starcoder", {R"(\p{N})", kGpt2}},
    {"refact", {R"(\p{N})", kGpt2}},
    {"command-r", {R"(\p{N})", kGpt2}},
    {"codeshell", {R"(\p{N})", kGpt2}},
    {"exaone", {R"(\p{N})", kGpt2}},
    {"minerva-7b", {R"(\p{N})", kGpt2}},
    {"falcon", {R"([\p{P}\$\+<=>\^~\|`]+)", kGpt2Words, R"([0-9][0-9][0-9])"}},
    {"llama-bpe", {kLlama3}, true, true},
    {"llama3", {kLlama3}, true, true},
    {"llama-v3", {kLlama3}, true, true},
    {"falcon3", {kLlama3}, true, true},
    {"falcon-h1", {kLlama3}, true, true},
    {"pixtral", {kLlama3}, true, true},
    {"lfm2", {kLlama3}, true, true},
    {"midm-2.0", {kLlama3}, true, true},
    {"glm4", {kLlama3}},
    {"chatglm-bpe", {kLlama3}},
    {"tekken", {kTekken}, true, true},
    {"gpt-4o", {kGpt4o}},
    {"llama4", {kGpt4o}},
    {"kanana2", {kGpt4o}},
    {"minimax-m2", {kGpt4o}},
    {"dbrx", {kLlama3}},
    {"smaug-bpe", {kLlama3}},
    {"qwen2", {kQwen2}, false, false, true},
    {"megrez", {kQwen2}, false, false, true},
    {"qwen35", {kQwen35}, false, false, true},
    {"hunyuan", {kQwen2}},
    {"stablelm2", {kQwen2}},
    {"deepseek-r1-qwen", {kQwen2}},
    {"deepseek-llm",
     {R"([\r\n])", kDeepseekLetters, kDeepseekSigns, R"(\s+$)", kDeepseekScripts, R"(\p{N})"}},
    {"deepseek-coder", {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", kDeepseekScripts, R"(\p{N})"}},
    {"deepseek-v3",
     {R"(\p{N}{1,3})", R"([\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]+)", kDeepseek3}},
    // llama.cpp's own default, for files that were made before there was such a key.
    {"default", {R"([\p{P}\$\+<=>\^~\|]+)", kGpt2Words, R"(\p{N}+)", R"([0-9][0-9][0-9])"}},
};

Result<const Row*> find_row(std::string_view name) {
  for (const Row& row : kRows)
    if (row.name == name) return &row;
  return Status(Code::kBadData, "tokenizer.ggml.pre is " + in_quotes(name) +
                                    ", a pre-tokenizer that is not known; take the folder of the "
                                    "model with its tokenizer.json, or a newer version of Troupe");
}

}  // namespace

Result<PreTokenizerPatterns> pre_tokenizer_patterns(std::string_view name) {
  TROUPE_ASSIGN_OR_RETURN(const Row* row, find_row(name));
  PreTokenizerPatterns found;
  found.whole_words = row->whole_words;
  found.composes = row->composes;
  for (const std::string_view pattern : row->patterns)
    if (!pattern.empty()) found.patterns.push_back(pattern);
  return found;
}

std::string_view pre_tokenizer_name(const PreTokenizerPatterns& patterns) {
  for (const Row& row : kRows) {
    const auto end = std::find(row.patterns.begin(), row.patterns.end(), std::string_view());
    if (std::equal(row.patterns.begin(), end, patterns.patterns.begin(), patterns.patterns.end()) &&
        row.whole_words == patterns.whole_words && row.composes == patterns.composes)
      return row.name;
  }
  return "";
}

Result<PreTokenizer> find_pre_tokenizer(std::string_view name) {
  TROUPE_ASSIGN_OR_RETURN(const Row* row, find_row(name));
  PreTokenizer found;
  found.whole_words = row->whole_words;
  found.adds_bos = row->adds_bos;
  if (row->composes) found.normalizers.push_back(form_normalizer(NormalForm::kNfc));
  for (const std::string_view pattern : row->patterns) {
    if (pattern.empty()) break;
    TROUPE_ASSIGN_OR_RETURN(Regex regex, Regex::compile(pattern, /*foreign=*/false));
    found.cuts.push_back(split_cut(std::move(regex), SplitBehavior::kIsolated, false));
  }
  return found;
}

}  // namespace troupe::model
