//! What tests of this and other crates need: the real engines that the test setup started, and a recording fake.
//!
//! May call everything of this crate. Exists only with the feature `fake`, which release builds refuse.

mod engines;
mod fake;
mod fake_engine;
mod script;
mod world;

pub use engines::TestEngines;
pub use fake::{Call, ExecReply, Fake};
pub use script::{At, Pause, When};
pub use world::{FakeContainer, World};
