#pragma once

#include <cstdint>

#include <troupe/runtime/net/sim/sim_network.h>

// What happened in simulated schedules.

namespace troupe::actors::simulation {

// Counts the events of schedules, so that a test can prove that each kind happened.
struct Happened {
  net::SimFaults network;
  std::uint64_t kills = 0, restarts = 0, head_kills = 0, freezes = 0, cuts = 0, one_way_cuts = 0;
  std::uint64_t breaks = 0, leaves = 0, joins = 0, revocations = 0, client_kills = 0;
  std::uint64_t forged = 0, stale_frames = 0, replays = 0, replacements = 0, quarantined = 0;
  std::uint64_t rejected_checksum = 0, rejected_sequence = 0, rejected_revoked = 0;
  std::uint64_t requests = 0, complete = 0, errors = 0, orphans = 0, tokens = 0, fetched = 0;
  std::uint64_t shared = 0, preempted = 0;  // positions that were found; requests that gave way
  std::uint64_t drafted = 0, accepted = 0;  // ids that were drafted; that came true
  std::uint64_t attacks = 0, floods = 0, hostile_frames = 0;  // of members that mean harm
  std::uint64_t strange_frames = 0, foreign_orders = 0, wrong_role_frames = 0, hasty_frames = 0;
  std::uint64_t deaf = 0;         // daemons that were reached before they listened
  std::uint64_t stale_keys = 0;   // clients that tried the key of a head that had ended
  std::uint64_t credits_met = 0;  // how often all credits of a path were in use
};

}  // namespace troupe::actors::simulation
