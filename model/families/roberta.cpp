#include <troupe/model/families/read.h>

// RoBERTa, and what is built like it: XLM-RoBERTa and CamemBERT. They are BERT whose positions are
// counted from the row after that of the padding token. Their GGUF files look like those of a BERT,
// and lack the rows of positions that are not used. Sources: Liu et al. 2019; Conneau et al. 2020;
// Martin et al. 2020.

namespace troupe::model {
namespace {

constexpr char kRoberta[] = "roberta";
constexpr char kXlmRoberta[] = "xlm-roberta";
constexpr char kCamembert[] = "camembert";
constexpr char kPrefix[] = "roberta.";

template <const char* kArch>
Result<ModelConfig> read_gguf(const GgufHeader& header) {
  ModelConfig config;
  TROUPE_RETURN_IF_ERROR(HeaderReader(header, kArch).bert(&config));
  return config;
}

template <const char* kArch>
Status metadata(const HfConfig& config, GgufMetadata* out) {
  return hf_bert(config, kArch, /*padding=*/true, out);
}

const std::vector<HfName> kNames = bert_names_with({
    {"classifier.dense.weight", "cls.weight"},
    {"classifier.dense.bias", "cls.bias"},
    {"classifier.out_proj.weight", "cls.output.weight"},
    {"classifier.out_proj.bias", "cls.output.bias"},
});

}  // namespace

const Family kRobertaFamily{
    kRoberta, read_gguf<kRoberta>, {kRoberta, kPrefix, metadata<kRoberta>, kNames}};
const Family kXlmRobertaFamily{
    kXlmRoberta, read_gguf<kXlmRoberta>, {kXlmRoberta, kPrefix, metadata<kXlmRoberta>, kNames}};
const Family kCamembertFamily{
    kCamembert, read_gguf<kCamembert>, {kCamembert, kPrefix, metadata<kCamembert>, kNames}};

}  // namespace troupe::model
