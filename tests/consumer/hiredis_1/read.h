#pragma once
#include <stddef.h>

#define REDIS_ERR (-1)
#define REDIS_ERR_OOM 5
#define REDIS_OK 0

#define REDIS_REPLY_STRING 1
#define REDIS_REPLY_ARRAY 2
#define REDIS_REPLY_INTEGER 3
#define REDIS_REPLY_NIL 4
#define REDIS_REPLY_STATUS 5
#define REDIS_REPLY_ERROR 6

#ifdef __cplusplus
extern "C" {
#endif

typedef struct redisReadTask {
  int type;
  long long elements;
  int idx;
  void* obj;
  struct redisReadTask* parent;
  void* privdata;
} redisReadTask;

typedef struct redisReplyObjectFunctions {
  void* (*createString)(const redisReadTask*, char*, size_t);
  void* (*createArray)(const redisReadTask*, size_t);
  void* (*createInteger)(const redisReadTask*, long long);
  void* (*createDouble)(const redisReadTask*, double, char*, size_t);
  void* (*createNil)(const redisReadTask*);
  void* (*createBool)(const redisReadTask*, int);
  void (*freeObject)(void*);
} redisReplyObjectFunctions;

typedef struct redisReader {
  int err;
  char errstr[128];
  char* buf;
  size_t pos;
  size_t len;
  size_t maxbuf;
  long long maxelements;
  redisReadTask** task;
  int tasks;
  int ridx;
  void* reply;
  redisReplyObjectFunctions* fn;
  void* privdata;
  int maxdepth;
} redisReader;

redisReader* redisReaderCreateWithFunctions(redisReplyObjectFunctions* functions);
void redisReaderFree(redisReader* reader);
int redisReaderFeed(redisReader* reader, const char* bytes, size_t size);
int redisReaderGetReply(redisReader* reader, void** reply);

#ifdef __cplusplus
}
#endif
