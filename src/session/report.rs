//! What whoever waits for a session is told meanwhile, and how they say that they no longer want it.

use podspawn_runtimes::Progress;
use tokio::sync::watch;

use super::setup::News;

/// A step that takes time.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Step<'a> {
    /// Another process works for the same user; it is waited for.
    Waiting {
        /// That process, if it said so.
        pid: Option<u32>,
    },
    /// Something outside the session takes time; said in any case.
    Now(&'a str),
    /// What happens meanwhile, for whoever watches.
    Watch(&'a str),
    /// The image is not here and is being pulled.
    Pulling {
        /// Its reference.
        image: &'a str,
        /// The companion service that it is for; none for the session's own image.
        service: Option<&'a str>,
    },
    /// A step of the pull.
    PullProgress(Progress),
    /// The pull is done.
    Pulled {
        /// The image's reference.
        image: &'a str,
        /// As in [`Step::Pulling`].
        service: Option<&'a str>,
    },
    /// Another process builds the same image; it is waited for.
    WaitingForBuild {
        /// That process, if it said so.
        pid: Option<u32>,
    },
    /// The image is not here and is being built from a Podfile.
    Building {
        /// Its name.
        image: &'a str,
    },
    /// A step of the build has begun, such as `Installing packages: git`.
    BuildStep {
        /// What people call it.
        text: &'a str,
    },
    /// A part of a step has begun, such as `Installing nodejs@22`, for whoever watches.
    BuildPart {
        /// What people call it.
        text: &'a str,
    },
    /// Output of a build, untrusted.
    BuildOutput {
        /// The step that is under way.
        step: &'a str,
        /// The output.
        progress: Progress,
    },
    /// A step of the build is done.
    BuildStepDone {
        /// What people call it.
        text: &'a str,
    },
    /// A step of the build failed.
    BuildStepFailed {
        /// What people call it.
        text: &'a str,
        /// What it wrote before the line that says why, neutralised.
        output: &'a [String],
    },
    /// The image is built.
    Built {
        /// Its name.
        image: &'a str,
    },
    /// A companion service is being started.
    StartingService {
        /// Its name.
        name: &'a str,
        /// Its image.
        image: &'a str,
    },
    /// Companion services have been started and are waited for.
    AwaitingServices {
        /// Those that are not ready yet.
        names: &'a [String],
    },
    /// It is ready to be used.
    ServiceReady {
        /// Its name.
        name: &'a str,
        /// Its image.
        image: &'a str,
    },
    /// Files are being copied into the container.
    Copying {
        /// The directory inside.
        target: &'a str,
    },
    /// Container and network are being made.
    Creating {
        /// The container's name.
        container: &'a str,
        /// The image's reference.
        image: &'a str,
    },
    /// The container runs; user, home and shell are being put in place.
    Provisioning,
    /// A stopped container is started again.
    Restarting {
        /// The container's name.
        container: &'a str,
    },
    /// A container is being removed.
    Removing {
        /// The container's name.
        container: &'a str,
    },
    /// Something of the setup inside: dotfiles, repositories, hooks.
    Setup(News<'a>),
    /// Something is not as asked, and works nevertheless.
    Warning(&'a str),
}

/// Receives steps; must not block for long.
pub trait Report: Send {
    /// A step has begun.
    fn step(&mut self, step: Step<'_>);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Report for Silent {
    fn step(&mut self, _: Step<'_>) {}
}

/// The wish that what is under way be given up and undone. Clones share the wish.
#[derive(Debug, Clone)]
pub struct Cancel(Option<watch::Receiver<bool>>);

/// Makes the wish.
#[derive(Debug)]
pub struct CancelHandle(watch::Sender<bool>);

impl CancelHandle {
    /// From now on everything that was given the [`Cancel`] undoes what it did and ends.
    pub fn cancel(&self) {
        self.0.send_replace(true);
    }
}

impl Cancel {
    /// A wish that nobody makes.
    pub fn never() -> Self {
        Self(None)
    }

    /// A wish, and the handle that makes it.
    pub fn new() -> (CancelHandle, Self) {
        let (sender, receiver) = watch::channel(false);
        (CancelHandle(sender), Self(Some(receiver)))
    }

    /// Whether it was made.
    pub fn is_cancelled(&self) -> bool {
        self.0.as_ref().is_some_and(|receiver| *receiver.borrow())
    }

    /// Waits until it is made.
    pub async fn cancelled(&self) {
        if let Some(receiver) = &self.0
            && receiver.clone().wait_for(|cancelled| *cancelled).await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }
}
