//! What a container user must never reach, tried by a container user. Each attempt is one that would succeed for somebody
//! whom nothing keeps from it, and where that can be shown, it is.

mod broker;
mod fetching;
mod forwarding;
mod greed;
mod inside;
mod logins;
mod neighbours;
mod ordinary;
