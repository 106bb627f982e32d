//! The engines as one type.

use std::time::Duration;

use bytes::Bytes;
use enum_dispatch::enum_dispatch;
use futures_util::stream::BoxStream;

use crate::engine::Engine;
use crate::error::Result;
use crate::testing::Fake;
use crate::types::*;

/// A connected engine. Cheap to clone; clones share their connections.
#[derive(Clone)]
#[enum_dispatch(Engine)]
pub enum Runtime {
    /// A recording fake.
    Fake(Fake),
}
