#include <algorithm>
#include <cmath>

#include <catch2/catch.hpp>

#include <troupe/model/families/read_config.h>
#include <troupe/model/files/safetensors.h>
#include <troupe/model/source/open_model.h>
#include <troupe/model/training/trainable.h>
#include <troupe/model/transformer/relative_bias.h>
#include <troupe/model/transformer/stage.h>
#include <troupe/tests/model/files/read_tensor.h>
#include <troupe/tests/model/transformer/memory_model.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;
using Catch::Matchers::Contains;

namespace {

const std::string kGolden = TROUPE_TEST_DATA "/golden/";
using Texts = std::vector<std::vector<TokenId>>;

// A model, and PyTorch's results for two texts (make_tiny_models.py).
struct Encoder {
  Encoder(const std::string& path, const std::string& folder)
      : expected(*Safetensors::open_file(kGolden + "tiny/" + folder + "/expected.safetensors")) {
    auto opened = open_model(kGolden + path);
    INFO(opened.message());
    REQUIRE(opened.is_ok());
    source = std::move(*opened);
    auto made = config_from_gguf(source->header());
    INFO(made.message());
    REQUIRE(made.is_ok());
    config = *made;
    const auto ids = read_tensor<std::int64_t>(expected, "input_ids");
    const auto mask = read_tensor<std::int64_t>(expected, "attention_mask");
    width = ids.size() / 2;
    for (std::size_t text = 0; text < 2; ++text) {
      texts.emplace_back();
      for (std::size_t i = text * width; i < (text + 1) * width; ++i)
        if (mask[i] != 0) texts.back().push_back(static_cast<TokenId>(ids[i]));
    }
  }
  // Returns PyTorch's rows of the last layer, without those of the padding.
  std::vector<float> hidden() const {
    const auto all = read_tensor<float>(expected, "hidden");
    std::vector<float> rows;
    for (std::size_t text = 0; text < 2; ++text) {
      const auto begin = all.begin() + static_cast<std::ptrdiff_t>(text * width * config.channels);
      rows.insert(rows.end(), begin,
                  begin + static_cast<std::ptrdiff_t>(texts[text].size() * config.channels));
    }
    return rows;
  }

  Safetensors expected;
  std::unique_ptr<WholeModel> source;
  ModelConfig config;
  std::size_t width = 0;  // of the padded texts
  Texts texts;
};

// Returns the output of the last stage for whole texts in one step.
StepOutput run(const std::vector<std::unique_ptr<Stage>>& stages, const Texts& texts) {
  StepOutput output;
  for (const auto& stage : stages) {
    std::vector<std::unique_ptr<KvSequence>> sequences;
    std::vector<Segment> segments;
    std::vector<TokenId> ids;
    for (const auto& text : texts) {
      sequences.push_back(stage->new_sequence());
      segments.push_back({sequences.back().get(), 0, text.size(), LogitRows::kLast});
      ids.insert(ids.end(), text.begin(), text.end());
    }
    const std::vector<float> hidden = std::move(output.hidden);
    const Status status = stage->forward({segments, ids, hidden, {}}, &output);
    INFO(status.message());
    REQUIRE(status.is_ok());
  }
  return output;
}

std::vector<std::unique_ptr<Stage>> load(const Encoder& tiny, const ModelConfig& config,
                                         Device& device, const std::vector<LayerRange>& ranges) {
  std::vector<std::unique_ptr<Stage>> stages;
  for (const LayerRange range : ranges)
    stages.push_back(load_stage(*tiny.source, config, range, device));
  return stages;
}

double worst_difference(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::max<double>(worst, std::abs(a[i] - b[i]));
  return worst;
}

const std::vector<std::string> kFolders{"roberta", "xlm_roberta", "distilbert", "mpnet",
                                        "modernbert"};

// Compares with PyTorch. The tolerance is for f32 sums in another order than PyTorch's, whose
// values are near 8 at most.
void compare(const Encoder& tiny) {
  ModelConfig bare = tiny.config;
  bare.labels = 0;
  REQUIRE(tiny.config.labels == 3);
  const auto logits = read_tensor<float>(tiny.expected, "logits");
  for (const auto isa : isas()) {
    INFO(kernels::isa_name(isa));
    const auto device = make_device(2, isa);
    const std::vector<LayerRange> whole{{0, bare.layers}};
    CHECK(worst_difference(run(load(tiny, bare, *device, whole), tiny.texts).hidden,
                           tiny.hidden()) < 2e-5);
    CHECK(worst_difference(run(load(tiny, tiny.config, *device, whole), tiny.texts).logits,
                           logits) < 2e-5);
  }
}

}  // namespace

TEST_CASE("tiny encoders of every family give PyTorch's rows and logits") {
  for (const std::string& folder : kFolders) {
    INFO(folder);
    compare(Encoder("tiny/" + folder, folder));
  }
}

// llama.cpp's converter made the files of the same weights (make_tiny_gguf.py).
TEST_CASE("tiny encoders from GGUF files give PyTorch's rows and logits") {
  for (const std::string name : {"roberta", "xlm_roberta", "distilbert", "modernbert"}) {
    INFO(name);
    const Encoder tiny("tiny_gguf/" + name + ".gguf", name);
    CHECK(tiny.config.family == (name == "modernbert" ? "modern-bert" : "bert"));
    compare(tiny);
  }
}

TEST_CASE("a ModernBERT's head reads the first row if its folder says so") {
  const Encoder tiny("tiny/modernbert", "modernbert");
  REQUIRE(tiny.config.pooler_mean);
  ModelConfig first = tiny.config;
  first.pooler_mean = false;
  const auto device = make_device(2);
  CHECK(worst_difference(run(load(tiny, first, *device, {{0, 4}}), tiny.texts).logits,
                         read_tensor<float>(tiny.expected, "logits_cls")) < 2e-5);
}

TEST_CASE("bits of every encoder do not depend on threads, company, targets or stages") {
  for (const std::string& folder : kFolders) {
    const Encoder tiny("tiny/" + folder, folder);
    const std::size_t layers = tiny.config.layers, most = tiny.config.context_max;
    ModelConfig bare = tiny.config;
    bare.labels = 0;
    Texts texts;
    for (const std::size_t count : {std::size_t{1}, most, std::size_t{3}, std::size_t{30}})
      texts.push_back(random_ids(count, 96, static_cast<unsigned>(count)));
    const auto one = make_device(1, kernels::Isa::kScalar);
    std::vector<float> hidden, logits;
    for (const auto& text : texts) {
      const auto rows = run(load(tiny, bare, *one, {{0, layers}}), {text}).hidden;
      hidden.insert(hidden.end(), rows.begin(), rows.end());
      const auto row = run(load(tiny, tiny.config, *one, {{0, layers}}), {text}).logits;
      logits.insert(logits.end(), row.begin(), row.end());
    }
    for (const auto isa : isas())
      for (const int threads : {1, 2, 3, 7}) {
        INFO(folder << " " << kernels::isa_name(isa) << " threads " << threads);
        const auto device = make_device(threads, isa);
        const auto cut = load(tiny, tiny.config, *device, {{0, 1}, {1, layers}});
        REQUIRE(run(load(tiny, bare, *device, {{0, layers}}), texts).hidden == hidden);
        REQUIRE(run(cut, texts).logits == logits);
        REQUIRE(run(cut, {texts[2]}).logits ==
                std::vector<float>(logits.begin() + 6, logits.begin() + 9));
      }
  }
}

// The distances at which transformers' MPNet begins a new bucket.
TEST_CASE("buckets of distances are those of T5") {
  std::vector<std::ptrdiff_t> begins;
  for (std::ptrdiff_t distance = 0; distance < 600; ++distance) {
    const std::size_t bucket = relative_bucket(-distance, 32);
    if (bucket == begins.size()) begins.push_back(distance);
    REQUIRE(bucket + 1 == begins.size());
    if (distance > 0) REQUIRE(relative_bucket(distance, 32) == bucket + 16);
  }
  CHECK(begins ==
        std::vector<std::ptrdiff_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91});
}

TEST_CASE("encoders beside BERT are not trained") {
  for (const std::string& folder : kFolders)
    CHECK_THAT(check_trainable(Encoder("tiny/" + folder, folder).config).message(),
               Contains("can run but not train"));
}
