#include <troupe/model/families/read.h>

// MPNet: RoBERTa without segments, whose heads also add to each score a value for the distance of
// the key. There are no GGUF files of it. Source: Song et al. 2020; transformers'
// modeling_mpnet.py, whose buckets config.json does not change.

namespace troupe::model {
namespace {

constexpr const char* kArch = "mpnet";
constexpr std::uint64_t kBuckets = 32;

Result<ModelConfig> read_gguf(const GgufHeader& header) {
  ModelConfig config;
  TROUPE_RETURN_IF_ERROR(HeaderReader(header, kArch).bert(&config));
  config.relative_buckets = kBuckets;
  return config;
}

Status metadata(const HfConfig& config, GgufMetadata* out) {
  constexpr const char* kField = "relative_attention_num_buckets";
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t buckets, config.u64(kField, kBuckets));
  if (buckets != kBuckets)
    return config.bad("the field \"" + std::string(kField) + "\" is " + std::to_string(buckets) +
                      ", but only " + std::to_string(kBuckets) + " can be run");
  return hf_bert(config, kArch, /*padding=*/true, out);
}

const std::vector<HfName> kNames = bert_names_with({
    {"encoder.relative_attention_bias.weight", "enc.attn_rel_b.weight"},
    {"encoder.layer.*.attention.attn.q.weight", "blk.*.attn_q.weight"},
    {"encoder.layer.*.attention.attn.q.bias", "blk.*.attn_q.bias"},
    {"encoder.layer.*.attention.attn.k.weight", "blk.*.attn_k.weight"},
    {"encoder.layer.*.attention.attn.k.bias", "blk.*.attn_k.bias"},
    {"encoder.layer.*.attention.attn.v.weight", "blk.*.attn_v.weight"},
    {"encoder.layer.*.attention.attn.v.bias", "blk.*.attn_v.bias"},
    {"encoder.layer.*.attention.attn.o.weight", "blk.*.attn_output.weight"},
    {"encoder.layer.*.attention.attn.o.bias", "blk.*.attn_output.bias"},
    {"encoder.layer.*.attention.LayerNorm.weight", "blk.*.attn_output_norm.weight"},
    {"encoder.layer.*.attention.LayerNorm.bias", "blk.*.attn_output_norm.bias"},
    {"classifier.dense.weight", "cls.weight"},
    {"classifier.dense.bias", "cls.bias"},
    {"classifier.out_proj.weight", "cls.output.weight"},
    {"classifier.out_proj.bias", "cls.output.bias"},
});

}  // namespace

const Family kMpnetFamily{kArch, read_gguf, {kArch, "mpnet.", metadata, kNames}};

}  // namespace troupe::model
