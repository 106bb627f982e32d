//! The invariants that a test can check by reading the tree: which room may call which, who may print, where `unsafe` may
//! stand, what every text and manifest must look like. Reads files; starts nothing.

mod docs;
mod examples;
mod help;
mod layers;
mod manifests;
mod source;
mod texts;
mod threats;
