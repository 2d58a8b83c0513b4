#include <utility>

#include <troupe/model/jinja/access.h>
#include <troupe/model/jinja/error.h>
#include <troupe/model/jinja/evaluator.h>
#include <troupe/runtime/text/utf8.h>

// Loops, and the object `loop` that a template finds in them.

namespace troupe::model::jinja {

Result<Flow> Evaluator::execute_for(const Statement& statement) {
  TROUPE_ASSIGN_OR_RETURN(const Value value, evaluate(*statement.expression));
  return run_loop(statement, value, scope_, 0);
}

Result<bool> Evaluator::take_item(LoopRun* run) {
  const Statement& statement = *run->statement;
  while (run->next < run->source.size()) {
    const Value& item = run->source[run->next++];
    TROUPE_RETURN_IF_ERROR(budget_.step(statement.line));
    if (statement.condition != nullptr) {
      const ScopeGuard guard(this, run->around);
      TROUPE_RETURN_IF_ERROR(assign(statement.line, statement.target, item));
      TROUPE_ASSIGN_OR_RETURN(const Value holds, evaluate(*statement.condition));
      if (!truth(holds)) continue;
    }
    run->loop->items.push_back(item);
    return true;
  }
  TROUPE_RETURN_IF_ERROR(run->failed);
  return false;
}

Result<Flow> Evaluator::run_iterations(LoopRun* run, bool* completed) {
  const Statement& statement = *run->statement;
  Object& loop = *run->loop;
  for (;; ++loop.at) {
    if (loop.at == loop.items.size()) {
      TROUPE_ASSIGN_OR_RETURN(const bool more, take_item(run));
      if (!more) return Flow::kNormal;
    }
    const ScopeGuard guard(this, run->around);
    put(&scope_->values, "loop", Value(run->loop));
    TROUPE_RETURN_IF_ERROR(assign(statement.line, statement.target, loop.items[loop.at]));
    TROUPE_ASSIGN_OR_RETURN(const Flow flow, execute(statement.body));
    if (flow == Flow::kBreak) return Flow::kNormal;
    *completed = *completed || flow == Flow::kNormal;
  }
}

Result<Flow> Evaluator::run_loop(const Statement& statement, const Value& value, Scope* around,
                                 int level) {
  LoopRun run;
  run.statement = &statement;
  run.around = around;
  Object* const iterator = value.is(Object::Kind::kIterator) ? value.object() : nullptr;
  const std::size_t begin = iterator == nullptr ? 0 : iterator->at;
  if (iterator == nullptr) {
    TROUPE_ASSIGN_OR_RETURN(run.source, iterate(&budget_, statement.line, value));
  } else {
    TROUPE_RETURN_IF_ERROR(budget_.take(statement.line, iterator->items.size() * sizeof(Value)));
    run.source.assign(iterator->items.begin() + static_cast<std::ptrdiff_t>(begin),
                      iterator->items.end());
    run.failed = iterator->failed;
  }
  run.loop = std::make_shared<Object>();
  run.loop->kind = Object::Kind::kLoop;
  run.loop->level = level;
  run.loop->weight = value.weight();
  run.loop->depth = value.depth() + 1;
  run.loop->foreign = value.is_foreign();
  if (statement.recursive) {
    run.loop->recursive = &statement;
    run.loop->around = around;
  }
  run.outer = std::exchange(loops_, &run);
  bool completed = false;
  const Result<Flow> flow = run_iterations(&run, &completed);
  loops_ = run.outer;
  // An iterator goes on after the items that the loop has taken.
  if (iterator != nullptr) iterator->at = begin + run.next;
  if (!flow.is_ok()) return flow;
  // As in Jinja, the else runs if no turn of the loop came to its end.
  if (completed) return Flow::kNormal;
  const ScopeGuard guard(this, around);
  return execute(statement.otherwise);
}

Result<Value> Evaluator::loop_attribute(const Value& value, const std::string& name) {
  Object& loop = *value.object();
  LoopRun* run = loops_;
  while (run != nullptr && run->loop.get() != &loop) run = run->outer;
  const auto number = [](std::size_t one) { return Value(static_cast<std::int64_t>(one)); };
  if (name == "index") return number(loop.at + 1);
  if (name == "index0") return number(loop.at);
  if (name == "first") return Value(loop.at == 0);
  if (name == "depth") return Value(std::int64_t{loop.level} + 1);
  if (name == "depth0") return Value(std::int64_t{loop.level});
  if (name == "previtem") return loop.at > 0 ? loop.items[loop.at - 1] : Value();
  if (name == "last" || name == "nextitem") {
    if (run != nullptr && loop.at + 1 == loop.items.size()) {
      TROUPE_RETURN_IF_ERROR(take_item(run).status());
    }
    const bool last = loop.at + 1 >= loop.items.size();
    if (name == "last") return Value(last);
    return last ? Value() : loop.items[loop.at + 1];
  }
  if (name == "length" || name == "revindex" || name == "revindex0") {
    for (bool more = run != nullptr; more;) {
      TROUPE_ASSIGN_OR_RETURN(more, take_item(run));
    }
    if (name == "length") return number(loop.items.size());
    return number(loop.items.size() - loop.at - (name == "revindex" ? 0 : 1));
  }
  if (name == "cycle" || name == "changed") {
    Callable callable;
    callable.method = std::make_shared<const BoundMethod>(BoundMethod{value, name});
    return Value(std::move(callable));
  }
  return Value();
}

Result<Value> Evaluator::call_loop_method(int line, const Value& value, const std::string& name,
                                          const Arguments& arguments) {
  Object& loop = *value.object();
  if (name == "cycle") {
    if (arguments.positional.empty()) return template_error(line, "'cycle' needs values");
    return arguments.positional[loop.at % arguments.positional.size()];
  }
  if (name != "changed") {
    return template_error(line, "a loop has no method " + in_quotes(name));
  }
  Value now = tuple_of(arguments.positional);
  const Value* before = find(loop.state, name);
  const bool same = before != nullptr && equal(*before, now);
  if (!same) put(&loop.state, name, std::move(now));
  return Value(!same);
}

Result<Value> Evaluator::call_loop(int line, const Value& value, const Arguments& arguments) {
  const Object& loop = *value.object();
  if (loop.recursive == nullptr) {
    return template_error(line, "loop(...) is called in a loop without 'recursive'");
  }
  if (arguments.positional.size() != 1) return template_error(line, "loop(...) takes the items");
  const Level level(&level_);
  TROUPE_RETURN_IF_ERROR(enter(line));
  Text text;
  Text* const before = std::exchange(out_, &text);
  const Result<Flow> flow =
      run_loop(*loop.recursive, arguments.positional[0], loop.around, loop.level + 1);
  out_ = before;
  if (!flow.is_ok()) return flow.status();
  return Value(std::move(text));
}

}  // namespace troupe::model::jinja
