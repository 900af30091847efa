/* sanitized.h - OT_SANITIZED: a sanitizer has replaced the allocator, by gcc or by clang. */
#ifndef OT_TESTS_SANITIZED_H
#define OT_TESTS_SANITIZED_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OT_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define OT_SANITIZED 1
#endif
#endif

#endif
