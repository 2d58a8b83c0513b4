#pragma once

#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <troupe/actors/messages/enrolment.h>

#include "frame_watch.h"
#include "happened.h"
#include "world.h"

// Members of a simulated cluster that were let in and mean harm, outside of every deployment's
// path: a node that nobody can dial, so that it gets no layers, a client, and a process that has
// nothing but the join token. They say what the release program would not. Nothing of it may be
// believed, and the others must be served.

namespace troupe::actors::simulation {

class Hostile {
 public:
  static constexpr net::SimHost kNode = 40, kClient = 41, kNewcomer = 42;

  Hostile(World& world, FrameWatch& frames, Happened& happened, std::uint64_t seed)
      : world_(world), frames_(frames), happened_(happened), random_(seed) {
    frames_.outsiders = {kNode, kClient, kNewcomer};
  }

  void enter() {
    world_.network.wall_in(kNode);
    world_.start_node(kNode);
    world_.start_client(kClient);
  }
  // Ends them, and says what of their work has lasted; empty if nothing has.
  std::string leave() {
    newcomer_.reset();
    for (const net::SimHost host : {kNode, kClient}) {
      if (!world_.kill(host)) return "actors were left over when a hostile process ended";
    }
    for (const MemberRecord& member : world_.admission->members()) {
      const bool ours = member.key == World::key_of(kNode);
      if (net::is_client(member.role) && member.key != claimed_client_) continue;
      if (member.role != net::Role::kNode) return "a member got another role";
      if (!ours && member.key == stranger_) return "a key without proof was enrolled";
    }
    return "";
  }

  // Returns what was done, for the story.
  std::string attack(std::size_t nodes) {
    static constexpr std::string (Hostile::*kKinds[])(std::size_t) = {
        &Hostile::forge_steps, &Hostile::forge_steps,    &Hostile::lie_about_stages,
        &Hostile::poison,      &Hostile::fetch_all,      &Hostile::change_roles,
        &Hostile::give_orders, &Hostile::flood_sometimes};
    if (!world_.runs(kNode) || world_.at(kNode).stopped) return "nothing: it was put out";
    ++happened_.attacks;
    return (this->*kKinds[random_() % std::size(kKinds)])(nodes);
  }

 private:
  Link& node() { return *world_.at(kNode).link; }
  net::PublicKey head() const { return world_.head_key(); }
  template <class Message>
  void say(Link& link, const net::PublicKey& to, const Message& message, std::uint64_t epoch = 0,
           std::uint64_t step = 0) {
    happened_.hostile_frames += link.send(to, Message::kType, message, epoch, step).is_ok();
  }
  // Lets the hostile node dial everybody whom it can reach.
  void dial(std::size_t nodes) {
    for (net::SimHost host = 1; host <= nodes; ++host) {
      for (const auto channel : {net::Channel::kActivations, net::Channel::kBulk}) {
        node().transport()->dial(World::key_of(host), World::endpoint(host), channel);
      }
    }
    node().transport()->dial(head(), World::endpoint(0), net::Channel::kActivations);
    node().transport()->dial(head(), World::endpoint(0), net::Channel::kBulk);
  }

  // Forges steps and results of the epoch that counts, right in all but what they say.
  std::string forge_steps(std::size_t nodes) {
    dial(nodes);
    StepDone lies;
    for (const StepSegment& segment : frames_.newest().segments) {
      lies.tokens.push_back({segment.request, segment.position + segment.count, 1, {}});
    }
    for (const std::uint64_t epoch : frames_.epochs_now()) {
      for (std::uint64_t step = 0; step < 3; ++step) {
        const std::uint64_t id = frames_.newest_id() + step;
        say(node(), head(), lies, epoch, id);
        say(node(), head(), StepFailed{{1}, Status(Code::kInternal, "forged"), step == 1}, epoch,
            id);
        for (net::SimHost host = 1; host <= nodes; ++host) {
          say(node(), World::key_of(host), frames_.newest(), epoch, id);
        }
      }
    }
    return "steps forged under the epochs that count";
  }
  std::string lie_about_stages(std::size_t) {
    std::vector<std::uint64_t> epochs = frames_.epochs_now();
    epochs.push_back(random_());
    for (const std::uint64_t epoch : epochs) {
      for (const auto blame : {StageFailed::kStage, StageFailed::kNext, StageFailed::kNobody}) {
        say(node(), head(), StageFailed{epoch, Status(Code::kBadData, "forged"), blame});
      }
      say(node(), head(), StageLoaded{epoch, 1, 1});
      say(node(), head(), PeersAllowed{epoch});
      say(node(), head(), PeersAllowed{random_() % 4});
    }
    Measured costs;
    costs.number = random_() % 4;
    say(node(), head(), costs);
    say(node(), head(), Prefetched{world_.common().file.manifest.model, 0, 1u << 30, 0, 0});
    return "lies about stages of others and foreign epochs";
  }
  // Sends the model's id with other contents, and chunks that nobody asked for.
  std::string poison(std::size_t nodes) {
    dial(nodes);
    const model::Manifest& right = world_.common().file.manifest;
    OpenModel open;
    open.request = random_();
    open.model = right.model;
    open.has_manifest = true;
    open.manifest = right;
    switch (random_() % 4) {
      case 0:
        open.manifest.header.sha256 = std::string(64, 'a');
        break;
      case 1:
        open.manifest.tensors.back().blob.sha256 = std::string(64, 'b');
        break;
      case 2:
        open.manifest.tensors.front().name += "x";
        break;
      default:
        open.manifest.file_bytes = 1;  // a claim that the id does not prove
        break;
    }
    if (world_.runs(kClient) && world_.at(kClient).connected) {
      Link& client = *world_.at(kClient).link;
      say(client, head(), open);
      say(client, head(), Serving{1});
      lie_about_blobs(client, head());
    }
    for (net::SimHost host = 0; host <= nodes; ++host) {
      lie_about_blobs(node(), host == 0 ? head() : World::key_of(host));
    }
    return "poisoned manifests and parts";
  }
  void lie_about_blobs(Link& link, const net::PublicKey& to) {
    const model::Manifest& right = world_.common().file.manifest;
    const auto bytes = std::make_shared<const std::vector<std::byte>>(64, std::byte{7});
    for (const auto& tensor : right.tensors) {
      happened_.hostile_frames +=
          link.send(to, MessageType::kBlobChunk, BlobChunk{tensor.blob.sha256, 0}, 0, 0,
                    net::Payload{bytes, *bytes})
              .is_ok();
      say(link, to, BlobMissing{tensor.blob.sha256, "forged"});
    }
  }
  // Asks for everything that there is to fetch. FrameWatch complains if it gets any of it.
  std::string fetch_all(std::size_t nodes) {
    dial(nodes);
    const model::Manifest& right = world_.common().file.manifest;
    for (net::SimHost host = 0; host <= nodes; ++host) {
      const net::PublicKey to = host == 0 ? head() : World::key_of(host);
      say(node(), to, FetchBlob{right.header.sha256, 0, 100});
      for (const auto& tensor : right.tensors) {
        say(node(), to, FetchBlob{tensor.blob.sha256, 0, 100});
      }
    }
    return "asks for every part of the model";
  }
  // With the join token alone, asks for other members' keys, and for other roles.
  std::string change_roles(std::size_t nodes) {
    if (!world_.runs(0)) return "nothing: there is no head";
    const net::Token& token = *world_.admission->join_token().token;
    const net::KeyPair door = net::enrolment_key_pair(token);
    net::TransportOptions options;
    options.identity = door;
    options.cluster = token.cluster;
    options.incarnation = 1 + random_() % 1000;
    newcomer_ = world_.network.open(kNewcomer, options, {});
    newcomer_->dial(head(), World::endpoint(0), net::Channel::kControl);
    const EnrolmentPlace place{token.cluster, door.public_key, options.incarnation};
    const net::KeyPair own = net::key_pair_from_seed({9, 9});
    const auto enrol = [&](const net::KeyPair& key, const net::KeyPair& identity, net::Role role) {
      net::OutFrame frame;
      frame.header.type = static_cast<std::uint16_t>(MessageType::kEnrol);
      frame.body = wire::encode(make_enrol(place, head(), key, identity, role, "forged"));
      happened_.hostile_frames +=
          newcomer_->send(head(), net::Channel::kControl, std::move(frame)).is_ok();
    };
    for (net::SimHost host = 1; host <= nodes; ++host) {
      const net::KeyPair claimed{World::key_of(host), own.secret_key};
      enrol(claimed, claimed, net::Role::kClient);
      enrol(claimed, claimed, net::Role::kNode);
    }
    const net::KeyPair stranger{stranger_, own.secret_key};
    enrol(stranger, stranger, net::Role::kNode);
    enrol(own, own, net::Role::kClient);  // by a token for nodes
    enrol(own, own, net::Role::kAdmin);
    return "claims keys and roles of others";
  }
  // Gives orders without being a head, and speaks as a node without being one.
  std::string give_orders(std::size_t nodes) {
    dial(nodes);
    for (net::SimHost host = 0; host <= nodes; ++host) {
      const net::PublicKey to = host == 0 ? head() : World::key_of(host);
      say(node(), to, StopDaemon{"forged"});
      for (const std::uint64_t epoch : frames_.epochs_now()) {
        say(node(), to, UnloadStage{epoch, false}, epoch);
      }
      say(node(), to, Refused{Status(Code::kPermissionDenied, "forged"), false});
    }
    if (world_.runs(kClient) && world_.at(kClient).connected) {
      Link& client = *world_.at(kClient).link;
      say(client, head(), Heartbeat{1, {}, {}});
      say(client, head(), Leave{"forged"});
      say(client, head(), Cancel{1 + random_() % 8});
    }
    return "orders of one who is no head";
  }
  std::string flood_sometimes(std::size_t) {
    if (random_() % 16 != 0) return "nothing";
    Heartbeat beat;
    for (std::uint64_t i = 0; i < 12'000; ++i) {
      beat.count = i;
      say(node(), head(), beat);
    }
    ++happened_.floods;
    return "a flood";
  }

  World& world_;
  FrameWatch& frames_;
  Happened& happened_;
  std::mt19937_64 random_;
  std::unique_ptr<net::Transport> newcomer_;
  const net::PublicKey stranger_ = net::key_pair_from_seed({8, 8}).public_key;
  const net::PublicKey claimed_client_ = net::key_pair_from_seed({9, 9}).public_key;
};

}  // namespace troupe::actors::simulation
