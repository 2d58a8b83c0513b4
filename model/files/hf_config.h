#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <troupe/runtime/status.h>

// The config.json of a Hugging Face folder. Its size is bounded, and the errors of its typed
// look-ups name file, field and value. Immutable.

namespace troupe::model {

class HfConfig {
 public:
  // `what` names the file.
  //   Errors: kBadData if it is not a JSON object of a sane size.
  static Result<HfConfig> parse(std::string_view text, const std::string& what);

  // Returns the inner object `field` as a config.json of its own.
  //   Errors: kBadData if it is not an object.
  Result<HfConfig> inner(std::string_view field) const;
  // Returns the same object, with these values for fields that are absent.
  HfConfig with_defaults(
      std::initializer_list<std::pair<std::string_view, std::uint64_t>> values) const;

  // These look fields up. A field may lie in an inner object: "rope_parameters.rope_theta". A field
  // that is null counts as absent.
  bool has(std::string_view field) const;
  Result<std::uint64_t> u64(std::string_view field) const;
  Result<std::uint64_t> u64(std::string_view field, std::uint64_t fallback) const;
  Result<double> f64(std::string_view field) const;
  Result<double> f64(std::string_view field, double fallback) const;
  // Reads an integer from 1 to `most`.
  Result<std::uint64_t> size(std::string_view field, std::uint64_t most) const;
  // Reads a finite number in [least, most]. An absent field gives `fallback`, but null is refused:
  // the code that made the file must have meant something by it.
  Result<double> number(std::string_view field, double fallback, double least, double most) const;
  Result<std::string> string(std::string_view field) const;
  Result<std::string> string(std::string_view field, std::string_view fallback) const;
  Result<bool> boolean(std::string_view field, bool fallback) const;
  // Reads one integer or a list of them; an absent field gives none.
  Result<std::vector<std::int64_t>> integers(std::string_view field) const;
  // Reads a list of strings; an absent field gives none.
  Result<std::vector<std::string>> strings(std::string_view field) const;

  // Returns the names of the fields of the inner object `field`; none if it is absent or not an
  // object.
  std::vector<std::string> fields_of(std::string_view field) const;

  // Reads a list of finite numbers; an absent field gives none.
  Result<std::vector<double>> numbers(std::string_view field) const;

  // Says whether both fields are present and differ. A field that is absent (or null) differs from
  // nothing.
  bool differ(std::string_view field, std::string_view other) const;

  // Returns kBadData with "FOLDER/config.json: SENTENCE".
  Status bad(const std::string& sentence) const;
  // Checks that `field` has one of the values that this version can run. An absent field counts as
  // the first of them.
  Status expect(std::string_view field, std::initializer_list<std::string_view> values) const;

 private:
  struct Json;  // keeps the JSON library out of this header
  Status wrong(std::string_view field, const std::string& expected) const;

  std::string what_;
  std::shared_ptr<const Json> json_;
};

}  // namespace troupe::model
