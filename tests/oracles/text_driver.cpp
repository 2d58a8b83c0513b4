// Runs a tokenizer over many texts for the tests that compare it with Python's tokenizers.
//   text_driver gguf FILE < request > answer
//   text_driver json TOKENIZER_JSON [TOKENIZER_CONFIG_JSON] < request > answer
// request: {"texts": [...], "add_special": bool, "parse_special": bool}
// answer: {"ids": [[...], ...], "texts": [what the ids give back, token by token], "whole": bool}
// where "whole" says that no part of the streams was half a character.
#include <iostream>
#include <iterator>

#include <nlohmann/json.hpp>

#include <troupe/model/files/gguf_reader.h>
#include <troupe/model/tokenizer/detokenizer.h>
#include <troupe/model/tokenizer/tokenizer.h>
#include <troupe/model/tokenizer/tokenizer_gguf.h>
#include <troupe/model/tokenizer/tokenizer_json.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/text/utf8.h>

using namespace troupe;
using namespace troupe::model;

namespace {

Result<std::shared_ptr<const Tokenizer>> load(int argc, char** argv) {
  constexpr std::size_t kBytesMax = std::size_t{256} << 20;
  if (argc < 3) return Status(Code::kInvalidArgument, "a kind and a file are needed");
  if (std::string_view(argv[1]) == "gguf") {
    TROUPE_ASSIGN_OR_RETURN(const std::string bytes, read_file(argv[2], kBytesMax));
    TROUPE_ASSIGN_OR_RETURN(
        const GgufHeader header,
        parse_gguf_header(std::as_bytes(std::span(bytes)), bytes.size(), argv[2]));
    return tokenizer_from_gguf(header);
  }
  TROUPE_ASSIGN_OR_RETURN(const std::string text, read_file(argv[2], kBytesMax));
  std::string config;
  if (argc > 3) {
    TROUPE_ASSIGN_OR_RETURN(config, read_file(argv[3], kBytesMax));
  }
  return tokenizer_from_json({text, config});
}

Result<nlohmann::json> answer(const Tokenizer& tokenizer, const nlohmann::json& request) {
  EncodeOptions options;
  options.add_special = request.value("add_special", true);
  options.parse_special = request.value("parse_special", true);
  nlohmann::json ids = nlohmann::json::array(), texts = nlohmann::json::array();
  bool whole = true;
  for (const nlohmann::json& text : request.at("texts")) {
    TROUPE_ASSIGN_OR_RETURN(const std::vector<TokenId> tokens,
                            tokenizer.encode(text.get_ref<const std::string&>(), options));
    Detokenizer stream(tokenizer, /*with_special=*/false);
    std::string back;
    for (const TokenId id : tokens) {
      TROUPE_ASSIGN_OR_RETURN(const std::string part, stream.push(id));
      whole = whole && utf8_valid_prefix(part) == part.size();
      back += part;
    }
    back += stream.finish();
    ids.push_back(tokens);
    texts.push_back(back);
  }
  return nlohmann::json{{"ids", ids}, {"texts", texts}, {"whole", whole}};
}

}  // namespace

int main(int argc, char** argv) {
  const auto tokenizer = load(argc, argv);
  if (!tokenizer) {
    std::cerr << tokenizer.message() << "\n";
    return 1;
  }
  const std::string input((std::istreambuf_iterator<char>(std::cin)), {});
  const auto result = answer(**tokenizer, nlohmann::json::parse(input));
  if (!result) {
    std::cerr << result.message() << "\n";
    return 1;
  }
  std::cout << result->dump() << "\n";
  return 0;
}
