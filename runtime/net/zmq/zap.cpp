#include <array>
#include <cstring>
#include <iterator>
#include <utility>

#include <troupe/runtime/log.h>
#include <troupe/runtime/net/zmq/zap.h>

namespace troupe::net::zmq {
namespace {

constexpr std::string_view kGranted = "200";
constexpr std::string_view kLater = "300";
constexpr std::string_view kRefused = "400";
// The number of handshakes, of all keys together, that may wait for their key's pace; others are
// sent away at once.
constexpr std::size_t kHeldMax = 2048;
constexpr std::int64_t kHoldUs = 1'000'000;
constexpr std::int64_t kLookEveryUs = 50'000;

}  // namespace

Result<ZapServer> ZapServer::open(const Context& context) {
  ZapServer server;
  // A ROUTER may answer later, and in another order, than it was asked.
  TROUPE_ASSIGN_OR_RETURN(server.socket_, Socket::open(context, ZMQ_ROUTER));
  // The socket's clients are our own I/O threads, with one question for each handshake. No bound on
  // a queue may block them.
  server.socket_.set(ZMQ_RCVHWM, 0);
  server.socket_.set(ZMQ_SNDHWM, 0);
  if (zmq_bind(server.socket_.get(), "inproc://zeromq.zap.01") != 0) {
    return Status(Code::kInternal,
                  std::string("cannot serve authentication: ") + zmq_strerror(zmq_errno()));
  }
  return server;
}

bool ZapServer::read(Question* question, std::string* address, bool* sound) {
  // The session's route, a delimiter, then version, request id, domain, address, identity,
  // mechanism and CURVE's client key.
  std::array<Message, 9> parts;
  if (!socket_.receive(parts[0])) return false;
  std::size_t count = 1;
  bool more = parts[0].more();
  Message surplus;
  while (more) {
    Message& part = count < parts.size() ? parts[count] : surplus;
    if (!socket_.receive(part)) break;
    more = part.more();
    ++count;
  }
  question->route = parts[0].text();
  question->request = count > 3 ? parts[3].text() : "";
  *address = count > 5 ? parts[5].text() : "?";
  *sound = count == parts.size() && parts[2].text() == "1.0" && parts[4].text() == kZapDomain &&
           parts[7].text() == "CURVE" && parts[8].bytes().size() == question->key.size();
  if (*sound) std::memcpy(question->key.data(), parts[8].bytes().data(), question->key.size());
  return true;
}

void ZapServer::answer(const Question& question, std::string_view status) {
  const bool granted = status == kGranted;
  const std::string user =
      granted ? to_z85(question.key) + "~" + std::to_string(++connections_) : "";
  const std::string text = status == kRefused ? "this key is not allowed here" : "";
  const std::string reply[] = {question.route,      "",   "1.0", question.request,
                               std::string(status), text, user,  ""};
  for (std::size_t i = 0; i < std::size(reply); ++i) {
    Message part(reply[i]);
    if (socket_.send(part, i + 1 < std::size(reply)) != 0) break;  // the session is gone
  }
}

void ZapServer::warn(std::int64_t now_us, const std::string& line) {
  if (now_us - logged_us_ < 1'000'000) return;
  logged_us_ = now_us;
  log(LogLevel::kWarning, line);
}

bool ZapServer::serve(const AllowList& allowed, AtomicCounters& counters, std::int64_t now_us) {
  bool any = false, sound = false;
  Question question;
  std::string address;
  while (read(&question, &address, &sound)) {
    any = true;
    const std::optional<Role> role = sound ? allowed.role(question.key) : std::nullopt;
    if (!role) {
      counters.add(counters.refused_keys);
      answer(question, kRefused);
      warn(now_us, "refused a connection from " + address + ": its key " + to_z85(question.key) +
                       " is not allowed here");
      continue;
    }
    question.pace = allowed.pace(question.key, *role);
    if (pace_.admit(question.key, question.pace, now_us)) {
      answer(question, kGranted);
      continue;
    }
    counters.add(counters.paced);
    if (held_.size() >= kHeldMax) {
      answer(question, kLater);
      continue;
    }
    warn(now_us, "the key " + key_id(question.key) + " opens connections from " + address +
                     " too fast: they wait");
    question.until_us = now_us + kHoldUs;
    if (held_.empty()) look_us_ = now_us + kLookEveryUs;
    held_.push_back(std::move(question));
  }
  return any;
}

void ZapServer::answer_due(std::int64_t now_us) {
  if (held_.empty() || now_us < look_us_) return;
  look_us_ = now_us + kLookEveryUs;
  for (Question& question : std::exchange(held_, {})) {
    if (pace_.admit(question.key, question.pace, now_us)) {
      answer(question, kGranted);
    } else if (now_us >= question.until_us) {
      answer(question, kLater);
    } else {
      held_.push_back(std::move(question));
    }
  }
}

std::optional<std::int64_t> ZapServer::due_us() const {
  if (held_.empty()) return std::nullopt;
  return look_us_;
}

}  // namespace troupe::net::zmq
