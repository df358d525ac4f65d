#include "core/crypto/key_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/support/temp_folder.h"

namespace ringscale::core {
namespace {

class KeyFileTest : public testing::Test {
 protected:
  void Write(const std::string& content, mode_t mode = 0600) {
    std::ofstream(path_) << content;
    ASSERT_EQ(::chmod(path_.c_str(), mode), 0);
  }
  ErrorCode CodeOfLoad() {
    const Result<PrivateKey> key = LoadOrCreatePrivateKey(path_);
    return key ? ErrorCode::kInternal : key.error().code;
  }
  std::size_t FilesInDirectory() {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory_)) {
      ++count;
    }
    return count;
  }

  const tests::TempFolder temp_;
  const std::string& directory_ = temp_.path();
  std::string path_ = temp_ / "noise.key";
};

const std::string kKeyText = "privkey:" + std::string(64, '7');

TEST_F(KeyFileTest, CreatedOnceThenReused) {
  const Result<PrivateKey> first = LoadOrCreatePrivateKey(path_);
  ASSERT_TRUE(first) << first.error().message;
  struct stat info{};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600U);
  const Result<PrivateKey> second = LoadOrCreatePrivateKey(path_);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->PublicRaw(), first->PublicRaw());
  EXPECT_EQ(FilesInDirectory(), 1U) << "no temporary file stays";
}

TEST_F(KeyFileTest, AcceptsWhatOtherToolsWrite) {
  for (const char* ending : {"", "\n", "\r\n", " \n"}) {
    Write(kKeyText + ending);
    const Result<PrivateKey> key = LoadOrCreatePrivateKey(path_);
    ASSERT_TRUE(key) << key.error().message;
    EXPECT_EQ(key->TextForKeyFile(), kKeyText);
  }
}

TEST_F(KeyFileTest, RefusesFilesThatOthersCanAccess) {
  for (const mode_t mode : {0604, 0640, 0620, 0602, 0601, 0644, 0666}) {
    Write(kKeyText, mode);
    const Result<PrivateKey> key = LoadOrCreatePrivateKey(path_);
    ASSERT_FALSE(key);
    EXPECT_EQ(key.error().code, ErrorCode::kPermission);
    EXPECT_NE(key.error().message.find(path_), std::string::npos);
    EXPECT_EQ(key.error().message.find("7777"), std::string::npos) << "the key is not told";
  }
  Write(kKeyText, 0640);
  EXPECT_TRUE(ReadPrivateFile(path_, Readers::kOwnerAndGroup));
  Write(kKeyText, 0660);
  EXPECT_FALSE(ReadPrivateFile(path_, Readers::kOwnerAndGroup));
}

TEST_F(KeyFileTest, DamagedFilesStayAsTheyAre) {
  for (const std::string& content :
       {std::string(), std::string("\n"), std::string("privkey:"), kKeyText.substr(1),
        kKeyText + "7", "nodekey:" + std::string(64, '7'), std::string(70'000, 'x')}) {
    Write(content);
    const ErrorCode code = CodeOfLoad();
    EXPECT_TRUE(code == ErrorCode::kCorrupt || code == ErrorCode::kInvalid) << content.size();
    std::ifstream in(path_);
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(in), {}), content);
  }
}

TEST_F(KeyFileTest, NotARegularFile) {
  ASSERT_EQ(::mkdir(path_.c_str(), 0700), 0);
  EXPECT_EQ(CodeOfLoad(), ErrorCode::kInvalid);
  ASSERT_EQ(::rmdir(path_.c_str()), 0);
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  EXPECT_EQ(CodeOfLoad(), ErrorCode::kInvalid);
}

TEST_F(KeyFileTest, MissingDirectoryIsAnError) {
  const Result<PrivateKey> key = LoadOrCreatePrivateKey(directory_ + "/missing/noise.key");
  ASSERT_FALSE(key);
  EXPECT_EQ(key.error().code, ErrorCode::kIo);
  EXPECT_EQ(LoadPrivateKey(path_).error().code, ErrorCode::kNotFound);
}

TEST_F(KeyFileTest, AtomicWriteKeepsOrReplaces) {
  ASSERT_TRUE(WriteFileAtomically(path_, "one", Replace::kNo));
  const Result<> again = WriteFileAtomically(path_, "two", Replace::kNo);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kExists);
  EXPECT_EQ(*ReadPrivateFile(path_), "one");
  ASSERT_TRUE(WriteFileAtomically(path_, "two", Replace::kYes, 0644));
  EXPECT_EQ(*ReadPublicFile(path_, 100), "two");
  EXPECT_EQ(ReadPublicFile(path_, 2).error().code, ErrorCode::kInvalid);
  struct stat info{};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0644U);
  EXPECT_EQ(FilesInDirectory(), 1U);
}

}  // namespace
}  // namespace ringscale::core
