//! Landlock: what a process gives up before it looks at anything from outside.
