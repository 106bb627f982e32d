//! Entry of the guest.
fn main() {}
