// Keys of the dedicated relay.
#include "tools/serverd/config/checks.h"
#include "tools/serverd/config/key_kinds.h"

namespace ringscale::serverd {

std::vector<Key> RelayKeys() {
  return {
      TextKey("relay.key_file", RINGSCALE_MEMBER(relay.key_file),
              "The relay's private key: derper's file (-c) or one of ours; made when there is\n"
              "none. Empty: derp_private.key in data_dir."),
      TextKey("relay.http_listen", RINGSCALE_MEMBER(relay.http_listen),
              "Plain HTTP: captive portal checks, and the way to https for everybody else.\n"
              "Empty: nowhere.",
              "\"ADDRESS:PORT\" or nothing", IsListenAddressOrNone),
      TextKey("relay.home", RINGSCALE_MEMBER(relay.home),
              "What visitors of \"/\" get. Empty: a page that says what this is; \"blank\": an\n"
              "empty one; a URL: they are sent there.",
              "a URL, \"blank\" or nothing", IsHomePage),
      ListKey("relay.bootstrap_dns_names", RINGSCALE_MEMBER(relay.bootstrap_dns_names),
              "a list of domain names", IsDomainName,
              "Names that are looked up for clients whose DNS does not work (/bootstrap-dns)."),
      TextKey("relay.mesh_key_file", RINGSCALE_MEMBER(relay.mesh_key_file),
              "A file with the mesh key, 64 hex digits: the same on every relay of a region\n"
              "with several. Who has it may watch and close clients, and is always admitted."),
      ListKey(
          "relay.mesh_with", RINGSCALE_MEMBER(relay.mesh_with),
          "a list of \"HOST\", \"HOST:PORT\" or \"HOST/DIAL-HOST\"", IsMeshPeer,
          "All relays of the region, this one may be among them. DIAL-HOST: where to\n"
          "connect to instead. Example: [\"derp1b.example.com\", \"derp1c.example.com/10.0.0.3\"]"),
      SwitchKey("relay.verify_clients", RINGSCALE_MEMBER(relay.verify_clients),
                "Only nodes that the tailscaled of this machine knows may use the relay."),
      TextKey("relay.tailscaled_socket", RINGSCALE_MEMBER(relay.tailscaled_socket),
              "Where that tailscaled is asked."),
      TextKey("relay.verify_client_url", RINGSCALE_MEMBER(relay.verify_client_url),
              "Only nodes that this URL allows may use the relay: the /verify of a server of\n"
              "ours or of headscale. Example: \"https://net.example.com/verify\"",
              "a URL that starts with http:// or https://, or nothing", IsHttpUrlOrEmpty),
      SwitchKey("relay.verify_client_url_fail_open",
                RINGSCALE_MEMBER(relay.verify_client_url_fail_open),
                "Whether clients are admitted while that URL cannot be reached."),
      CountKey("relay.accept_limit", RINGSCALE_MEMBER(relay.accept_limit), 0,
               "Connections accepted per second; more are closed at once. 0: any number."),
      CountKey("relay.accept_burst", RINGSCALE_MEMBER(relay.accept_burst), 0,
               "How many may come at once before that counts."),
      TextKey("relay.rate_config", RINGSCALE_MEMBER(relay.rate_config),
              "A file with the receive rate of each client, as derper's --rate-config. Read\n"
              "again on SIGHUP."),
      DurationKey("relay.tcp_keep_alive", RINGSCALE_MEMBER(relay.tcp_keep_alive), core::Seconds(1),
                  "a duration of at least \"1s\"", "TCP keep-alive of idle clients."),
      DurationKey("relay.tcp_user_timeout", RINGSCALE_MEMBER(relay.tcp_user_timeout),
                  core::Seconds(1), "a duration of at least \"1s\"",
                  "A client that acknowledges nothing for this long is gone."),
      DurationKey(
          "relay.tcp_write_timeout", RINGSCALE_MEMBER(relay.tcp_write_timeout), core::Duration{},
          "a duration such as \"2s\", or \"0\"",
          "A client that takes nothing for this long is closed; five times as long one that\n"
          "answers meanwhile or has had its window closed, as slow readers do. \"0\": never."),
      DurationKey("relay.drain", RINGSCALE_MEMBER(relay.drain), core::Duration{},
                  "a duration such as \"10s\", or \"0\"",
                  "Over how long SIGTERM and an upgrade spread the end of connections, so that\n"
                  "clients do not all come back at the same moment."),
  };
}

}  // namespace ringscale::serverd
