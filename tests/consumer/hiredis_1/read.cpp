#include "read.h"

#include <cstdlib>
#include <cstring>

redisReader* redisReaderCreateWithFunctions(redisReplyObjectFunctions* functions) {
  auto* const reader = static_cast<redisReader*>(std::calloc(1, sizeof(redisReader)));
  reader->maxbuf = 1024 * 16;
  reader->maxelements = (1LL << 32) - 1;
  reader->maxdepth = 1024;
  reader->ridx = -1;
  reader->fn = functions;
  return reader;
}

void redisReaderFree(redisReader* reader) {
  std::free(reader->buf);
  std::free(reader);
}

int redisReaderFeed(redisReader* reader, const char* bytes, size_t size) {
  reader->buf = static_cast<char*>(std::realloc(reader->buf, reader->len + size));
  std::memcpy(reader->buf + reader->len, bytes, size);
  reader->len += size;
  return REDIS_OK;
}

namespace {

/// Makes the reply at `pos` of the reader, and moves `pos` behind it. False when a part of it has
/// yet to come.
class Parser {
 public:
  Parser(const redisReader& reader, bool makes) : reader_(reader), at_(reader.pos), makes_(makes) {}

  size_t at() const { return at_; }
  void* made() const { return made_; }

  bool parse(int index, redisReadTask* parent) {
    char* const line = reader_.buf + at_;
    auto* const end = static_cast<char*>(std::memchr(line, '\n', reader_.len - at_));
    if (end == nullptr) return false;
    at_ += static_cast<size_t>(end - line) + 1;
    redisReadTask task{};
    task.idx = index;
    task.parent = parent;
    task.privdata = reader_.privdata;
    char* const text = line + 1;
    const long long number = std::atoll(text);
    switch (*line) {
      case '+':
        return string(task, REDIS_REPLY_STATUS, text, static_cast<size_t>(end - text) - 1);
      case '-':
        return string(task, REDIS_REPLY_ERROR, text, static_cast<size_t>(end - text) - 1);
      case ':':
        task.type = REDIS_REPLY_INTEGER;
        if (makes_) made_ = reader_.fn->createInteger(&task, number);
        return true;
      case '$':
        return number < 0 ? nil(task) : bulk(task, static_cast<size_t>(number));
      default:
        return number < 0 ? nil(task) : array(task, static_cast<size_t>(number));
    }
  }

 private:
  bool string(redisReadTask& task, int type, char* text, size_t size) {
    task.type = type;
    if (makes_) made_ = reader_.fn->createString(&task, text, size);
    return true;
  }

  bool nil(redisReadTask& task) {
    task.type = REDIS_REPLY_NIL;
    if (makes_) made_ = reader_.fn->createNil(&task);
    return true;
  }

  bool bulk(redisReadTask& task, size_t size) {
    char* const text = reader_.buf + at_;
    if (reader_.len - at_ < size + 2) return false;
    at_ += size + 2;
    return string(task, REDIS_REPLY_STRING, text, size);
  }

  bool array(redisReadTask& task, size_t size) {
    task.type = REDIS_REPLY_ARRAY;
    task.elements = static_cast<long long>(size);
    if (makes_) task.obj = reader_.fn->createArray(&task, size);
    for (size_t i = 0; i < size; ++i) {
      if (!parse(static_cast<int>(i), &task)) return false;
    }
    made_ = task.obj;
    return true;
  }

  const redisReader& reader_;
  size_t at_;
  bool makes_;
  void* made_ = nullptr;
};

}  // namespace

int redisReaderGetReply(redisReader* reader, void** reply) {
  if (!Parser(*reader, false).parse(-1, nullptr)) return REDIS_OK;
  Parser parser(*reader, true);
  parser.parse(-1, nullptr);
  *reply = parser.made();
  reader->pos = parser.at();
  return REDIS_OK;
}
