#pragma once

// The list of model families, one row each: NAME of kNAMEFamily, which the family's source file
// defines (family.h). A new family is a row here and that file.

#define TROUPE_FAMILIES(ROW) \
  ROW(Llama)                 \
  ROW(Mistral)               \
  ROW(Qwen2)                 \
  ROW(Qwen3)                 \
  ROW(Gpt2)                  \
  ROW(Bert)                  \
  ROW(Gemma2)                \
  ROW(Gemma3)                \
  ROW(Phi3)                  \
  ROW(Olmo2)                 \
  ROW(SmolLm3)               \
  ROW(Granite)               \
  ROW(Glm4)                  \
  ROW(Mixtral)               \
  ROW(Qwen2Moe)              \
  ROW(Qwen3Moe)              \
  ROW(GptOss)                \
  ROW(Roberta)               \
  ROW(XlmRoberta)            \
  ROW(Camembert)             \
  ROW(DistilBert)            \
  ROW(Mpnet)                 \
  ROW(ModernBert)
