#pragma once

#include <cstddef>
#include <filesystem>
#include <vector>

#include <troupe/model/chat/chat_template.h>
#include <troupe/model/tokenizer/tokenizer.h>
#include <troupe/model/training/dataset.h>

// Chats to train on: rows of JSONL in the usual forms, and the examples that they become. What the
// assistant says is trained, including the token that ends its turn; everything else is only read.

namespace troupe::model {

struct ChatRow {
  std::size_t line = 0;
  std::vector<ChatMessage> messages;
  std::vector<ChatMessage>
      rejected;  // of a preference: the chat with the answer that is not wanted
};
struct ChatRows {
  std::vector<ChatRow> rows;
  std::vector<DroppedRow> dropped;
};

// Reads rows with one of these fields:
//   messages                    [{"role", "content"}, ...]
//   conversations               [{"from": "human" | "gpt" | "system", "value"}, ...] (ShareGPT)
//   prompt, completion          two texts
//   instruction, input, output  texts, of which input may be missing (Alpaca)
//   Errors: as read_data_rows.
Result<ChatRows> read_chat_rows(const std::filesystem::path& path);

// Reads preferences: rows with `prompt`, `chosen` and `rejected`, which are texts or lists of
// messages; lists may have the prompt in them.
//   Errors: the same.
Result<ChatRows> read_preference_rows(const std::filesystem::path& path);

// Makes an example of each chat. A preference gives two, the chosen one first, and only the last
// answer of these is trained. Its ids are those of the chat's text as the template writes it, and
// up to each answer they are the ids that `troupe run` gives the model to answer.
//   Errors: kFailedPrecondition if the model has no chat template, or one whose text of a chat does
//   not begin with its text of the chat up to an answer, so that nothing says where answers begin;
//   kBadData if no row is left.
Result<Dataset> chat_dataset(const ChatRows& rows, const Tokenizer& tokenizer,
                             const ChatTemplate* chat_template, const DatasetOptions& options);

}  // namespace troupe::model
