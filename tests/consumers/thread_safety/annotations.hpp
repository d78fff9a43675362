// The analysis's attributes, under the names that its documentation gives them.
#ifndef CONSUMER_ANNOTATIONS_HPP
#define CONSUMER_ANNOTATIONS_HPP

#define GUARDED_BY(capability) __attribute__((guarded_by(capability)))
#define PT_GUARDED_BY(capability) __attribute__((pt_guarded_by(capability)))
#define REQUIRES(capability) __attribute__((requires_capability(capability)))
#define ACQUIRE(...) __attribute__((acquire_capability(__VA_ARGS__)))
#define RELEASE(...) __attribute__((release_capability(__VA_ARGS__)))
#define SCOPED_CAPABILITY __attribute__((scoped_lockable))
#define ASSERT_CAPABILITY(capability) __attribute__((assert_capability(capability)))

#endif
