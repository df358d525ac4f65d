#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <fstream>
#include <mutex>

#include "control/derp/derp_map.h"
#include "control/derp/derp_sources.h"
#include "core/json/reader.h"
#include "tests/control/state_support.h"
#include "tests/support/temp_folder.h"

namespace ringscale::control::testing {
namespace {

constexpr const char* kJson = R"({"Regions":{"1":{"RegionID":1,"RegionCode":"nyc",
  "RegionName":"New York","Latitude":40.7,"Avoid":true,"Nodes":[{"Name":"1a","RegionID":1,
  "HostName":"derp1.example.com","IPv4":"192.0.2.1","IPv6":"none","STUNPort":-1,
  "DERPPort":8443,"CanPort80":true,"Unknown":[1]}]},"2":null},"omitDefaultRegions":false})";

constexpr const char* kYaml = R"(
regions:
  1: null
  900:
    regionid: 900
    regioncode: custom
    regionname: My Region
    nodes:
      - name: 900a
        regionid: 900
        hostname: myderp.example.com
        ipv4: 192.0.2.2
        stunport: 0
        stunonly: false
        derpport: 0
)";

TEST(DerpMap, Json) {
  const auto map = ParseDerpMapJson(kJson);
  ASSERT_TRUE(map.has_value()) << map.error().message;
  ASSERT_EQ(map->regions.size(), 2U);
  const DerpRegion& region = *map->regions.at(1);
  EXPECT_EQ(region.code, "nyc");
  EXPECT_EQ(region.latitude, 40.7);
  EXPECT_TRUE(region.avoid);
  EXPECT_EQ(region.nodes.front().stun_port, -1);
  EXPECT_EQ(region.nodes.front().derp_port, 8443);
  EXPECT_TRUE(region.nodes.front().can_port_80);
  EXPECT_FALSE(map->regions.at(2).has_value());
}

TEST(DerpMap, Yaml) {
  const auto map = ParseDerpMapYaml(kYaml);
  ASSERT_TRUE(map.has_value()) << map.error().message;
  EXPECT_FALSE(map->regions.at(1).has_value());
  EXPECT_EQ(map->regions.at(900)->nodes.front().host_name, "myderp.example.com");
}

TEST(DerpMap, LaterSourcesReplaceAndRemove) {
  DerpMap map;
  MergeDerpMap(map, *ParseDerpMapJson(kJson));
  EXPECT_EQ(map.regions.size(), 1U);
  MergeDerpMap(map, *ParseDerpMapYaml(kYaml));
  ASSERT_EQ(map.regions.size(), 1U);
  EXPECT_TRUE(map.regions.contains(900)) << "region 1 was taken away";
}

TEST(DerpMap, Malformed) {
  for (const char* text :
       {"", "{}", "[]", R"({"Regions":[]})", R"({"Regions":{"x":null}})",
        R"({"Regions":{"0":null}})", R"({"Regions":{"70000":null}})", R"({"Regions":{"1":5}})",
        R"({"Regions":{"1":{"RegionID":2,"Nodes":[{"Name":"a","HostName":"b"}]}}})",
        R"({"Regions":{"1":{"Nodes":[]}}})", R"({"Regions":{"1":{"Nodes":[5]}}})",
        R"({"Regions":{"1":{"Nodes":[{"Name":"a"}]}}})",
        R"({"Regions":{"1":{"Nodes":[{"Name":"a","HostName":"b c"}]}}})",
        R"({"Regions":{"1":{"Nodes":[{"Name":"a","HostName":"b","IPv4":"::1"}]}}})",
        R"({"Regions":{"1":{"Nodes":[{"Name":"a","HostName":"b","DERPPort":-1}]}}})",
        R"({"Regions":{"1":{"Nodes":[{"Name":"a","HostName":"b"},{"Name":"a","HostName":"c"}]}}})",
        R"({"Regions":{"1":{"Nodes":[{"Name":"a","HostName":"b","STUNPort":"1"}]}}})"}) {
    EXPECT_FALSE(ParseDerpMapJson(text).has_value()) << text;
  }
  for (const char* text : {"", "regions: 5", "regions: {x: null}", "regions: {1: {nodes: 5}}",
                           "regions: {1: {regionid: 2}}", "regions: {1: [}", "a: *b",
                           "regions: {1: {nodes: [{name: a, hostname: b, stunport: x}]}}"}) {
    EXPECT_FALSE(ParseDerpMapYaml(text).has_value()) << text;
  }
  EXPECT_FALSE(ParseDerpMapYaml(std::string(100'000, '[')).has_value());
  EXPECT_EQ(ParseDerpMapYaml(std::string(100, ' '), {.bytes = 10}).error().code,
            core::ErrorCode::kLimit);
}

TEST(DerpMap, EmbeddedRegionPerClient) {
  EmbeddedRegion embedded;
  embedded.pin = "sha256-raw:00ff";
  const auto node = [&](const DerpViewer& viewer) {
    return EmbeddedRegionFor(embedded, viewer)->nodes.front();
  };
  EXPECT_EQ(node({142, "203.0.113.9:8080", false}).host_name, "203.0.113.9");
  EXPECT_EQ(node({142, "203.0.113.9:8080", false}).derp_port, 8080);
  EXPECT_EQ(node({142, "203.0.113.9:8080", false}).ipv4, "203.0.113.9");
  EXPECT_EQ(node({142, "203.0.113.9:8080", false}).cert_name, "sha256-raw:00ff");
  EXPECT_FALSE(node({142, "203.0.113.9:8080", false}).insecure_for_tests);
  EXPECT_EQ(node({113, "203.0.113.9:8080", false}).cert_name, "");
  EXPECT_TRUE(node({113, "203.0.113.9:8080", false}).insecure_for_tests);
  EXPECT_EQ(node({142, "hs.example.com", true}).derp_port, 0) << "443";
  EXPECT_EQ(node({142, "hs.example.com", false}).derp_port, 80);
  EXPECT_EQ(node({142, "hs.example.com", true}).ipv4, "") << "by DNS";
  const DerpNode v6 = node({142, "[2001:db8::7]:8443", true});
  EXPECT_EQ(v6.host_name, kInventedDerpHost);
  EXPECT_EQ(v6.ipv6, "2001:db8::7");
  EXPECT_EQ(v6.ipv4, "none");
  EXPECT_EQ(v6.derp_port, 8443);
  for (const char* host :
       {"", "a b", "x:y", "x:0", "x:99999", "[::1", "[::1]x", "a:b:c", "\"", "[::1]:"}) {
    EXPECT_FALSE(EmbeddedRegionFor(embedded, {142, host, true}).has_value()) << host;
  }

  const auto region = EmbeddedRegionFor(embedded, {142, "h:1", true});
  ASSERT_EQ(region->nodes.size(), 2U);
  EXPECT_TRUE(region->nodes[1].stun_only);
  EXPECT_EQ(region->nodes[1].stun_port, 3479);
  EXPECT_TRUE(CheckDerpRegion(*region).has_value());
  embedded.stun_port = 0;
  EXPECT_EQ(EmbeddedRegionFor(embedded, {142, "h:1", true})->nodes.size(), 1U);
  EXPECT_EQ(EmbeddedRegionFor(embedded, {142, "h:1", true})->nodes[0].stun_port, -1);
  embedded.insecure_for_old_clients = false;
  EXPECT_FALSE(node({113, "h:1", true}).insecure_for_tests);

  embedded.host = "relay.example.com";
  embedded.port = 443;
  EXPECT_EQ(node({142, "other:8080", false}).host_name, "relay.example.com");
  EXPECT_EQ(node({142, "other:8080", false}).derp_port, 0);
  EXPECT_EQ(node({142, "!!", false}).host_name, "relay.example.com");
  DerpMap map;
  EXPECT_FALSE(DependsOnHost(map));
  map.embedded = embedded;
  EXPECT_FALSE(DependsOnHost(map));
  map.embedded->host.clear();
  EXPECT_TRUE(DependsOnHost(map));
}

TEST(DerpMap, RenderedReadsBack) {
  DerpMap map;
  MergeDerpMap(map, *ParseDerpMapJson(kJson));
  map.embedded.emplace();
  const std::string json = RenderDerpMap(map, {142, "192.0.2.9:8080", false});
  const auto again = ParseDerpMapJson(json);
  ASSERT_TRUE(again.has_value()) << again.error().message << json;
  EXPECT_EQ(*again->regions.at(1), map.regions.at(1));
  EXPECT_EQ(*again->regions.at(900),
            *EmbeddedRegionFor(*map.embedded, {142, "192.0.2.9:8080", false}));
  // The embedded region takes the place of one with its id.
  map.embedded->id = 1;
  EXPECT_EQ(ParseDerpMapJson(RenderDerpMap(map, {142, "h:1", false}))->regions.size(), 1U);
}

// --- sources ---

class DerpSourcesTest : public ::testing::Test {
 protected:
  std::string File(const std::string& name, const std::string& text) {
    std::ofstream(folder / name) << text;
    return folder / name;
  }
  // The fetching thread asks here; answers are set by the test.
  core::Result<std::string> Fetch() {
    const std::lock_guard lock(mutex);
    ++fetches;
    fetched.notify_all();
    return answer;
  }
  FetchFn Fetcher() {
    return
        [this](const std::string&, std::size_t, const std::function<bool()>&) { return Fetch(); };
  }
  // Runs what the thread posted until `count` maps were seen.
  void AwaitMaps(std::size_t count) {
    while (maps.size() < count) {
      const std::function<void()> task = posts.Take();
      task();
    }
  }

  // ManualLoop's queue is of one thread; this one is not.
  struct Posts {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<std::function<void()>> tasks;
    void Put(std::function<void()> task) {
      const std::lock_guard lock(mutex);
      tasks.push_back(std::move(task));
      changed.notify_all();
    }
    std::function<void()> Take() {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return !tasks.empty(); });
      auto task = std::move(tasks.front());
      tasks.pop_front();
      return task;
    }
  };
  class PostingLoop final : public ManualLoop {
   public:
    explicit PostingLoop(Posts& posts) : posts_(posts) {}
    [[nodiscard]] bool Post(Task task) override {
      posts_.Put([held = std::make_shared<Task>(std::move(task))] { (*held)(); });
      return true;
    }

   private:
    Posts& posts_;
  };

  const tests::TempFolder folder;
  Posts posts;
  PostingLoop loop{posts};
  std::mutex mutex;
  std::condition_variable fetched;
  int fetches = 0;
  core::Result<std::string> answer = std::string(kJson);
  std::vector<DerpMap> maps;
  std::function<void(const DerpMap&)> record = [this](const DerpMap& map) { maps.push_back(map); };
};

TEST_F(DerpSourcesTest, FilesAndEmbeddedRegionAtOnce) {
  const std::string yaml = File("a.yaml", kYaml);
  const std::string json = File("b.json", kJson);
  DerpSources sources(loop, {.paths = {yaml, json, folder / "missing.yaml"}}, record);
  sources.SetEmbedded(EmbeddedRegion{});
  EXPECT_TRUE(maps.empty()) << "nothing before Start";
  sources.Start();
  ASSERT_EQ(maps.size(), 1U + 1U);
  EXPECT_EQ(maps.back().regions.size(), 2U);
  EXPECT_TRUE(maps.back().embedded.has_value());
  ASSERT_EQ(sources.problems().size(), 1U);
  EXPECT_NE(sources.problems().front().find("missing.yaml"), std::string::npos);

  // A file that breaks leaves what it said; one that is mended counts again.
  File("b.json", "{");
  sources.Reload();
  EXPECT_EQ(sources.problems().size(), 2U);
  EXPECT_EQ(sources.map().regions.size(), 2U);
  File("b.json", R"({"Regions":{"900":null}})");
  sources.Reload();
  EXPECT_EQ(sources.problems().size(), 1U);
  EXPECT_TRUE(sources.map().regions.empty());

  EmbeddedRegion other;
  other.pin = "sha256-raw:11";
  const std::size_t before = maps.size();
  sources.SetEmbedded(other);
  EXPECT_EQ(maps.size(), before + 1) << "a new pin is pushed";
  sources.SetEmbedded(other);
  EXPECT_EQ(maps.size(), before + 1);
}

TEST_F(DerpSourcesTest, UrlAnswersAreKeptForTheNextStart) {
  const DerpSourceOptions options{.urls = {"https://x/derpmap"}, .cache_dir = folder.path()};
  {
    DerpSources sources(loop, options, record, Fetcher());
    sources.Start();
    EXPECT_TRUE(maps.front().regions.empty()) << "the start does not wait for it";
    AwaitMaps(2);
    EXPECT_TRUE(maps.back().regions.contains(1));
  }
  maps.clear();
  answer = core::Fail(core::ErrorCode::kIo, "no route");
  DerpSources sources(loop, options, record, Fetcher());
  sources.Start();
  EXPECT_TRUE(maps.back().regions.contains(1));
  posts.Take()();
  ASSERT_EQ(sources.problems().size(), 1U);
  EXPECT_NE(sources.problems().front().find("no route"), std::string::npos);
  EXPECT_TRUE(sources.map().regions.contains(1)) << "the last good answer stays";

  // Mended: Reload asks again without waiting for the pause to end.
  {
    const std::lock_guard lock(mutex);
    answer = std::string(R"({"Regions":{"7":{"Nodes":[{"Name":"7a","HostName":"h"}]}}})");
  }
  const std::size_t before = maps.size();
  sources.Reload();
  AwaitMaps(before + 1);
  EXPECT_TRUE(maps.back().regions.contains(7));
  EXPECT_TRUE(sources.problems().empty());
}

TEST_F(DerpSourcesTest, OtherSourcesAreTakenOver) {
  const std::string yaml = File("a.yaml", kYaml);
  DerpSources sources(loop, {.paths = {yaml}}, record, Fetcher());
  sources.Start();
  const auto of_file = sources.map().regions;
  ASSERT_FALSE(of_file.empty());
  // From no URL to one: it is fetched; the file is not wanted any more.
  sources.Reconfigure({"https://x/derpmap"}, {}, core::Seconds(60));
  EXPECT_TRUE(sources.map().regions.empty());
  posts.Take()();
  EXPECT_TRUE(sources.map().regions.contains(1));
  // What stays is not forgotten meanwhile: the file, which takes region 1 away, counts
  // beside the answer.
  sources.Reconfigure({"https://x/derpmap"}, {yaml}, core::Seconds(60));
  EXPECT_FALSE(sources.map().regions.contains(1));
  for (const auto& [id, region] : of_file) EXPECT_TRUE(sources.map().regions.contains(id));
  posts.Take()();
  // An answer that comes late is not wanted any more.
  sources.Reload();
  auto late = posts.Take();
  sources.Reconfigure({}, {yaml}, core::Seconds(60));
  late();
  EXPECT_EQ(sources.map().regions, of_file);
}

TEST_F(DerpSourcesTest, EndsWhileAFetchHangs) {
  std::atomic<bool> began = false;
  auto hanging = [&](const std::string&, std::size_t,
                     const std::function<bool()>& cancelled) -> core::Result<std::string> {
    began = true;
    began.notify_all();
    while (!cancelled()) std::this_thread::yield();
    return core::Fail(core::ErrorCode::kClosed, "cancelled");
  };
  DerpSources sources(loop, {.urls = {"https://x"}}, record, hanging);
  sources.Start();
  began.wait(false);
}

TEST(FetchUrl, RefusesOtherSchemes) {
  EXPECT_FALSE(FetchUrl("file:///etc/hostname", 1000, [] { return false; }).has_value());
}

}  // namespace
}  // namespace ringscale::control::testing
