#include <catch2/catch.hpp>

#include <troupe/actors/jobs/generate_spec.h>
#include <troupe/actors/troupe.h>
#include <troupe/runtime/wire/codec.h>

using namespace troupe;
using namespace troupe::actors;

TEST_CASE("generate jobs: a specification is what `troupe run` takes, under the same names") {
  const auto spec = parse_generate_spec(
      R"({"model":"ab","layers":"0-9,10-29","kv":"f32","max_tokens":7,"raw":true,"stop":["x"],
          "temperature":0.5,"top_p":0.9,"top_k":40,"min_p":0.1,"typical":0.9,
          "seed":18446744073709551615,"repeat_penalty":1.1,"presence_penalty":0.5,
          "frequency_penalty":-0.5,"logit_bias":{"7":1.5},"context":99})");
  REQUIRE(spec);
  CHECK(spec->seeded);
  CHECK(spec->open.model == "ab");
  CHECK(spec->open.layer_begins == std::vector<std::uint32_t>{0, 10});
  CHECK(spec->open.layer_ends == std::vector<std::uint32_t>{10, 30});
  CHECK(spec->open.kv == kv_code(kernels::KvType::kF32));
  const Submit& base = spec->base;
  CHECK((base.raw && base.max_tokens == 7 && base.context == 99));
  CHECK(base.stop == std::vector<std::string>{"x"});
  CHECK(base.sampling.seed == UINT64_MAX);
  CHECK((base.sampling.temperature == 0.5f && base.sampling.top_k == 40));
  REQUIRE(base.sampling.logit_bias.size() == 1);
  CHECK((base.sampling.logit_bias[0].id == 7 && base.sampling.logit_bias[0].bias == 1.5f));
  const auto line = parse_generate_line(
      *spec, R"({"messages":[{"role":"user","content":"hi"}],"id":"a","seed":3,"max_tokens":9})");
  REQUIRE(line);
  CHECK(line->id == "\"a\"");
  CHECK((line->submit.sampling.seed == 3 && line->submit.max_tokens == 9));
  CHECK(line->submit.sampling.temperature == 0.5f);
  CHECK(line->submit.messages.size() == 1);
}

TEST_CASE("generate jobs: keys, values and activations have the types of `troupe run`") {
  const auto code = [](const std::string& fields) {
    const auto spec = parse_generate_spec(R"({"model":"ab")" + fields + "}");
    REQUIRE(spec);
    return spec->open.kv;
  };
  const auto f16 = kernels::KvType::kF16;
  CHECK(code("") == kv_code(std::nullopt, false));
  CHECK(code(R"(,"activations":"f32")") == kv_code(std::nullopt, false));
  CHECK(code(R"(,"activations":"f16")") == kv_code(std::nullopt, true));
  CHECK(code(R"(,"activations":"f16","kv":"f16")") == kv_code(f16, true));
  CHECK(parse_generate_spec(R"({"model":"ab","activations":"bf16"})").message() ==
        "\"activations\" is \"bf16\", expected \"f16\" or \"f32\"");
}

TEST_CASE("generate jobs: lines are packed into shards and come out in order") {
  std::string text;
  for (int i = 0; i < 20; ++i) text += "{\"prompt\":\"" + std::to_string(i) + "\"}\r\n\n";
  text += "{\"prompt\":\"last\"}";  // no newline at the end
  const auto shards = generate_shards(text);
  REQUIRE(shards.size() == 3);
  std::uint64_t index = 0;
  for (const std::string& shard : shards) {
    const auto packed = unpack_lines(shard);
    REQUIRE(packed);
    CHECK(packed->first == index);
    for (const std::string& line : packed->lines) {
      const std::string word = index == 20 ? "last" : std::to_string(index);
      CHECK(line == "{\"prompt\":\"" + word + "\"}");
      ++index;
    }
  }
  CHECK(index == 21);
  CHECK(line_of_prompt(text, 0) == 1);
  CHECK(line_of_prompt(text, 7) == 15);  // an empty line follows each
  CHECK(line_of_prompt(text, 20) == 41);
  CHECK(line_of_prompt("\r\n \t\na\n", 0) == 3);
  CHECK(generate_shards("\n \n").empty());
  CHECK(generate_shards("{\"prompt\":\"" + std::string(300'000, 'x') + "\"}\n{}\n").size() == 2);
  for (const char* bad : {"", "x", "1", "-1\na\n", "1\na", "99999999999999999999\na\n"}) {
    CHECK(unpack_lines(bad).code() == Code::kInvalidArgument);
  }
}

TEST_CASE("generate jobs: an answer and an error are a line each") {
  Finished finished;
  finished.text = "so\n\xff";
  finished.token_ids = {1, 2};
  finished.finish_reason = "stop";
  CHECK(generate_result(3, "7", finished) ==
        "{\"finish_reason\":\"stop\",\"id\":7,\"index\":3,\"text\":\"so\\n\xef\xbf\xbd\","
        "\"token_ids\":[1,2]}\n");
  CHECK(generate_error(0, "", Status(Code::kBadData, "no")) ==
        "{\"error\":{\"code\":\"bad_data\",\"message\":\"no\"},\"index\":0}\n");
}

TEST_CASE("generate jobs: a specification that is written is read as the same one") {
  for (const char* text :
       {R"({"model":"ab"})",
        R"({"model":"ab","model_name":"m","layers":"0-9,10-29","kv":"f32","activations":"f16",
            "max_tokens":7,"raw":true,"stop":["x"],"temperature":0.7,"top_p":0.9,"top_k":40,
            "min_p":0.1,"typical":0.9,"seed":18446744073709551615,"repeat_penalty":1.1,
            "presence_penalty":0.5,"frequency_penalty":-0.5,"logit_bias":{"7":1.3,"9":-2},
            "context":99})",
        R"({"model":"ab","system":"s","kv":"f16","seed":0})"}) {
    const auto spec = parse_generate_spec(text);
    REQUIRE(spec);
    const auto back = parse_generate_spec(to_json(*spec));
    REQUIRE(back);
    CHECK(wire::encode(back->open) == wire::encode(spec->open));
    CHECK(wire::encode(back->base) == wire::encode(spec->base));
    CHECK(back->seeded == spec->seeded);
    CHECK(back->model_name == spec->model_name);
    CHECK(to_json(*back) == to_json(*spec));
  }
  CHECK(to_json(*parse_generate_spec(R"({"model":"ab","temperature":0.7})")) ==
        R"({"max_tokens":256,"model":"ab","temperature":0.7})");
}

TEST_CASE("generate jobs: what is nested too deep is refused") {
  const std::string deep = std::string(900'000, '[') + std::string(900'000, ']');
  const auto spec = parse_generate_spec("{\"model\":\"ab\",\"stop\":" + deep + "}");
  CHECK(spec.code() == Code::kInvalidArgument);
  CHECK(spec.message().find("nested more than 32 deep") != std::string::npos);
  CHECK(spec.message().find("submit it again") != std::string::npos);
  const auto line = parse_generate_line({}, "{\"prompt\":" + deep + "}");
  CHECK(line.code() == Code::kInvalidArgument);
}
