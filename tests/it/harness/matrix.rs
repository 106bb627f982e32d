//! One test per engine from one function.

/// `tests_on! { [docker, podman; soak: gvisor] story }` makes the tests `docker` and `podman`, which call `story` with the
/// engine's name, and `gvisor`, which only `make soak` runs: for stories that no engine but the first ones can be expected
/// to end differently, and that cost much. `[; soak: docker]` leaves a story to `make soak` altogether.
#[macro_export]
macro_rules! tests_on {
    ([$($engine:ident),* $(; soak: $($later:ident),+)?] $story:expr) => {
        $(
            #[test]
            fn $engine() {
                ($story)($crate::harness::EngineName::named(stringify!($engine)));
            }
        )*
        $($(
            #[test]
            #[ignore = "a longer proof: make soak"]
            fn $later() {
                ($story)($crate::harness::EngineName::named(stringify!($later)));
            }
        )+)?
    };
}

/// `on_engines! { [docker, podman] fn name(env: Env) { … } }` makes the tests `name::docker` and `name::podman`, each
/// with an [`super::Env`] of its own on that engine. With `server: Server` it is a [`super::Server`] of its own, and with
/// `engine: EngineName` the engine's name. The list of engines is that of [`tests_on!`]. On one daemon one variant of a story
/// runs at a time: they use the same names and ports.
#[macro_export]
macro_rules! on_engines {
    ($( $(#[$meta:meta])* [$($engines:tt)+] fn $name:ident($env:ident: $kind:ident) $body:block )+) => {$(
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            fn story($env: $crate::harness::$kind) $body

            static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

            $crate::tests_on! { [$($engines)+] |engine: $crate::harness::EngineName| {
                let turn = engine.is_of_the_usual_docker().then(|| TURN.lock());
                story($crate::harness::$kind::on(engine));
                drop(turn);
            } }
        }
    )+};
}
