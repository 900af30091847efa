/* feed_model.h - the models of test_feed.c, apart: the command has a struct model of its own. */
#ifndef OT_TESTS_FEED_MODEL_H
#define OT_TESTS_FEED_MODEL_H

#include <stdint.h>

enum { FEED_IN = 4 };

/* y [N, classes] = tail(x w), x [N, FEED_IN], in a file; tail "" for none. Of tokens x [N, T], y is
 * [N, T, classes]. */
void feed_model(const char *path, int64_t classes, const char *tail);
void feed_language_model(const char *path, int64_t words);

#endif
