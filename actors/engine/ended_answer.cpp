#include <troupe/actors/engine/ended_answer.h>

namespace troupe::actors {

Status other_arithmetic(std::uint32_t begun, std::uint32_t ours) {
  return Status(Code::kFailedPrecondition,
                "this answer was begun by arithmetic version " + std::to_string(begun) +
                    ", and the cluster now computes by version " + std::to_string(ours) +
                    ", whose text could differ from here on, so that the answer ends here; ask "
                    "again for a whole answer of the new version");
}

Result<std::vector<EngineEvent>> ended_answer(EngineRequest request,
                                              const model::Tokenizer& tokenizer,
                                              const Status& why) {
  std::vector<EngineEvent> events;
  AnswerText text(request.stop);
  for (std::size_t i = 0; i < request.answer.size(); ++i) {
    const model::TokenId id = request.answer[i];
    Token token{request.id, static_cast<std::uint32_t>(i), id, "", {}};
    if (request.ignore_end || !tokenizer.is_end(id)) {
      TROUPE_ASSIGN_OR_RETURN(const std::string piece, tokenizer.piece(id, false));
      token.text = text.push(piece);
    }
    if (i + 1 == request.answer.size()) token.text += text.finish();
    events.push_back({request.id, std::move(token), std::nullopt});
  }
  Finished finished = failed_request(request.id, why);
  finished.text = text.shown();
  finished.prompt_ids = std::move(request.prompt);
  finished.token_ids = std::move(request.answer);
  events.push_back({request.id, std::nullopt, std::move(finished)});
  return events;
}

}  // namespace troupe::actors
