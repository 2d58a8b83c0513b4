#pragma once

#include <string>
#include <vector>

#include <troupe/actors/http/answer_json.h>
#include <troupe/actors/http/gateway.h>
#include <troupe/actors/http/prepared_ask.h>
#include <troupe/runtime/status.h>

// The parts of a stream as they lie in the file of streams: what was asked for, without the words
// of the messages, and what was said. Pure; any thread.

namespace troupe::http {

std::string encode_ask(const AnswerHead& head, const PreparedAsk& prepared);
// `models` are those of the server as it is now.
//   Errors: kBadData (no stream, or one of another release), kNotFound (its model is not served).
Status decode_ask(const std::string& bytes, const ServedModels& models, AnswerHead* head,
                  PreparedAsk* prepared);

// AnswerEvent::answer is the number of the choice. Log-probabilities of prompts, and times, are not
// kept.
std::string encode_events(const std::vector<AnswerEvent>& events);
// Errors: kBadData.
Result<std::vector<AnswerEvent>> decode_events(const std::string& bytes);

}  // namespace troupe::http
