set(REDLATCH_WARNINGS -Wall -Wextra -Wpedantic -Wconversion -Wshadow)
