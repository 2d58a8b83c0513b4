#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/model/files/gguf.h>

// The config.json of a Hugging Face folder: bounded, with typed look-ups whose errors name file,
// field and value. Immutable.

namespace troupe::model {

using GgufMetadata = std::map<std::string, GgufValue, std::less<>>;

class HfConfig {
 public:
  // `what` names the file. kBadData when it is no JSON object of a sane size.
  static Result<HfConfig> parse(std::string_view text, const std::string& what);

  // A field may lie in an inner object: "rope_parameters.rope_theta". A field that is null counts
  // as absent.
  bool has(std::string_view field) const;
  Result<std::uint64_t> u64(std::string_view field) const;
  Result<std::uint64_t> u64(std::string_view field, std::uint64_t fallback) const;
  Result<double> f64(std::string_view field) const;
  Result<double> f64(std::string_view field, double fallback) const;
  // A number of things: 1 to `most`.
  Result<std::uint64_t> size(std::string_view field, std::uint64_t most) const;
  // A finite number in [least, most]; absent: `fallback`, but null is refused: the code that made
  // the file must have meant something by it.
  Result<double> number(std::string_view field, double fallback, double least, double most) const;
  Result<std::string> string(std::string_view field) const;
  Result<std::string> string(std::string_view field, std::string_view fallback) const;
  Result<bool> boolean(std::string_view field, bool fallback) const;
  // One integer or a list of them; absent: none.
  Result<std::vector<std::int64_t>> integers(std::string_view field) const;
  Result<std::vector<std::string>> strings(std::string_view field) const;  // absent: none

  // Both are here, and they differ. A field that is absent (or null) differs from nothing.
  bool differ(std::string_view field, std::string_view other) const;

  // "FOLDER/config.json: SENTENCE", kBadData.
  Status bad(const std::string& sentence) const;
  // That `field` has one of the values that this version can run; absent is the first.
  Status expect(std::string_view field, std::initializer_list<std::string_view> values) const;

 private:
  struct Json;  // keeps the JSON library out of this header
  Status wrong(std::string_view field, const std::string& expected) const;

  std::string what_;
  std::shared_ptr<const Json> json_;
};

}  // namespace troupe::model
