#pragma once

#include <pthread.h>

namespace redlatch::test {

// What the interposed functions are without the simulation.
long real_futex(const void* word, int operation, unsigned value);
int real_create_thread(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*),
                       void* argument);
int real_join(pthread_t thread, void** result);
[[noreturn]] void real_exit(int status);

}  // namespace redlatch::test
