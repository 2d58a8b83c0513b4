#pragma once

#include <fstream>
#include <map>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include <troupe/actors/messages/rights.h>
#include <troupe/actors/messages/types.h>
#include <troupe/runtime/net/transport.h>
#include <troupe/runtime/wire/codec.h>

// The tables of docs/wire.md that say which role may do what, and what the code's tables have in
// their cells.

namespace troupe::actors::test {

using net::Role;

inline constexpr Role kRoles[] = {Role::kHead,   Role::kNode,     Role::kEnrol, Role::kClient,
                                  Role::kServer, Role::kOperator, Role::kAdmin};

// Row -> column -> cell.
using Table = std::map<std::string, std::map<std::string, std::string>>;

inline std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells;
  std::istringstream in(line.substr(1));
  for (std::string cell; std::getline(in, cell, '|');) {
    const auto begin = cell.find_first_not_of(' ');
    const auto end = cell.find_last_not_of(' ');
    cells.push_back(begin == std::string::npos ? "" : cell.substr(begin, end - begin + 1));
  }
  return cells;
}

// Returns the table whose first two columns have these titles.
inline Table table_of(const std::string& title, const std::string& second = "head") {
  std::ifstream file(std::string(TROUPE_SOURCE_DIR) + "/docs/wire.md");
  REQUIRE(file);
  Table table;
  std::vector<std::string> columns;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line.front() != '|') {
      columns.clear();
      continue;
    }
    const std::vector<std::string> cells = cells_of(line);
    if (columns.empty()) {
      columns = cells;
    } else if (columns.front() == title && columns.at(1) == second && cells.front() != "---") {
      REQUIRE(cells.size() == columns.size());
      REQUIRE(!table.contains(cells.front()));
      for (std::size_t i = 1; i < cells.size(); ++i) table[cells.front()][columns[i]] = cells[i];
    }
  }
  REQUIRE(!table.empty());
  return table;
}

inline std::string cell_of(const MessageRow& row, Role role) {
  if ((row.senders & role_bit(role)) == 0) return "-";
  switch (row.scope) {
    case Scope::kOrder:
    case Scope::kSelf:
    case Scope::kPath:
    case Scope::kOwn:
      return "own";
    case Scope::kAsk:
      return "ask";
    case Scope::kShared:
      return "all";
  }
  return "";
}

inline std::string cell_of(Reach reach) {
  return reach == Reach::kNothing ? "-" : reach == Reach::kOwn ? "own" : "all";
}

template <class Kind>
void check_asks(const std::string& title, std::span<const AskName> asks) {
  Table table = table_of(title);
  CHECK(table.size() == asks.size());
  for (const AskName& ask : asks) {
    INFO(title << " " << ask.name);
    REQUIRE(table.contains(ask.name));
    for (const Role role : kRoles) {
      CHECK(table[ask.name][net::role_name(role)] ==
            cell_of(reach_of(static_cast<Kind>(ask.kind), role)));
    }
  }
}

template <class Message>
net::InFrame frame_from(const net::PublicKey& peer, Role role, const Message& message) {
  net::InFrame frame;
  frame.peer = peer;
  frame.role = role;
  frame.channel = net::Channel::kControl;
  frame.header.type = static_cast<std::uint16_t>(Message::kType);
  frame.header.incarnation = 9;
  frame.body = wire::encode(message);
  return frame;
}

}  // namespace troupe::actors::test
