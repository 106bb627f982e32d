//! One test per engine from one function.

/// `on_engines! { [docker, podman] fn name(env: Env) { … } }` makes the tests `name::docker` and `name::podman`, each
/// with an [`super::Env`] of its own on that engine. With `server: Server` it is a [`super::Server`] of its own, and with
/// `engine: EngineName` the engine's name.
#[macro_export]
macro_rules! on_engines {
    ($( $(#[$meta:meta])* [$($engine:ident),+ $(,)?] fn $name:ident($env:ident: $kind:ident) $body:block )+) => {$(
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            fn story($env: $crate::harness::$kind) $body

            $(
                #[test]
                fn $engine() {
                    story($crate::harness::$kind::on($crate::harness::EngineName::named(stringify!($engine))));
                }
            )+
        }
    )+};
}
