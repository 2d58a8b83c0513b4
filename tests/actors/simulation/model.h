#pragma once

#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <troupe/model/files/header_keys.h>
#include <troupe/model/sampling/sampler.h>
#include <troupe/model/store/store.h>
#include <troupe/model/tokenizer/open_tokenizer.h>
#include <troupe/model/transformer/stage.h>
#include <troupe/model/transformer/weights.h>
#include <troupe/runtime/kernels/kv_page.h>
#include <troupe/tests/model/files/gguf_files.h>

// Computes in a simulated cluster in place of the transformer: a stage whose hidden states are a
// hash of everything that each of its layers has seen, so that a lost, repeated, misplaced or wrong
// position anywhere changes every later token. The text of every request is known from its prompt
// alone. The model file is a real one, because the code under test reads its header.

namespace troupe::actors::simulation {

constexpr std::size_t kLayers = 6, kVocabulary = 32, kContext = 512;
constexpr model::TokenId kEnd = 31;

inline std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  std::uint64_t x = a * 0x9E3779B97F4A7C15ull + b + 0x632BE59BD9B4E019ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

// The numbers of objects in this process now: none may be left when nothing runs.
struct Alive {
  std::size_t sequences = 0, stages = 0;
};
inline Alive& alive() {
  static Alive count;
  return count;
}

// What each layer of a stage has seen after each position of a block: a hash of all positions so
// far. Empty where nothing was written yet.
struct SimBlock {
  std::array<std::vector<std::uint64_t>, kernels::kPageKeys> seen;
};

class SimSequence final : public model::KvSequence {
 public:
  explicit SimSequence(std::size_t length) : positions(length) { ++alive().sequences; }
  ~SimSequence() override { --alive().sequences; }
  std::size_t length() const override { return positions; }
  void truncate(std::size_t length) override {
    for (; positions > length; --positions) at(positions - 1)->clear();
  }
  std::uint64_t bytes() const override { return positions * 8; }
  // Returns what was seen at a position; null beyond the blocks.
  std::vector<std::uint64_t>* at(std::size_t position) {
    const std::size_t index = position / kernels::kPageKeys;
    return index < blocks.size() ? &blocks[index]->seen[position % kernels::kPageKeys] : nullptr;
  }

  std::vector<std::shared_ptr<SimBlock>> blocks;
  std::size_t positions = 0;
};

// Passes one position through the layers that begin at `first`; returns what goes to the next
// stage.
inline std::uint64_t through_layers(std::vector<std::uint64_t>& seen, std::size_t first,
                                    std::uint64_t value) {
  for (std::size_t i = 0; i < seen.size(); ++i) {
    value = seen[i] = mix(mix(seen[i], value), first + i);
  }
  return value;
}

inline std::vector<float> logits_of(std::uint64_t value) {
  std::vector<float> logits(kVocabulary);
  for (std::size_t i = 0; i < kVocabulary; ++i) {
    logits[i] = static_cast<float>(mix(value, i) % 4096) / 512.0f;
  }
  return logits;
}

class SimStage final : public model::Stage {
 public:
  SimStage(const model::ModelConfig& config, model::LayerRange range)
      : config_(config), range_(range) {
    ++alive().stages;
  }
  ~SimStage() override { --alive().stages; }

  static Result<std::unique_ptr<model::Stage>> load(const model::TensorSource&,
                                                    const model::ModelConfig& config,
                                                    model::LayerRange range, Device&,
                                                    const model::StageOptions&) {
    return std::unique_ptr<model::Stage>(std::make_unique<SimStage>(config, range));
  }

  const model::ModelConfig& config() const override { return config_; }
  model::LayerRange range() const override { return range_; }
  std::uint64_t weights_bytes() const override { return 1000 * (range_.end - range_.begin); }
  const model::StageWeights& weights() const override { return weights_; }
  std::unique_ptr<model::KvSequence> new_sequence() const override {
    TROUPE_CHECK(false, "a worker's sequences lie in numbered blocks");
  }
  Result<std::unique_ptr<model::KvSequence>> begin_sequence(
      std::size_t length, std::span<const model::BlockNumber> blocks) override {
    auto sequence = std::make_unique<SimSequence>(length);
    const std::size_t shared = length / kernels::kPageKeys;
    for (const model::BlockNumber number : blocks.first(shared)) {
      const auto found = blocks_.find(number);
      if (found == blocks_.end()) {
        return Status(Code::kFailedPrecondition, "a shared block is not there");
      }
      sequence->blocks.push_back(found->second);
    }
    take(*sequence, blocks.subspan(shared));
    return std::unique_ptr<model::KvSequence>(std::move(sequence));
  }
  Status add_blocks(model::KvSequence& sequence,
                    std::span<const model::BlockNumber> blocks) override {
    take(static_cast<SimSequence&>(sequence), blocks);
    return Status::ok();
  }
  void free_blocks(std::span<const model::BlockNumber> blocks) override {
    for (const model::BlockNumber number : blocks) blocks_.erase(number);
  }
  std::uint64_t kv_bytes() const override { return blocks_.size() * 1000; }

  Status forward(const model::StepInput& input, model::StepOutput* output) override {
    const std::size_t width = config_.channels;
    const bool last = range_.end == config_.layers;
    output->hidden.clear();
    output->logits.clear();
    std::size_t row = 0;
    for (const model::Segment& segment : input.segments) {
      auto& sequence = static_cast<SimSequence&>(*segment.sequence);
      if (sequence.positions != segment.position) {
        return Status(Code::kInvalidArgument, "a simulated stage at the wrong position");
      }
      std::uint64_t value = 0;
      for (std::size_t i = 0; i < segment.count; ++i, ++row) {
        value = range_.begin == 0 ? static_cast<std::uint64_t>(input.token_ids[row])
                                  : read(input.hidden.subspan(row * width, width));
        TROUPE_ASSIGN_OR_RETURN(value, see(sequence, value));
        if (!last) write(value, width, &output->hidden);
        const bool wanted = segment.logits == model::LogitRows::kAll ||
                            (segment.logits == model::LogitRows::kLast && i + 1 == segment.count);
        if (!last || !wanted) continue;
        const std::vector<float> logits = logits_of(value);
        output->logits.insert(output->logits.end(), logits.begin(), logits.end());
      }
    }
    return Status::ok();
  }

 private:
  void take(SimSequence& sequence, std::span<const model::BlockNumber> blocks) {
    for (const model::BlockNumber number : blocks) {
      sequence.blocks.push_back(blocks_[number] = std::make_shared<SimBlock>());
    }
  }
  // Passes the sequence's next position through the layers, from what its blocks hold.
  Result<std::uint64_t> see(SimSequence& sequence, std::uint64_t value) {
    const std::size_t position = sequence.positions++;
    std::vector<std::uint64_t>* here = sequence.at(position);
    if (here == nullptr || !here->empty()) {
      return Status(Code::kInternal, "simulated stage: no room in the blocks");
    }
    *here = position == 0 ? std::vector<std::uint64_t>(range_.end - range_.begin, 0)
                          : *sequence.at(position - 1);
    if (here->empty())
      return Status(Code::kInternal, "simulated stage: a shared block is not full");
    return through_layers(*here, range_.begin, value);
  }
  // Writes a hash as four floats of 16 bits each.
  static void write(std::uint64_t value, std::size_t width, std::vector<float>* out) {
    for (std::size_t i = 0; i < width; ++i) {
      out->push_back(i < 4 ? static_cast<float>(value >> (16 * i) & 0xFFFF) : 0.0f);
    }
  }
  static std::uint64_t read(std::span<const float> row) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      value |= static_cast<std::uint64_t>(row[i]) % 0x10000 << (16 * i);
    }
    return value;
  }

  const model::ModelConfig config_;
  const model::LayerRange range_;
  const model::StageWeights weights_;
  std::map<model::BlockNumber, std::shared_ptr<SimBlock>> blocks_;
};

// Returns the right answer to a prompt, computed without a cluster.
inline std::vector<model::TokenId> right_answer(const std::vector<model::TokenId>& prompt,
                                                std::size_t max_tokens,
                                                const model::SamplingParams& sampling) {
  std::vector<std::uint64_t> seen(kLayers, 0);
  std::vector<model::TokenId> log = prompt, answer;
  std::uint64_t value = 0;
  for (const model::TokenId id : prompt) {
    value = through_layers(seen, 0, static_cast<std::uint64_t>(id));
  }
  while (answer.size() < max_tokens) {
    const auto token =
        model::sample(logits_of(value), sampling, static_cast<std::uint32_t>(log.size()),
                      sampling.has_penalties() ? log : std::vector<model::TokenId>(),
                      sampling.has_penalties() ? prompt.size() : 0);
    TROUPE_CHECK(token.is_ok(), token.message());
    answer.push_back(*token);
    log.push_back(*token);
    if (*token == kEnd) break;
    value = through_layers(seen, 0, static_cast<std::uint64_t>(*token));
  }
  return answer;
}

// The model as a file, and its manifest.
struct ModelFile {
  explicit ModelFile(const std::filesystem::path& folder) : path(folder / "simulated.gguf") {
    model::ModelConfig config;
    config.family = "llama";
    config.layers = kLayers;
    config.channels = 16;
    config.ffn_channels = 16;
    config.heads = 2;
    config.kv_heads = 1;
    config.head_dim = 8;
    config.rotary_dim = 8;
    config.vocabulary = kVocabulary;
    config.context_max = kContext;
    config.tied_embedding = true;
    const auto random = model::test::random_model(config, quant::Type::kF32, quant::Type::kF32);
    auto entries = model::test::llama_entries(config);
    entries.bytes.array<std::int64_t>(model::header_keys::kEndTokenIds, 11, {kEnd});
    ++entries.count;
    std::ofstream(path, std::ios::binary)
        << model::test::gguf_file(random.source, entries, 0, random.source.header_.tensors.size());
    auto store = model::Store::open(folder / "hashing");
    TROUPE_CHECK(store.is_ok(), store.message());
    auto hashed = (*store)->manifest(path);
    TROUPE_CHECK(hashed.is_ok(), hashed.message());
    manifest = *hashed;
  }
  std::filesystem::path path;
  model::Manifest manifest;
};

}  // namespace troupe::actors::simulation
