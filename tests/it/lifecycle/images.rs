//! Images that are built from a recipe before a session is made.

use std::collections::BTreeMap;

use podspawn::session::{Cancel, Exists, Report, SessionError, Silent, Step};
use podspawn::spec::{Recipe, ServiceSpec, SessionSpec};
use podspawn_runtimes::EngineError;
use podspawn_runtimes::testing::{At, Fake, When};

use super::lab::{IMAGE, Lab, drive, machine};

const NAME: &str = "podspawn/web:podfile-0123456789ab";

fn recipe() -> Recipe {
    Recipe {
        base: Some(IMAGE.parse().expect("an image")),
        base_build: None,
        base_tag: None,
        dockerfile: format!("FROM {IMAGE}\n"),
        packages: vec!["git".into(), "jq".into()],
    }
}

fn spec() -> SessionSpec {
    let mut spec = machine("ann", "web");
    spec.image = NAME.parse().expect("a name");
    spec.environment.recipe = Some(recipe());
    spec
}

#[derive(Default)]
struct Steps(Vec<String>);

impl Report for Steps {
    fn step(&mut self, step: Step<'_>) {
        match step {
            Step::Building { .. } => self.0.push("building".into()),
            Step::WaitingForBuild { pid } => self.0.push(format!("waiting for {pid:?}")),
            Step::BuildStep { text } => self.0.push(text.into()),
            Step::BuildStepDone { text } => self.0.push(format!("{text} done")),
            Step::BuildStepFailed { text, output } => {
                self.0.push(format!("{text} failed: {}", output.join("\n")))
            }
            Step::Pulling { image, service } => self.0.push(format!("pulling {image} for {service:?}")),
            Step::Pulled { image, service } => self.0.push(format!("pulled {image} for {service:?}")),
            _ => {}
        }
    }
}

fn count(fake: &Fake, method: &str) -> usize {
    fake.calls().iter().filter(|call| call.name == method).count()
}

#[test]
fn a_missing_image_is_built_once_and_never_pulled() {
    let lab = Lab::new();
    drive(async {
        let (core, fake) = lab.process();
        let (mut steps, never) = (Steps::default(), Cancel::never());
        let made = core.acquire(&spec(), Exists::Join, &mut steps, &never).await.expect("a session");
        assert!(made.created);
        let wanted =
            ["building", "Installing packages: git jq", "Installing packages: git jq done"].map(String::from);
        assert_eq!(steps.0, wanted);
        // Another session of the same Podfile finds it.
        let mut other = spec();
        other.key = super::lab::key("bob", "web");
        core.acquire(&other, Exists::Join, &mut Silent, &never).await.expect("a session");
        assert_eq!((count(&fake, "build"), count(&fake, "pull")), (1, 0));
    });
}

#[test]
fn a_base_that_is_missing_is_pulled_first() {
    let lab = Lab::new();
    lab.fake.add_to_registry("registry.example/base:1");
    drive(async {
        let (core, _) = lab.process();
        let base = "registry.example/base:1".parse().expect("an image");
        let recipe = Recipe { base: Some(base), ..recipe() };
        let mut steps = Steps::default();
        let name = NAME.parse().expect("a name");
        let built = core.ensure_image(&name, Some(&recipe), &mut steps, &Cancel::never()).await;
        assert!(built.expect("it is built"));
        assert_eq!(
            steps.0[1..3],
            ["Pulling base image registry.example/base:1", "Pulling base image registry.example/base:1 done",]
        );
    });
}

#[test]
fn whose_image_is_pulled_is_told() {
    let lab = Lab::new();
    let (own, shared) = ("registry.example/own:1", "docker.io/library/postgres:16");
    [own, shared].into_iter().for_each(|image| lab.fake.add_to_registry(image));
    let service = |name: &str| ServiceSpec {
        name: name.parse().expect("a name"),
        image: shared.parse().expect("an image"),
        ports: Vec::new(),
        env: BTreeMap::new(),
        volumes: Vec::new(),
    };
    let mut spec = machine("ann", "web");
    spec.image = own.parse().expect("an image");
    spec.environment.services = vec![service("db"), service("replica")];
    drive(async {
        let (core, fake) = lab.process();
        let mut steps = Steps::default();
        let made = core.acquire(&spec, Exists::Join, &mut steps, &Cancel::never()).await.expect("a session");
        assert!(made.created);
        let wanted = [
            "pulling registry.example/own:1 for None",
            "pulled registry.example/own:1 for None",
            // As its line has it that is said next.
            "pulling postgres:16 for Some(\"db\")",
            "pulled postgres:16 for Some(\"db\")",
        ];
        assert_eq!(steps.0, wanted);
        assert_eq!(count(&fake, "pull"), 2);
    });
}

#[test]
fn of_two_processes_that_need_an_image_one_builds_and_the_other_waits() {
    let lab = Lab::new();
    drive(async {
        let ((one, fake), (two, other)) = (lab.process(), lab.process());
        let pause = fake.pause(At::Named("build", 1), When::Before);
        let (name, recipe, never) = (NAME.parse().expect("a name"), recipe(), Cancel::never());
        let mut silent = Silent;
        let first = one.ensure_image(&name, Some(&recipe), &mut silent, &never);
        let second = async {
            pause.reached().await;
            let mut steps = Steps::default();
            let waiting = two.ensure_image(&name, Some(&recipe), &mut steps, &never);
            let (built, ()) = tokio::join!(waiting, async { pause.release() });
            (built.expect("it is there by then"), steps.0)
        };
        let (first, (second, steps)) = tokio::join!(first, second);
        assert!(first.expect("the first builds it") && !second);
        assert_eq!(steps, [format!("waiting for Some({})", std::process::id())]);
        assert_eq!((count(&fake, "build"), count(&other, "build")), (1, 0));
    });
}

#[test]
fn a_failed_build_makes_nothing_and_shows_its_last_lines() {
    let lab = Lab::new();
    drive(async {
        let (core, fake) = lab.process();
        fake.fail(At::Named("build", 1), When::Before, || EngineError::Build {
            image: NAME.into(),
            answer: "Reading package lists...\nE: Unable to locate package jq".into(),
        });
        let mut steps = Steps::default();
        let error = core.acquire(&spec(), Exists::Join, &mut steps, &Cancel::never()).await;
        let error = error.expect_err("the build fails");
        assert!(matches!(&error, SessionError::Build { .. }), "{error:?}");
        let told = format!(
            "build the image `{NAME}`: installing packages: git jq failed: E: Unable to locate package jq"
        );
        assert_eq!(error.to_string(), told);
        let told = "Installing packages: git jq failed: Reading package lists...";
        assert_eq!(steps.0.last().map(String::as_str), Some(told));
    });
    lab.assert_nothing_left("a failed build");
}

#[test]
fn a_build_that_is_given_up_leaves_nothing() {
    let lab = Lab::new();
    drive(async {
        let (core, fake) = lab.process();
        let pause = fake.pause(At::Named("build", 1), When::Before);
        let (handle, cancel) = Cancel::new();
        let (spec, mut silent) = (spec(), Silent);
        let acquiring = core.acquire(&spec, Exists::Join, &mut silent, &cancel);
        let (outcome, ()) = tokio::join!(acquiring, async {
            pause.reached().await;
            handle.cancel();
        });
        assert!(matches!(outcome, Err(SessionError::Cancelled)));
    });
    lab.assert_nothing_left("a build that was given up");
}
