//! A core on a real engine, and Podfiles that are built with it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use podspawn::config::PackageSources;
use podspawn::names::ImageRef;
use podspawn::podfile::{self, Base, BuildBase, Hooks, MountWay, Podfile, Ports, Resources};
use podspawn::session::attach::Guests;
use podspawn::session::{Cancel, Core, Dirs, Report, SessionError, Step};
use podspawn::spec::Recipe;
use podspawn::state::Store;
use podspawn::system::SystemClock;
use podspawn_runtimes::{Builder, Chosen, Endpoint, EngineKind, Runtime};
use tempfile::TempDir;

use crate::harness::engines::{EngineName, fact};
use crate::harness::system::random_hex;

/// See the module. The images that it names are removed with it.
pub struct Lab {
    pub engine: EngineName,
    /// Name of the project, and so part of every image's.
    pub project: String,
    pub sources: PackageSources,
    pub builder: Builder,
    images: std::cell::RefCell<Vec<String>>,
    dir: TempDir,
}

/// What happens when a step of that text begins.
type AtStep = Box<dyn FnMut(&str) + Send>;

/// What was reported, as the steps' lines.
#[derive(Default)]
pub struct Steps {
    told: Vec<String>,
    at_step: Option<AtStep>,
}

impl Report for Steps {
    fn step(&mut self, step: Step<'_>) {
        match step {
            Step::Building { .. } => self.told.push("building".into()),
            Step::BuildStep { text } => {
                self.told.push(format!("{text}..."));
                if let Some(at_step) = &mut self.at_step {
                    at_step(text);
                }
            }
            Step::BuildStepDone { text } => self.told.push(format!("{text}... done")),
            Step::BuildStepFailed { text, output } => {
                self.told.push(format!("{text}... failed"));
                self.told.extend(output.iter().map(|line| format!("  {line}")));
            }
            Step::Built { .. } => self.told.push("built".into()),
            _ => {}
        }
    }
}

impl Lab {
    pub fn on(engine: EngineName) -> Self {
        let dir = tempfile::Builder::new().prefix("podspawn-it-").tempdir().expect("a temporary directory");
        let project = format!("t{}", &random_hex()[..10]);
        let sources = PackageSources::default();
        let images = Default::default();
        Self { engine, project, sources, builder: Builder::Engines, images, dir }
    }

    /// On the test image with the tools people use, which has neither `sudo` nor what is listed.
    pub fn podfile(&self, packages: &[&str]) -> Podfile {
        Podfile {
            name: None,
            base: Base::Image(fact("IMAGE_DEBIAN").parse().expect("an image")),
            branch: None,
            packages: packages.iter().map(|package| (*package).to_owned()).collect(),
            shell: None,
            env: BTreeMap::new(),
            dotfiles: None,
            repos: Vec::new(),
            services: Vec::new(),
            ports: Ports::default(),
            resources: Resources::default(),
            hooks: Hooks::default(),
            extra_commands: Vec::new(),
            mount: MountWay::None,
            mode: None,
            workspace: None,
            start_dir: None,
            volumes: Vec::new(),
            user: None,
        }
    }

    pub fn recipe(&self, podfile: &Podfile) -> (ImageRef, Recipe) {
        let canonical = format!("{podfile:?}");
        let made = podfile::recipe(podfile, &canonical, &self.project, &self.sources);
        let (image, recipe) = made.unwrap_or_else(|error| panic!("{error}"));
        self.images.borrow_mut().push(image.to_string());
        self.images.borrow_mut().extend(recipe.base_tag.as_ref().map(ToString::to_string));
        (image, recipe)
    }

    async fn core(&self) -> Core<Runtime, Guests> {
        let root = self.dir.path();
        let dirs =
            Dirs { locks: root.join("locks"), sessions: root.join("sessions"), guest: root.join("guest") };
        let kind = match self.engine {
            EngineName::Docker | EngineName::Docker26 | EngineName::Private => EngineKind::Docker,
            EngineName::Podman => EngineKind::Podman,
            EngineName::Gvisor => EngineKind::Gvisor,
        };
        let chosen = Chosen::at(kind, Endpoint::Unix(self.engine.socket().into()));
        let runtime = Runtime::connect(&chosen).await.expect("the engine answers");
        let store = Store::open(&root.join("state.db")).expect("open the store");
        Core::new(store, runtime, Guests, Arc::new(SystemClock), dirs, 0).building_with(self.builder)
    }

    /// Builds it as a session would; what was reported comes with the outcome.
    pub fn build(&self, image: &ImageRef, recipe: &Recipe) -> (Result<bool, SessionError>, Vec<String>) {
        self.build_until(image, recipe, &Cancel::never(), async || std::future::pending().await)
    }

    /// As [`Lab::build`], with something that happens when a step begins and the engine has not been asked for it.
    pub fn build_with(
        &self,
        image: &ImageRef,
        recipe: &Recipe,
        at_step: impl FnMut(&str) + Send + 'static,
    ) -> (Result<bool, SessionError>, Vec<String>) {
        let mut steps = Steps { at_step: Some(Box::new(at_step)), ..Steps::default() };
        let outcome =
            self.run(image, recipe, &Cancel::never(), &mut steps, async || std::future::pending().await);
        (outcome, steps.told)
    }

    /// As [`Lab::build`], with something that happens meanwhile.
    pub fn build_until(
        &self,
        image: &ImageRef,
        recipe: &Recipe,
        cancel: &Cancel,
        meanwhile: impl AsyncFnOnce(),
    ) -> (Result<bool, SessionError>, Vec<String>) {
        let mut steps = Steps::default();
        let outcome = self.run(image, recipe, cancel, &mut steps, meanwhile);
        (outcome, steps.told)
    }

    fn run(
        &self,
        image: &ImageRef,
        recipe: &Recipe,
        cancel: &Cancel,
        steps: &mut Steps,
        meanwhile: impl AsyncFnOnce(),
    ) -> Result<bool, SessionError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let core = self.core().await;
            let building = core.ensure_image(image, Some(recipe), steps, cancel);
            let mut building = std::pin::pin!(tokio::time::timeout(Duration::from_secs(400), building));
            tokio::select! {
                done = &mut building => done,
                () = meanwhile() => building.await,
            }
            .expect("in time")
        })
    }

    /// Makes an image with the engine's own command line; it is removed with the rest.
    #[track_caller]
    pub fn made(&self, kind: &str, dockerfile: &str) -> ImageRef {
        let name = self.named(kind);
        let (made, told) = self.plain_build(&name, dockerfile);
        assert!(made, "{told}");
        name
    }

    /// A name for an image, which is removed with the rest.
    pub fn named(&self, kind: &str) -> ImageRef {
        let name = format!("localhost/podspawn-it/{}-{kind}:1", self.project);
        self.images.borrow_mut().push(name.clone());
        name.parse().expect("an image")
    }

    /// Whether the engine's own command line builds that, and all that it prints.
    pub fn plain_build(&self, name: &ImageRef, dockerfile: &str) -> (bool, String) {
        let context = self.context(&[("Dockerfile", dockerfile)]);
        let mut command = self.engine.cli();
        command.env("DOCKER_BUILDKIT", "0").args(["build", "--no-cache", "-t", name.as_str()]).arg(&context);
        let output = command.output().expect("start the engine's command line");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// A directory with these files.
    pub fn context(&self, files: &[(&str, &str)]) -> PathBuf {
        let directory = self.dir.path().join(random_hex());
        fs::create_dir(&directory).expect("mkdir");
        for (name, text) in files {
            fs::write(directory.join(name), text).expect("write");
        }
        directory
    }

    /// A Podfile on the Dockerfile in a directory.
    pub fn podfile_on(&self, context: &Path, args: &[(&str, &str)]) -> Podfile {
        let args = args.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let build =
            BuildBase { dockerfile: "Dockerfile".into(), context: context.to_owned(), args, target: None };
        Podfile { base: Base::Build(build), ..self.podfile(&[]) }
    }

    /// What a command prints in a container of that image, run by an account that is not root.
    #[track_caller]
    pub fn inside(&self, image: &ImageRef, command: &str) -> String {
        let user = "1000:1000";
        let args = ["run", "--rm", "--user", user, "--entrypoint", "/bin/sh", image.as_str(), "-c", command];
        self.engine.run(&args)
    }

    /// Whether the engine has it.
    pub fn has(&self, image: &ImageRef) -> bool {
        let output = self.engine.cli().args(["image", "inspect", image.as_str()]).output();
        output.expect("start the engine's command line").status.success()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for image in self.images.borrow().iter() {
            // It may never have been made.
            let _ = self.engine.cli().args(["image", "rm", "-f", image]).output();
        }
    }
}
