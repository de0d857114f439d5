#include <gtest/gtest.h>

#include <cstddef>
#include <string>

#include <redlatch/protocol/sha1.hpp>

namespace redlatch::protocol {
namespace sha1_test {

static_assert(Sha1("abc").digits() == "a9993e364706816aba3e25717850c26c9cd0d89d");

std::string repeated(const std::string& text, std::size_t count) {
  std::string all;
  for (std::size_t i = 0; i < count; ++i) all += text;
  return all;
}

/// RFC 3174, section 7.3.
TEST(Sha1, AnswersTheVectorsOfItsSpecification) {
  EXPECT_EQ(Sha1("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq").digits(),
            "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
  EXPECT_EQ(Sha1(repeated("a", 1'000'000)).digits(), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
  EXPECT_EQ(Sha1(repeated("01234567", 80)).digits(), "dea356a2cddd90c7a7ecedc5ebb563934f460452");
}

/// The length takes the last 8 bytes of a block, behind a byte that ends the text.
TEST(Sha1, IsRightAtTheEndsOfBlocks) {
  EXPECT_EQ(Sha1("").digits(), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
  EXPECT_EQ(Sha1(repeated("x", 55)).digits(), "cef734ba81a024479e09eb5a75b6ddae62e6abf1");
  EXPECT_EQ(Sha1(repeated("x", 56)).digits(), "901305367c259952f4e7af8323f480d59f81335b");
  EXPECT_EQ(Sha1(repeated("x", 63)).digits(), "0ddc4e0cccd9a12850deb5abb0853a4425559fec");
  EXPECT_EQ(Sha1(repeated("x", 64)).digits(), "bb2fa3ee7afb9f54c6dfb5d021f14b1ffe40c163");
}

TEST(Sha1, TakesAnyBytes) {
  EXPECT_EQ(Sha1(std::string("\0\xff\n", 3)).digits(), "78a56a7f152106db79c791d3cbd88fcb33a425cb");
}

}  // namespace sha1_test
}  // namespace redlatch::protocol
