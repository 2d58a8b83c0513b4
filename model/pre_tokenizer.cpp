#define PCRE2_CODE_UNIT_WIDTH 8
#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include <pcre2.h>

#include <troupe/model/pre_tokenizer.h>
#include <troupe/model/utf8.h>

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
constexpr std::string_view kDeepseek3 =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
    R"(| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

struct Row {
  std::string_view name;
  // Applied in order, each to the pieces that the one before has left.
  std::array<std::string_view, 5> patterns;
  bool whole_words = false;
  bool adds_bos = false;
};

// Sources: the tokenizer.json files of these families ("Split" and "Digits" steps), under the
// names that convert_hf_to_gguf.py of llama.cpp gives them.
constexpr Row kRows[] = {
    {"gpt-2", {kGpt2}},
    {"gpt2", {kGpt2}},
    {"phi-2", {kGpt2}},
    {"olmo", {kGpt2}},
    {"mpt", {kGpt2}},
    {"jais", {kGpt2}},
    {"smollm", {R"(\p{N})", kGpt2}},
    {"starcoder", {R"(\p{N})", kGpt2}},
    {"refact", {R"(\p{N})", kGpt2}},
    {"command-r", {R"(\p{N})", kGpt2}},
    {"llama-bpe", {kLlama3}, true, true},
    {"llama3", {kLlama3}, true, true},
    {"dbrx", {kLlama3}},
    {"smaug-bpe", {kLlama3}},
    {"qwen2", {kQwen2}},
    {"stablelm2", {kQwen2}},
    {"deepseek-r1-qwen", {kQwen2}},
    {"deepseek-coder",
     {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)",
      R"([\x{4e00}-\x{9fa5}\x{0800}-\x{4e00}\x{ac00}-\x{d7ff}]+)", R"(\p{N})"}},
    {"deepseek-v3",
     {R"(\p{N}{1,3})", R"([\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]+)", kDeepseek3}},
};

// PCRE2's \s also takes U+180E, which lost its White_Space property in Unicode 6.3; the tokenizers'
// own engines follow the property, so the two classes are written out.
std::string with_white_space_property(std::string_view pattern) {
  std::string out;
  bool in_class = false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '\\') {
      const char escaped = pattern[++i];
      constexpr std::string_view kSpaces = R"(\p{Z}\t-\r\x{85})";
      if (escaped == 's' && in_class) {
        out += kSpaces;
      } else if (escaped == 's' || escaped == 'S') {
        ((out += escaped == 's' ? "[" : "[^") += kSpaces) += "]";
      } else {
        (out += '\\') += escaped;
      }
      continue;
    }
    if (pattern[i] == '[') in_class = true;
    if (pattern[i] == ']') in_class = false;
    out += pattern[i];
  }
  return out;
}

template <class T, void (*free)(T*)>
struct Free {
  void operator()(T* object) const { free(object); }
};
using Code8 = std::unique_ptr<pcre2_code, Free<pcre2_code, pcre2_code_free>>;
using MatchData = std::unique_ptr<pcre2_match_data, Free<pcre2_match_data, pcre2_match_data_free>>;
using MatchContext =
    std::unique_ptr<pcre2_match_context, Free<pcre2_match_context, pcre2_match_context_free>>;

class RegexPreTokenizer final : public PreTokenizer {
 public:
  explicit RegexPreTokenizer(const Row& row) : row_(row) {
    for (const std::string_view pattern : row.patterns) {
      if (pattern.empty()) break;
      const std::string expanded = with_white_space_property(pattern);
      int error = 0;
      std::size_t offset = 0;
      Code8 code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expanded.data()), expanded.size(),
                               PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr));
      TROUPE_CHECK(code != nullptr, expanded + " at " + std::to_string(offset));
      // Where the system forbids executable pages, matching goes on interpreted.
      pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
      codes_.push_back(std::move(code));
    }
  }

  bool whole_words() const override { return row_.whole_words; }
  bool adds_bos() const override { return row_.adds_bos; }

  Status split(std::string_view text, std::vector<std::string_view>* words) const override {
    const MatchData match(pcre2_match_data_create(1, nullptr));
    const MatchContext context(pcre2_match_context_create(nullptr));
    if (match == nullptr || context == nullptr) {
      return Status(Code::kResourceExhausted, "no memory to match regular expressions");
    }
    // The patterns are ours and take linear time; the library's default limit would refuse a long
    // run of spaces.
    pcre2_set_match_limit(context.get(), std::numeric_limits<std::uint32_t>::max());
    std::vector<std::string_view> pieces;
    if (!text.empty()) pieces.push_back(text);
    for (std::size_t i = 0; i < codes_.size(); ++i) {
      const bool last = i + 1 == codes_.size();
      std::vector<std::string_view> next;
      std::vector<std::string_view>* out = last ? words : &next;
      for (const std::string_view piece : pieces) {
        TROUPE_RETURN_IF_ERROR(
            split_piece(codes_[i].get(), piece, match.get(), context.get(), out));
      }
      pieces = std::move(next);
    }
    return Status::ok();
  }

 private:
  // Matches, and what lies between them, are pieces of their own.
  static Status split_piece(const pcre2_code* code, std::string_view piece, pcre2_match_data* match,
                            pcre2_match_context* context, std::vector<std::string_view>* out) {
    std::size_t at = 0;
    while (at < piece.size()) {
      const int found = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(piece.data()), piece.size(),
                                    at, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, match, context);
      if (found == PCRE2_ERROR_NOMATCH) break;
      if (found < 0) {
        return Status(Code::kResourceExhausted, "cannot split a text of " +
                                                    std::to_string(piece.size()) +
                                                    " bytes into words: the regular expression "
                                                    "failed with code " +
                                                    std::to_string(found));
      }
      const std::size_t* bounds = pcre2_get_ovector_pointer(match);
      if (bounds[0] > at) out->push_back(piece.substr(at, bounds[0] - at));
      out->push_back(piece.substr(bounds[0], bounds[1] - bounds[0]));
      at = bounds[1];
    }
    if (at < piece.size()) out->push_back(piece.substr(at));
    return Status::ok();
  }

  const Row& row_;
  std::vector<Code8> codes_;
};

}  // namespace

Result<std::unique_ptr<const PreTokenizer>> PreTokenizer::find(std::string_view name) {
  std::string known;
  for (const Row& row : kRows) {
    if (row.name == name) {
      return std::unique_ptr<const PreTokenizer>(std::make_unique<RegexPreTokenizer>(row));
    }
    if (!known.empty()) known += ", ";
    known += row.name;
  }
  return Status(Code::kBadData, "tokenizer.ggml.pre is " + in_quotes(name) +
                                    ", a pre-tokenizer that is not known; known are " + known);
}

}  // namespace troupe::model
