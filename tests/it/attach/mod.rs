//! Attaching, below the command line: what crosses into a container, and what a hostile container can do to who attaches.
//!
//! `stand_in` plays a guest inside this process, so that it can misbehave in every way; the stories that need a real
//! container are in `container`.

mod container;
mod hostile;
mod machine;
mod signals;
mod stand_in;
mod streams;
