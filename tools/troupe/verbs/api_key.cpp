#include <cstdio>

#include <nlohmann/json.hpp>

#include <troupe/actors/http/api_keys.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/verbs/api_key.h>

namespace troupe::tools {

void add_api_key_options(CLI::App& make, ApiKeyOptions& options) {
  make.add_option("--api", options.name,
                  "Make an API key of this name for `troupe serve` instead of a token")
      ->type_name("NAME");
  make.add_option("--api-key-file", options.file, "The file to which --api adds the key's hash")
      ->type_name("FILE");
  make.add_option("--api-role", options.role, "What the key may use: api, metrics or admin [api]")
      ->check(CLI::IsMember({"api", "metrics", "admin"}))
      ->type_name("ROLE");
  make.add_option("--requests-per-minute", options.requests_per_minute,
                  "How many requests the key may send in a minute [any number]")
      ->check(whole_number(1, 1'000'000'000))
      ->type_name("N");
  make.add_option("--tokens-per-minute", options.tokens_per_minute,
                  "How many tokens of prompts and answers the key may use in a minute [any number]")
      ->check(whole_number(1, 1'000'000'000))
      ->type_name("N");
  make.add_option("--weight", options.weight,
                  "How large the key's share is compared with those of other keys: 1 to 100 [1]")
      ->check(whole_number(1, 100))
      ->type_name("N");
  make.add_option("--priority", options.priority,
                  "The smallest priority number that the key's requests may have; smaller ones go "
                  "first: -9 to 9 [0]")
      ->check(CLI::Range(-9, 9))
      ->type_name("N");
}

int make_api_key(const ApiKeyOptions& options, bool json) {
  if (options.name.empty() || options.file.empty()) {
    return fail(Status(Code::kInvalidArgument,
                       "an API key needs --api NAME and --api-key-file FILE; give both"),
                json);
  }
  http::ApiKey key;
  key.name = options.name;
  key.role = options.role == "admin"     ? http::Role::kAdmin
             : options.role == "metrics" ? http::Role::kMetrics
                                         : http::Role::kApi;
  key.requests_per_minute = options.requests_per_minute;
  key.tokens_per_minute = options.tokens_per_minute;
  key.weight = options.weight;
  key.priority = options.priority;
  const Result<std::string> made = http::add_api_key(options.file, key);
  if (!made) return fail(made.status(), json);
  if (json) {
    print_json({{"name", key.name}, {"key", *made}, {"file", options.file}});
    return kExitOk;
  }
  std::printf("%s\n", made->c_str());
  say("the API key of " + key.name + " is on stdout, and nowhere else; its hash is in " +
      options.file);
  return kExitOk;
}

}  // namespace troupe::tools
