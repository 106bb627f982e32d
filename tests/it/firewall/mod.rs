//! What containers of a Docker server can reach, with and without the broker's packet filter rules.

mod reach;
mod world;
