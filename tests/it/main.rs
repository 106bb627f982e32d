//! The one integration-test binary: a folder per story.
