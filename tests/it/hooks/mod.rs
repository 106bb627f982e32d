//! What happens inside a new container before anybody works there, and at each connection.

mod crash;
mod inside;
mod lab;
mod waiting;
