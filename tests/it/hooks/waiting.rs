//! Who connects while somebody sets the session up, and who has had enough of it.

use podspawn::podfile::Hooks;
use podspawn::session::{Audience, Cancel, Reason, SessionError, Silent, Skip};
use podspawn::spec::Setup;
use podspawn::state::SetupState;

use super::lab::{Memory, file_inside, for_a_person, script, with};
use crate::lifecycle::real::{Place, tell};

/// Stands still until somebody writes into a pipe.
fn gated() -> Setup {
    let text = "echo x >> runs; rm -f gate; mkfifo gate; : > begun; cat gate; rm begun; echo through";
    Setup { hooks: Hooks { create: vec![script("on_create", text)], ..Hooks::default() }, ..Setup::default() }
}

fn home(place: &Place) -> String {
    format!("/home/{}", place.user)
}

async fn who_comes_second_waits(place: &Place) {
    let setup = gated();
    let spec = with(place, &setup);
    let mut first = place.acquire(&spec).await;
    let mut second = place.core.try_join(&spec.key).expect("join").expect("it runs");
    assert_eq!(second.record.setup, SetupState::Pending);
    let looking = place.core.try_join(&spec.key).expect("join").expect("it runs");
    let begun = format!("{}/begun", home(place));
    let mut memory = Memory::default();
    let told = memory.clone();
    let (cancel, skip) = (Cancel::never(), Skip::never());
    let mut audience = Audience::person(&mut memory, &cancel, &skip);
    let (first_told, second_done, ()) = tokio::join!(
        for_a_person(place, &mut first, &setup),
        async {
            file_inside(place, &looking, &begun).await;
            place.core.prepare(&mut second, &setup, &mut audience).await
        },
        async {
            file_inside(place, &looking, &begun).await;
            // The user's lock is free meanwhile.
            let user = spec.key.user.clone();
            drop(place.core.locks().try_lock(&user).expect("a lock").expect("nobody holds it"));
            while !told.has("waiting") {
                tokio::task::yield_now().await;
            }
            place.inside(&looking, &format!("echo go > {}/gate", home(place))).await;
        }
    );
    second_done.expect("it is set up");
    assert_eq!(second.record.setup, SetupState::Done);
    assert_eq!(told.lines(), ["waiting"]);
    let first_told = first_told.expect("set up");
    assert_eq!(first_told[1..3], ["    go", "    through"]);
    assert_eq!(place.inside(&looking, &format!("cat {}/runs", home(place))).await, "x");
    place.core.destroy(&spec.key, Reason::Stop, &mut Silent).await.expect("destroy");
    assert_eq!(place.core.setups().sessions().expect("files"), Vec::<String>::new());
}

async fn who_is_killed_leaves_it_to_the_next(place: &Place) {
    let setup = gated();
    let spec = with(place, &setup);
    let mut first = place.acquire(&spec).await;
    let mut second = place.core.try_join(&spec.key).expect("join").expect("it runs");
    let looking = place.core.try_join(&spec.key).expect("join").expect("it runs");
    let begun = format!("{}/begun", home(place));
    {
        // What is left of a killed process is nothing: descriptors are closed, locks are free.
        let mut dying = std::pin::pin!(for_a_person(place, &mut first, &setup));
        tokio::select! {
            _ = &mut dying => panic!("the hook waits"),
            () = file_inside(place, &looking, &begun) => {}
        }
    }
    drop(first);
    let row = place.core.store.find(&spec.key).expect("find").expect("a row");
    assert_eq!(row.setup, SetupState::Pending);
    place.inside(&looking, &format!("rm {begun}")).await;
    let (told, ()) = tokio::join!(for_a_person(place, &mut second, &setup), async {
        file_inside(place, &looking, &begun).await;
        place.inside(&looking, &format!("echo go > {}/gate", home(place))).await;
    });
    assert!(told.expect("set up").contains(&"    through".to_owned()));
    assert_eq!(second.record.setup, SetupState::Done);
    place.core.destroy(&spec.key, Reason::Stop, &mut Silent).await.expect("destroy");
}

async fn a_stop_ends_the_work_and_the_waiting(place: &Place) {
    let setup = gated();
    let spec = with(place, &setup);
    let mut first = place.acquire(&spec).await;
    let mut second = place.core.try_join(&spec.key).expect("join").expect("it runs");
    let looking = place.core.try_join(&spec.key).expect("join").expect("it runs");
    let begun = format!("{}/begun", home(place));
    let mut memory = Memory::default();
    let told = memory.clone();
    let (cancel, skip) = (Cancel::never(), Skip::never());
    let mut audience = Audience::person(&mut memory, &cancel, &skip);
    let (first, second, ()) = tokio::join!(
        for_a_person(place, &mut first, &setup),
        async {
            file_inside(place, &looking, &begun).await;
            place.core.prepare(&mut second, &setup, &mut audience).await
        },
        async {
            while !told.has("waiting") {
                tokio::task::yield_now().await;
            }
            place.core.destroy(&spec.key, Reason::Stop, &mut Silent).await.expect("destroy");
        }
    );
    for outcome in [first.map(drop), second] {
        let error = outcome.expect_err("there is nothing to work in");
        assert!(matches!(error, SessionError::StoppedInSetup { .. }), "{error}");
        assert_eq!(error.to_string(), "`web` was stopped while it was being set up");
    }
    assert_eq!(place.core.setups().sessions().expect("files"), Vec::<String>::new());
}

async fn a_person_skips_a_hook_and_the_rest_goes_on(place: &Place) {
    let mut setup = gated();
    setup.hooks.create.push(script("second", "echo second"));
    setup.hooks.start.push(script("on_start", "echo hello"));
    let spec = with(place, &setup);
    let mut session = place.acquire(&spec).await;
    let looking = place.core.try_join(&spec.key).expect("join").expect("it runs");
    let mut memory = Memory::default();
    let cancel = Cancel::never();
    let (handle, skip) = Skip::new();
    let mut audience = Audience::person(&mut memory, &cancel, &skip);
    let begun = format!("{}/begun", home(place));
    let (done, ()) = tokio::join!(place.core.prepare(&mut session, &setup, &mut audience), async {
        file_inside(place, &looking, &begun).await;
        handle.skip();
    });
    done.expect("a skipped hook is no error");
    assert_eq!(session.record.setup, SetupState::Failed);
    let told = memory.lines();
    assert_eq!(
        told[1..],
        [
            "warning: on_create was interrupted; everything else works, and it runs again in a new container",
            "begun Running second: echo second",
            "    second",
            "done Running second: echo second",
            "",
            "hello",
        ]
    );
    place.core.destroy(&spec.key, Reason::Stop, &mut Silent).await.expect("destroy");
}

async fn what_is_given_up_is_still_to_be_done(place: &Place) {
    let setup = gated();
    let spec = with(place, &setup);
    let mut session = place.acquire(&spec).await;
    let looking = place.core.try_join(&spec.key).expect("join").expect("it runs");
    let mut memory = Memory::default();
    let (handle, cancel) = Cancel::new();
    let skip = Skip::never();
    let mut audience = Audience::program(&mut memory, &cancel, &skip);
    let begun = format!("{}/begun", home(place));
    let (outcome, ()) = tokio::join!(place.core.prepare(&mut session, &setup, &mut audience), async {
        file_inside(place, &looking, &begun).await;
        handle.cancel();
    });
    assert!(matches!(outcome, Err(SessionError::Cancelled)));
    let row = place.core.store.find(&spec.key).expect("find").expect("the session stays");
    assert_eq!(row.setup, SetupState::Pending);
    place.core.destroy(&spec.key, Reason::Stop, &mut Silent).await.expect("destroy");
}

macro_rules! each {
    ($($name:ident: [$($engines:tt)+];)+) => {$(
        mod $name {
            use super::*;
            $crate::tests_on! { [$($engines)+] |engine| tell(engine, super::$name) }
        }
    )+};
}

each! {
    who_comes_second_waits: [docker, podman, gvisor];
    who_is_killed_leaves_it_to_the_next: [docker, podman];
    a_stop_ends_the_work_and_the_waiting: [docker, podman];
    a_person_skips_a_hook_and_the_rest_goes_on: [docker, podman];
    what_is_given_up_is_still_to_be_done: [docker, podman];
}
