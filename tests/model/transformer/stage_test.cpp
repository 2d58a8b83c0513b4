#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>
#include <sodium.h>

#include <troupe/model/config/tensor_specs.h>
#include <troupe/model/families/read_config.h>
#include <troupe/model/transformer/stage.h>
#include <troupe/runtime/numerics/half.h>
#include <troupe/tests/model/transformer/memory_model.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;
using Catch::Matchers::Contains;
using quant::Type;

namespace {

std::vector<std::unique_ptr<Stage>> load_split(
    const Model& model, const std::vector<LayerRange>& ranges, Device& device,
    const StageOptions& options = {kernels::KvType::kF16, 0}) {
  std::vector<std::unique_ptr<Stage>> stages;
  for (const LayerRange range : ranges)
    stages.push_back(load_stage(model.source, model.config, range, device, options));
  return stages;
}

Result<std::unique_ptr<Stage>> try_load(const Model& model, Device& device,
                                        LayerRange range = {0, 5}) {
  return Stage::load(model.source, model.config, range, device, {});
}

std::string sha256(const std::vector<float>& values) {
  unsigned char hash[crypto_hash_sha256_BYTES];
  crypto_hash_sha256(hash, reinterpret_cast<const unsigned char*>(values.data()),
                     values.size() * sizeof(float));
  std::string text;
  for (const unsigned char byte : hash) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

}  // namespace

TEST_CASE("activations rounded to f16 give the same bits on any split, thread or chunk") {
  const Model model = random_model(odd_config(), Type::kQ4_1, Type::kQ8_0);
  const std::size_t count = 80;
  const auto ids = random_ids(count, model.config.vocabulary, 7);
  const auto one = make_device(1, kernels::Isa::kScalar);
  const StageOptions f16{kernels::KvType::kF16, 0, true};
  const auto expected = all_logits(load_split(model, {{0, 5}}, *one, f16), ids, count);
  const StageOptions f32{kernels::KvType::kF16, 0};
  REQUIRE(expected != all_logits(load_split(model, {{0, 5}}, *one, f32), ids, count));
  for (const auto isa : isas()) {
    const auto two = make_device(2, isa);
    for (const std::size_t chunk : {std::size_t{1}, std::size_t{7}, count}) {
      REQUIRE(all_logits(load_split(model, {{0, 5}}, *two, f16), ids, chunk) == expected);
      REQUIRE(all_logits(load_split(model, {{0, 2}, {2, 4}, {4, 5}}, *two, f16), ids, chunk) ==
              expected);
    }
    // Hidden states between stages are exact in f16.
    const auto stages = load_split(model, {{0, 2}, {2, 5}}, *two, f16);
    const auto sequence = stages[0]->new_sequence();
    const Segment segment{sequence.get(), 0, count, LogitRows::kNone};
    StepOutput output;
    REQUIRE(stages[0]->forward({{&segment, 1}, ids, {}}, &output).is_ok());
    for (const float x : output.hidden) REQUIRE(f16_to_f32(f32_to_f16(x)) == x);
  }
}

TEST_CASE("bits do not depend on threads, chunks, targets or stages") {
  const std::pair<Type, Type> types[] = {{Type::kQ4_1, Type::kQ8_0},
                                         {Type::kQ8_0, Type::kF16},
                                         {Type::kF16, Type::kQ4_1},
                                         {Type::kF32, Type::kF32}};
  for (const auto& [layers, ends] : types)
    for (const auto kv : {kernels::KvType::kF16, kernels::KvType::kF32}) {
      const Model model = random_model(odd_config(), layers, ends);
      // Go past the 256 keys at which attention cuts its sums once, and otherwise past a page.
      const std::size_t count = layers == Type::kQ4_1 ? 270 : 80;
      const auto ids = random_ids(count, model.config.vocabulary, 7);
      const auto one = make_device(1, kernels::Isa::kScalar);
      const auto expected = all_logits(load_split(model, {{0, 5}}, *one, {kv, 0}), ids, count);
      REQUIRE(expected.size() == count * model.config.vocabulary);
      REQUIRE(
          std::all_of(expected.begin(), expected.end(), [](float x) { return std::isfinite(x); }));
      REQUIRE(*std::max_element(expected.begin(), expected.end()) > 0.1f);
      const auto same = [&](Device& device, std::vector<LayerRange> ranges, std::size_t chunk) {
        INFO(kernels::isa_name(device.kernels().isa)
             << ", " << device.threads() << " threads, chunks of " << chunk << ", " << ranges.size()
             << " stages");
        REQUIRE(all_logits(load_split(model, ranges, device, {kv, 0}), ids, chunk) == expected);
      };
      for (const auto isa : isas()) {
        const auto two = make_device(2, isa);
        same(*two, {{0, 2}, {2, 4}, {4, 5}}, 7);
        if (isa == kernels::Isa::kScalar) continue;  // slow
        for (const std::size_t chunk : {std::size_t{1}, std::size_t{2}, std::size_t{64}, count})
          same(*two, {{0, 5}}, chunk);
        same(*two, {{0, 1}, {1, 5}}, count);
        same(*two, {{0, 4}, {4, 5}}, 1);
        for (const int threads : {1, 3, 7}) {
          const auto device = make_device(threads, isa);
          for (const std::size_t chunk : {std::size_t{7}, std::size_t{64}, count})
            same(*device, {{0, 5}}, chunk);
        }
      }
    }
}

TEST_CASE("every weight format gives the same bits everywhere") {
  ModelConfig config = odd_config();
  config.layers = 2;
  config.ffn_channels = 768;  // three superblocks for two and three threads
  const auto ids = random_ids(40, config.vocabulary, 7);
  // One hash of all formats' logits, so that machines that are never connected can be compared.
  std::vector<float> everything;
  const auto check = [&](const Model& model) {
    const auto one = make_device(1, kernels::Isa::kScalar);
    const auto expected = all_logits(load_split(model, {{0, 2}}, *one), ids, ids.size());
    REQUIRE(
        std::all_of(expected.begin(), expected.end(), [](float x) { return std::isfinite(x); }));
    REQUIRE(*std::max_element(expected.begin(), expected.end()) > 0.1f);
    everything.insert(everything.end(), expected.begin(), expected.end());
    for (const auto isa : isas())
      for (const int threads : {1, 2, 3}) {
        const auto device = make_device(threads, isa);
        for (const std::size_t chunk : {std::size_t{1}, std::size_t{7}, ids.size()}) {
          INFO(kernels::isa_name(isa) << ", " << threads << " threads, chunks of " << chunk);
          REQUIRE(all_logits(load_split(model, {{0, 1}, {1, 2}}, *device), ids, chunk) == expected);
        }
      }
  };
  // The hash of the first formats; the later ones have a hash of their own.
  std::string first_formats;
  for (const quant::Format& format : quant::formats()) {
    INFO(format.name);
    if (format.type == Type::kQ2_K) first_formats = sha256(std::exchange(everything, {}));
    // A file that mixes formats needs both quantizations, each for some matrices: only the
    // feed-forward network is as wide as a superblock here, as in small real models.
    config.channels = 96;
    config.head_dim = 16;
    const bool wide = format.block_elements > 96;
    check(random_model(config, wide ? Type::kQ5_0 : format.type, Type::kQ8_0, 1, format.type));
    if (!wide) continue;
    config.channels = 256;
    config.head_dim = 64;
    config.heads = 4;
    check(random_model(config, format.type, format.type));
    check(random_model(config, format.type, Type::kQ4_0, 1, Type::kQ5_1));
    config.heads = 6;
  }
  CHECK(first_formats == "17a2559cbb6b2c6412f5cf5b85199ff0b9fb7e3b645429a655b438e220caea72");
  CHECK(sha256(everything) == "a49acced4530bbf2fd2e6ce95bb6d9d6fb8e8a869814b2c9929b4ab27739681f");
}

TEST_CASE("a stage shares what its siblings have packed, and reads the rest") {
  for (const bool tied : {true, false}) {
    Model model = random_model(odd_config(tied), Type::kQ4_1, Type::kQ8_0);
    const auto ids = random_ids(40, model.config.vocabulary, 7);
    const auto device = make_device(2);
    const auto expected = all_logits(load_split(model, {{0, 5}}, *device, {}), ids, 7);
    StageOptions shared;
    shared.siblings.push_back(load_stage(model.source, model.config, {0, 2}, *device));
    shared.siblings.push_back(load_stage(model.source, model.config, {3, 5}, *device));
    // Only layer 2 is left to read.
    std::erase_if(model.source.bytes_,
                  [](const auto& tensor) { return !tensor.first.starts_with("blk.2."); });
    REQUIRE(try_load(model, *device).code() == Code::kNotFound);
    auto stages = load_split(model, {{0, 5}}, *device, shared);
    // The new stage has its own vectors (few bytes), and shares the matrices of its siblings.
    const Stage* const both[] = {shared.siblings[0].get(), shared.siblings[1].get()};
    const Stage* const all[] = {both[0], stages[0].get(), both[1]};
    const std::uint64_t apart = weights_bytes(both), whole = stages[0]->weights_bytes();
    const bool counted_twice = tied;  // an embedding that the siblings have packed for themselves
    const std::uint64_t embedding = 13 * quant::find(Type::kQ8_0)->packed_group_bytes(96);
    REQUIRE(apart == both[0]->weights_bytes() + both[1]->weights_bytes());
    REQUIRE(weights_bytes(all) >= whole + (counted_twice ? embedding : 0));
    REQUIRE(weights_bytes(all) < apart + whole / 5 + whole / 50);
    REQUIRE(weights_bytes({both, 1}) == both[0]->weights_bytes());
    shared.siblings.clear();  // shared matrices stay
    REQUIRE(all_logits(stages, ids, 7) == expected);
  }
}

TEST_CASE("superblocks that do not fit the columns are refused") {
  Model model = random_model(odd_config(), Type::kQ4_1, Type::kQ8_0);
  // A damaged file could claim this; the reader of files refuses it, too.
  for (TensorInfo& tensor : model.source.header_.tensors)
    if (tensor.name == "blk.0.ffn_down.weight") tensor.type = Type::kQ4_K;
  const auto device = make_device(1);
  const auto stage = Stage::load(model.source, model.config, {0, 5}, *device, {});
  REQUIRE(stage.code() == Code::kBadData);
  CHECK(stage.message().find("blk.0.ffn_down.weight") != std::string::npos);
  CHECK(stage.message().find("a row of 160 Q4_K weights is not a multiple of 256") !=
        std::string::npos);
}

// Any machine must compute the hashes that were recorded once.
TEST_CASE("logits have the recorded SHA-256") {
  const Model model = random_model(odd_config(), Type::kQ4_1, Type::kQ8_0);
  const auto ids = random_ids(150, model.config.vocabulary, 7);
  const auto device = make_device(2);
  REQUIRE(sha256(all_logits(load_split(model, {{0, 5}}, *device), ids, 150)) ==
          "3363c41b06b1c85f33387edf42eccb21e0b3b1bc817b00520ed4d9b5e4634bd1");
}

// Every sum over columns and channels is longer than 256, the matrices of q, k, v and o meet a
// bias, and those of o and down a residual.
TEST_CASE("logits of wide float models have the recorded SHA-256") {
  ModelConfig config = odd_config(false);
  config.layers = 2;
  config.channels = 320;
  config.ffn_channels = 1100;
  config.heads = 2;
  config.kv_heads = 1;
  config.head_dim = config.rotary_dim = 258;
  config.qkv_bias = config.attn_output_bias = config.ffn_bias = true;
  const std::pair<Type, const char*> recorded[] = {
      {Type::kF32, "11ef8ade2993d5717d76ed6e65e5b3eee2f18b5f52aeb720ca7f968c1a7e6348"},
      {Type::kF16, "c4b37fd80f4fb9ce4041528234787e38cd64e8d387e802b2d833ca0d9d7c1fab"},
      {Type::kBF16, "c4b37fd80f4fb9ce4041528234787e38cd64e8d387e802b2d833ca0d9d7c1fab"}};
  const auto ids = random_ids(45, config.vocabulary, 7);
  for (const auto& [type, hash] : recorded) {
    const Model model = random_model(config, type, type);
    for (const auto isa : isas())
      for (const std::size_t chunk : {std::size_t{1}, std::size_t{7}, ids.size()}) {
        INFO(quant::find(type)->name << ", " << kernels::isa_name(isa) << ", chunks of " << chunk);
        const auto device = make_device(2, isa);
        CHECK(sha256(all_logits(load_split(model, {{0, 1}, {1, 2}}, *device), ids, chunk)) == hash);
      }
  }
}

TEST_CASE("bits do not depend on company") {
  const Model model = random_model(odd_config(), Type::kQ4_1, Type::kQ8_0);
  const std::size_t V = model.config.vocabulary;
  const auto device = make_device(3);
  const auto stages = load_split(model, {{0, 5}}, *device);
  Stage& stage = *stages[0];
  constexpr std::size_t kSequences = 16;
  std::vector<std::vector<TokenId>> ids;
  std::vector<std::vector<float>> expected;
  std::vector<std::unique_ptr<KvSequence>> sequences;
  for (std::size_t s = 0; s < kSequences; ++s) {
    ids.push_back(random_ids(5 + s * 9, V, static_cast<unsigned>(s)));
    expected.push_back(all_logits(stages, ids[s], ids[s].size()));
    sequences.push_back(stage.new_sequence());
  }
  // Every step extends some random sequences by a random number of positions.
  std::mt19937 random(3);
  for (bool more = true; more;) {
    std::vector<Segment> segments;
    std::vector<TokenId> tokens;
    std::vector<std::size_t> who;
    more = false;
    for (std::size_t s = 0; s < kSequences; ++s) {
      const std::size_t at = sequences[s]->length(), left = ids[s].size() - at;
      more = more || left > 0;
      if (left == 0 || random() % 3 == 0) continue;
      const std::size_t count = std::min<std::size_t>(left, 1 + (random() % 2) * (random() % 40));
      segments.push_back({sequences[s].get(), at, count, static_cast<LogitRows>(random() % 3)});
      tokens.insert(tokens.end(), ids[s].begin() + at, ids[s].begin() + at + count);
      who.push_back(s);
    }
    if (segments.empty()) continue;
    StepOutput output;
    REQUIRE(stage.forward({segments, tokens, {}}, &output).is_ok());
    REQUIRE(output.hidden.empty());
    std::size_t row = 0;
    for (std::size_t i = 0; i < segments.size(); ++i) {
      const std::size_t end = segments[i].position + segments[i].count;
      const std::size_t begin = segments[i].logits == LogitRows::kAll    ? segments[i].position
                                : segments[i].logits == LogitRows::kLast ? end - 1
                                                                         : end;
      for (std::size_t position = begin; position < end; ++position, ++row)
        REQUIRE(std::equal(output.logits.begin() + row * V, output.logits.begin() + (row + 1) * V,
                           expected[who[i]].begin() + position * V));
    }
    REQUIRE(output.logits.size() == row * V);
  }
}

TEST_CASE("a sequence that forgets and goes on gives the same bits") {
  const Model model = random_model(odd_config(), Type::kQ4_1, Type::kQ8_0);
  const std::size_t V = model.config.vocabulary;
  const auto device = make_device(2);
  const auto stages = load_split(model, {{0, 5}}, *device);
  const auto ids = random_ids(140, V, 5), other = random_ids(140, V, 6);
  const auto expected = all_logits(stages, ids, 140);
  const auto sequence = stages[0]->new_sequence();
  const auto feed = [&](const std::vector<TokenId>& from, std::size_t begin, std::size_t end) {
    StepOutput output;
    const Segment segment{sequence.get(), begin, end - begin, LogitRows::kAll};
    REQUIRE(stages[0]
                ->forward({{&segment, 1}, std::span(from).subspan(begin, end - begin), {}}, &output)
                .is_ok());
    return output.logits;
  };
  for (const std::size_t keep : {0, 1, 63, 64, 65, 70, 128, 139}) {
    sequence->truncate(0);
    REQUIRE(sequence->bytes() == 0);
    feed(ids, 0, keep + (keep == 0));
    feed(other, keep + (keep == 0), 140);
    sequence->truncate(keep);
    REQUIRE(sequence->length() == keep);
    const auto logits = feed(ids, keep, 140);
    REQUIRE(std::equal(logits.begin(), logits.end(), expected.begin() + keep * V, expected.end()));
  }
}

TEST_CASE("a step that does not fit is refused and appends nothing") {
  const Model model = random_model(odd_config(), Type::kQ4_1, Type::kQ8_0);
  const auto device = make_device(2);
  // Two pages of all layers, not three: 5 layers, 64 keys, K and V of 32 channels in f16.
  const auto stage = load_stage(model.source, model.config, {0, 5}, *device,
                                {kernels::KvType::kF16, 2 * 5 * 64 * 2 * 32 * 2});
  const auto other = load_stage(model.source, model.config, {0, 5}, *device);
  const auto a = stage->new_sequence(), b = stage->new_sequence(), c = other->new_sequence();
  const std::vector<TokenId> ids(200, 3);
  StepOutput output;
  const auto step = [&](std::vector<Segment> segments) {
    std::size_t rows = 0;
    for (const Segment& segment : segments) rows += segment.count;
    return stage->forward({segments, std::span(ids).first(std::min<std::size_t>(rows, 200)), {}},
                          &output);
  };
  REQUIRE(step({{a.get(), 0, 10}}).is_ok());

  const Status full = step({{a.get(), 10, 54}, {b.get(), 0, 65}});
  REQUIRE(full.code() == Code::kResourceExhausted);
  REQUIRE_THAT(full.message(), Contains("keys and values of 65"));
  REQUIRE(a->length() == 10);
  REQUIRE(b->length() == 0);
  REQUIRE(b->bytes() == 0);
  REQUIRE_THAT(step({{a.get(), 9, 1}}).message(), Contains("position 9"));
  REQUIRE_THAT(step({{a.get(), 10, 1}, {a.get(), 11, 1}}).message(), Contains("twice"));
  REQUIRE_THAT(step({{c.get(), 0, 1}}).message(), Contains("another stage"));
  REQUIRE_THAT(step({{a.get(), 10, 0}}).message(), Contains("no rows"));
  REQUIRE_THAT(step({}).message(), Contains("no rows"));
  REQUIRE_THAT(step({{a.get(), 1020, 5}}).message(), Contains("1020 to 1024"));
  const Segment segment{a.get(), 10, 1};
  for (const TokenId id : {-1, 201, 1 << 30})
    REQUIRE_THAT(stage->forward({{&segment, 1}, {&id, 1}, {}}, &output).message(),
                 Contains("token id " + std::to_string(id)));
  REQUIRE_THAT(stage->forward({{&segment, 1}, std::span(ids).first(2), {}}, &output).message(),
               Contains("2 token ids"));

  // Afterwards the stage continues as if nothing had been tried.
  REQUIRE(step({{a.get(), 10, 54, LogitRows::kLast}, {b.get(), 0, 64}}).is_ok());
  const auto alone =
      all_logits(load_split(model, {{0, 5}}, *device), std::vector<TokenId>(64, 3), 64);
  REQUIRE(output.logits ==
          std::vector<float>(alone.end() - static_cast<std::ptrdiff_t>(model.config.vocabulary),
                             alone.end()));
}

TEST_CASE("a later stage checks the hidden states that it is given") {
  const Model model = random_model(odd_config(), Type::kQ4_1, Type::kQ8_0);
  const auto device = make_device(1);
  const auto stage = load_stage(model.source, model.config, {2, 4}, *device);
  const auto sequence = stage->new_sequence();
  const Segment segment{sequence.get(), 0, 2};
  std::vector<float> hidden(2 * 96, 0.5f);
  StepOutput output;
  REQUIRE(stage->forward({{&segment, 1}, {}, std::span(hidden).first(96)}, &output).code() ==
          Code::kInvalidArgument);
  hidden[100] = std::nanf("");
  REQUIRE_THAT(stage->forward({{&segment, 1}, {}, hidden}, &output).message(), Contains("NaN"));
  hidden[100] = 0.5f;
  REQUIRE(stage->forward({{&segment, 1}, {}, hidden}, &output).is_ok());
  REQUIRE(output.hidden.size() == 2 * 96);
  REQUIRE(output.logits.empty());
}

TEST_CASE("damaged models are refused with the tensor's name") {
  const auto device = make_device(2);
  const Model good = random_model(odd_config(false), Type::kQ4_1, Type::kQ8_0);
  REQUIRE(try_load(good, *device).is_ok());

  Model model = good;
  std::erase_if(model.source.header_.tensors,
                [](const TensorInfo& t) { return t.name == "blk.3.ffn_up.weight"; });
  REQUIRE(try_load(model, *device).code() == Code::kBadData);
  REQUIRE_THAT(try_load(model, *device).message(), Contains("blk.3.ffn_up.weight is missing"));
  REQUIRE(try_load(model, *device, {0, 3}).is_ok());  // a stage checks only its own layers

  const auto change = [&](const char* name, auto how) {
    Model changed = good;
    for (TensorInfo& tensor : changed.source.header_.tensors)
      if (tensor.name == name) how(tensor, changed.source.bytes_[name]);
    const auto loaded = try_load(changed, *device);
    REQUIRE(loaded.code() == Code::kBadData);
    REQUIRE_THAT(loaded.message(), Contains(name));
    return loaded.message();
  };
  using Bytes = std::vector<std::byte>;
  REQUIRE_THAT(change("blk.1.attn_q.weight",
                      [](TensorInfo& t, Bytes&) {
                        t.shape = {96, 64};
                      }),
               Contains("96x64") && Contains("96x96"));
  REQUIRE_THAT(change("blk.0.ffn_norm.weight", [](TensorInfo& t, Bytes&) { t.type = Type::kF16; }),
               Contains("bytes instead of"));
  REQUIRE_THAT(change("blk.0.ffn_norm.weight", [](TensorInfo& t, Bytes&) { t.type = Type::kQ8_0; }),
               Contains("must be one of single values"));
  REQUIRE_THAT(
      change("blk.2.attn_k.weight", [](TensorInfo& t, Bytes&) { t.type = static_cast<Type>(99); }),
      Contains("99"));
  change("blk.2.attn_v.weight", [](TensorInfo&, Bytes& bytes) { bytes.resize(40); });
  change("output.weight", [](TensorInfo&, Bytes& bytes) {  // an f16 scale of infinity
    bytes[34 * 5] = std::byte{0x00}, bytes[34 * 5 + 1] = std::byte{0x7c};
  });
  change("blk.4.ffn_down.weight", [](TensorInfo&, Bytes& bytes) {  // a NaN offset
    bytes[20 * 7 + 2] = std::byte{0x01}, bytes[20 * 7 + 3] = std::byte{0xfe};
  });
  change("output_norm.weight", [](TensorInfo&, Bytes& bytes) {
    bytes[14] = std::byte{0xc0}, bytes[15] = std::byte{0x7f};
  });
}

TEST_CASE("a range outside the model is refused") {
  const auto device = make_device(1);
  const Model model = random_model(odd_config(), Type::kQ4_1, Type::kQ8_0);
  for (const LayerRange range : {LayerRange{0, 6}, {5, 6}, {2, 2}, {3, 1}}) {
    const auto loaded = try_load(model, *device, range);
    REQUIRE(loaded.code() == Code::kInvalidArgument);
    REQUIRE_THAT(loaded.message(), Contains("0-4"));
  }
}

TEST_CASE("a stage holds and names its own tensors only") {
  const auto device = make_device(2);
  const Model tied = random_model(odd_config(true), Type::kQ4_1, Type::kQ8_0);
  const auto bytes = [&](const Model& model, LayerRange range) {
    return load_stage(model.source, model.config, range, *device)->weights_bytes();
  };
  // 201 rows of 96 columns are 13 groups of 16; a norm is 96 floats.
  const std::uint64_t embedding = 13 * quant::find(Type::kQ8_0)->packed_group_bytes(96);
  const std::uint64_t norm = 96 * 4;
  const std::uint64_t whole = bytes(tied, {0, 5}), middle = bytes(tied, {1, 2});
  REQUIRE(whole == 5 * middle + embedding + norm);
  REQUIRE(bytes(tied, {0, 2}) == 2 * middle + embedding);
  REQUIRE(bytes(tied, {2, 5}) == 3 * middle + embedding + norm);
  const Model untied = random_model(odd_config(false), Type::kQ4_1, Type::kQ8_0);
  REQUIRE(bytes(untied, {0, 5}) == 5 * middle + 2 * embedding + norm);

  const auto names = tensors_of(tied.config, {4, 5});
  REQUIRE(names.size() == 9 + 2);
  REQUIRE(names.front() == "blk.4.attn_norm.weight");
  REQUIRE(std::count(names.begin(), names.end(), "token_embd.weight") == 1);
  REQUIRE(std::count(names.begin(), names.end(), "output_norm.weight") == 1);
  REQUIRE(tensors_of(tied.config, {1, 3}).size() == 18);
  REQUIRE(tensors_of(untied.config, {0, 5}).size() == 45 + 3);
  std::uint64_t file_bytes = 0;
  for (const std::string& name : names) file_bytes += tied.source.header().tensor(name)->bytes;
  REQUIRE(tensor_bytes_of(tied.source.header(), tied.config, {4, 5}) == file_bytes);
}
