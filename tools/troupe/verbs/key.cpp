#include <cstdio>
#include <memory>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include <troupe/tools/troupe/connect.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/terminal/units.h>
#include <troupe/tools/troupe/verbs.h>
#include <troupe/tools/troupe/verbs/api_key.h>
#include <troupe/tools/troupe/views/cluster_view.h>
#include <troupe/tools/troupe/views/to_json.h>

namespace troupe::tools {
namespace {

struct KeyOptions {
  CommonOptions common;
  std::string cluster;
  // for `new`
  std::optional<int> uses;
  std::string expires = "24h", role = "node";
  ApiKeyOptions api;
  // for `revoke`
  std::string subject;
};

// Connects, asks, and returns what the head answered.
template <class Ask>
auto ask_head(const KeyOptions& options, Ask ask) -> decltype(ask(std::declval<Cluster&>())) {
  set_up_logging(LogLevel::kWarning, options.common.verbose);
  TROUPE_ASSIGN_OR_RETURN(Cluster cluster, connect_cluster(options.common.home, options.cluster));
  return ask(cluster);
}

int make_key(const KeyOptions& options) {
  const bool as_json = options.common.json;
  if (options.api.wanted()) return make_api_key(options.api, as_json);
  const Result<std::int64_t> lifetime = parse_duration(options.expires, true);
  if (!lifetime || *lifetime == 0) {
    const std::string why = lifetime ? "takes a time longer than 0" : lifetime.message();
    return fail(
        Status(Code::kInvalidArgument, "--expires " + why + ", not '" + options.expires + "'"),
        as_json);
  }
  const bool node = options.role == "node";
  const int allowed = options.uses.value_or(1);
  const Result<NewToken> made = ask_head(options, [&](Cluster& cluster) {
    return cluster.new_token({options.role, allowed, *lifetime == kForever ? 0 : *lifetime});
  });
  if (!made) return fail(made.status(), as_json);
  if (as_json) {
    print_json(to_json(*made));
    return kExitOk;
  }
  std::printf("%s\n", made->token.c_str());
  const std::string uses = allowed == 1 ? "once" : std::to_string(allowed) + " times";
  const std::string until =
      *lifetime == kForever ? "for ever" : "for " + format_duration(*lifetime);
  say("token " + made->id + " lets a " + options.role + " in, " + uses + ", " + until + ": " +
      (node ? "troupe start --join TOKEN" : "--cluster TOKEN") +
      " with the line on stdout for TOKEN");
  return kExitOk;
}

std::string expiry_of(const TokenStatus& token) {
  if (!token.expires_in_s) return "never";
  return *token.expires_in_s < 0 ? "expired" : "in " + format_duration(*token.expires_in_s);
}

int list_keys(const KeyOptions& options) {
  const Result<KeyList> keys = ask_head(options, [](Cluster& cluster) { return cluster.keys(); });
  if (!keys) return fail(keys.status(), options.common.json);
  if (options.common.json) {
    print_json(to_json(*keys));
    return kExitOk;
  }
  std::vector<std::vector<std::string>> rows = {{"TOKEN", "LETS IN", "USES LEFT", "EXPIRES", ""}};
  for (const TokenStatus& token : keys->tokens) {
    rows.push_back({token.id, token.role, std::to_string(token.uses_left), expiry_of(token),
                    token.join ? "printed by troupe start" : ""});
  }
  print_table(rows);
  rows = {{"KEY", "ROLE", "NAME", "STATE", "BY TOKEN"}};
  for (const MemberStatus& member : keys->members) {
    rows.push_back(
        {member.id, member.role, or_dash(member.name), member.state, or_dash(member.token)});
  }
  std::printf("\n");
  print_table(rows);
  return kExitOk;
}

int revoke_key(const KeyOptions& options) {
  const Result<RevokedKey> revoked =
      ask_head(options, [&](Cluster& cluster) { return cluster.revoke_key(options.subject); });
  if (!revoked) return fail(revoked.status(), options.common.json);
  if (options.common.json) {
    print_json(to_json(*revoked));
  } else {
    std::printf("%s\n", revoked->text.c_str());
  }
  return kExitOk;
}

int approve_key(const KeyOptions& options) {
  const Result<ApprovedKey> approved =
      ask_head(options, [&](Cluster& cluster) { return cluster.approve_key(options.subject); });
  if (!approved) return fail(approved.status(), options.common.json);
  if (options.common.json) {
    print_json(to_json(*approved));
  } else {
    std::printf("%s\n", approved->text.c_str());
  }
  return kExitOk;
}

void add_key_options(CLI::App& app, KeyOptions& options) {
  add_cluster_option(app, options.cluster);
  add_common_options(app, options.common);
}

}  // namespace

Action add_key(CLI::App& app) {
  auto options = std::make_shared<KeyOptions>();
  app.require_subcommand(1);
  CLI::App* make = app.add_subcommand("new", "Make a token with which a node or client may join");
  make->add_option("--uses", options->uses,
                   "How many nodes or clients may join with it; they remain when it ends [1]")
      ->check(whole_number(1, 1'000'000));
  make->add_option("--expires", options->expires,
                   "How long it is valid: 90s, 24h, 7d, forever [24h]")
      ->type_name("TIME");
  make->add_option("--role", options->role,
                   "The role with which they join: node, user, server, operator or admin [node]")
      ->check(CLI::IsMember({"node", "user", "client", "server", "operator", "admin"}))
      ->type_name("ROLE");
  add_api_key_options(*make, options->api);
  add_key_options(*make, *options);
  make->footer(
      "Examples:\n"
      "  troupe key new                                   one node, within a day\n"
      "  troupe key new --role user --expires 7d          a person who asks from another machine\n"
      "  troupe start --join $(troupe key new)            a node on this machine\n"
      "  troupe key new --api shop --api-key-file keys    an API key for troupe serve");
  CLI::App* list = app.add_subcommand("ls", "List tokens, and the keys of nodes and clients");
  add_key_options(*list, *options);
  list->footer("Examples:\n  troupe key ls\n  troupe key ls --json   {\"tokens\",\"members\"}");
  CLI::App* revoke =
      app.add_subcommand("revoke", "End a token, or exclude a node or client for good");
  revoke->add_option("KEY", options->subject, "The id of a token or key, or the name of a node")
      ->required()
      ->type_name("");
  add_key_options(*revoke, *options);
  revoke->footer("Examples:\n  troupe key revoke node-2\n  troupe key revoke 1f00ba12");
  CLI::App* approve =
      app.add_subcommand("approve", "Let in a newcomer that waits (troupe start --head --approve)");
  approve
      ->add_option("NEWCOMER", options->subject,
                   "The id that the newcomer was told, or the name that it gave itself")
      ->required()
      ->type_name("");
  add_key_options(*approve, *options);
  approve->footer(
      "The newcomer is let in when it comes again, within its token's time.\n"
      "\n"
      "Examples:\n  troupe key approve 1f00ba12\n  troupe key approve node-2");
  app.footer(
      "Keys are managed by admins: the user who started the head, on its machine, and clients\n"
      "that joined with a token of the role admin. A token is shown only once, when it is made.\n"
      "\n"
      "Examples:\n"
      "  troupe key new --expires 1h      a token for one more node\n"
      "  troupe key ls                    what may join, and what has joined\n"
      "  troupe key revoke node-2         its frames are dropped, its layers go elsewhere");
  return [options, make, list, approve] {
    return make->parsed()      ? make_key(*options)
           : list->parsed()    ? list_keys(*options)
           : approve->parsed() ? approve_key(*options)
                               : revoke_key(*options);
  };
}

}  // namespace troupe::tools
