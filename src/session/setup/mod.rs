//! What happens inside a container before anybody works in it: dotfiles, repositories, hooks.
//!
//! Once for each container, in this order: dotfiles, repositories, `on_create`. Then the hooks of each start of the
//! container, and for each connection `on_start`. Everything runs as the session's user, from the home, the same way into
//! the container as every other process, and without the user's lock: one process at a time sets a session up, and who
//! connects meanwhile waits for it. If that process dies, the next one begins again, and skips what is cloned already.
//!
//! No failure here keeps anybody out and none changes a status: it is a line for the person and a line in the log. What ends
//! the work is that the session is stopped, that the caller gives up, or that the store cannot be used. What hooks write is
//! untrusted; only [`text`] makes lines of it.

mod inside;
mod news;
mod plan;
mod run;
mod text;

pub use inside::{Inside, Runs};
pub use news::{Audience, News, Skip, SkipHandle};

use std::time::Duration;

use run::Runner;

use super::core::{Core, EngineSource, Session, display_name};
use super::error::SessionError;
use super::report::Step;
use crate::spec::{Hook, Setup};
use crate::state::{SessionRecord, SetupLock, SetupState, Status};

/// How long each step of a container's setup may take where no person watches.
const ONCE: Duration = Duration::from_secs(600);

/// How long the hooks of one connection may take, one by one, where no person watches.
const EACH_TIME: Duration = Duration::from_secs(60);

impl<S, G> Core<S, G> {
    /// Whether a connection to a session has to wait for its setup, or to do it. Asks neither engine nor container.
    pub fn needs_setup(&self, record: &SessionRecord, setup: &Setup) -> bool {
        record.setup == SetupState::Pending || self.has_to_boot(record, setup)
    }

    fn has_to_boot(&self, record: &SessionRecord, setup: &Setup) -> bool {
        !is_idle(&setup.hooks.boot) && !self.setups().is_started(&record.id)
    }

    fn stopped(&self, record: &SessionRecord) -> SessionError {
        SessionError::StoppedInSetup { name: display_name(record) }
    }

    /// The session as it is now, unless it is gone or going.
    fn standing(&self, record: &SessionRecord) -> Result<SessionRecord, SessionError> {
        match self.store.get(&record.id)? {
            Some(found) if found.status != Status::Destroying => Ok(found),
            _ => Err(self.stopped(record)),
        }
    }
}

impl<S: EngineSource, G: Runs> Core<S, G> {
    /// Everything that has to happen before somebody works in a session: [`Core::set_up`], then [`Core::start_hooks`].
    pub async fn prepare(
        &self,
        session: &mut Session,
        setup: &Setup,
        audience: &mut Audience<'_>,
    ) -> Result<(), SessionError> {
        // On the heap, as whatever else is large and seldom needed.
        Box::pin(self.set_up(session, setup, audience)).await?;
        Box::pin(self.start_hooks(session, setup, audience)).await
    }

    /// Sets a session up if that has not come to its end yet, or waits for the process that is at it; and runs the hooks of
    /// the container's start if they have not run. The user's lock must not be held. The answer is how far the setup has
    /// come, and stands in the session's record too. Given up, a setup is still to be done, and the session stays.
    pub async fn set_up(
        &self,
        session: &mut Session,
        setup: &Setup,
        audience: &mut Audience<'_>,
    ) -> Result<SetupState, SessionError> {
        if !self.needs_setup(&session.record, setup) {
            return Ok(session.record.setup);
        }
        let _lock = self.turn(&session.record, audience).await?;
        // Whoever was at it may be through, and the session may be gone.
        session.record = self.standing(&session.record).inspect_err(|_| {
            // The lock's file may have come back just now.
            let _ = self.setups().forget(&session.record.id);
        })?;
        if session.record.setup == SetupState::Pending {
            let state = self.once(&session.record, setup, audience).await?;
            if !self.store.set_setup(&session.record.id, state)? {
                return Err(self.stopped(&session.record));
            }
            session.record.setup = state;
        }
        if self.has_to_boot(&session.record, setup) {
            self.hooks(&session.record, &setup.hooks.boot, audience).await?;
            self.setups().set_started(&session.record.id)?;
        }
        Ok(session.record.setup)
    }

    /// Runs the hooks of one connection.
    pub async fn start_hooks(
        &self,
        session: &Session,
        setup: &Setup,
        audience: &mut Audience<'_>,
    ) -> Result<(), SessionError> {
        if is_idle(&setup.hooks.start) {
            return Ok(());
        }
        let limit = audience.limit(EACH_TIME);
        let runner = Runner::new(self, &session.record, audience, limit);
        for hook in setup.hooks.start.iter().filter(|hook| !hook.command.is_empty()) {
            runner.greeting(hook).await?;
        }
        Ok(())
    }

    /// Waits until nobody else sets the session up.
    async fn turn(
        &self,
        record: &SessionRecord,
        audience: &mut Audience<'_>,
    ) -> Result<SetupLock, SessionError> {
        if let Some(lock) = self.setups().try_lock(&record.id)? {
            return Ok(lock);
        }
        audience.tell(News::Waiting);
        let mut skip = audience.skip.clone();
        skip.forget();
        tokio::select! {
            biased;
            () = audience.cancel.cancelled() => Err(SessionError::Cancelled),
            // It is somebody else's to skip.
            () = skip.asked() => Err(SessionError::Cancelled),
            lock = self.setups().lock(&record.id) => Ok(lock?),
        }
    }

    /// What happens once for each container.
    async fn once(
        &self,
        record: &SessionRecord,
        setup: &Setup,
        audience: &mut Audience<'_>,
    ) -> Result<SetupState, SessionError> {
        {
            let limit = audience.limit(ONCE);
            let runner = Runner::new(self, record, audience, limit);
            if let Some(dotfiles) = &setup.dotfiles {
                runner.dotfiles(dotfiles).await?;
            }
            for repo in &setup.repos {
                runner.repo(repo).await?;
            }
        }
        let fine = self.hooks(record, &setup.hooks.create, audience).await?;
        Ok(if fine { SetupState::Done } else { SetupState::Failed })
    }

    /// Runs hooks one after the other; false if one of them failed.
    async fn hooks(
        &self,
        record: &SessionRecord,
        hooks: &[Hook],
        audience: &mut Audience<'_>,
    ) -> Result<bool, SessionError> {
        let limit = audience.limit(ONCE);
        let runner = Runner::new(self, record, audience, limit);
        let mut fine = true;
        for hook in hooks.iter().filter(|hook| !hook.command.is_empty()) {
            fine &= runner.hook(hook).await?;
        }
        Ok(fine)
    }
}

/// Whether none of them has anything to run.
fn is_idle(hooks: &[Hook]) -> bool {
    hooks.iter().all(|hook| hook.command.is_empty())
}

impl Audience<'_> {
    fn tell(&mut self, news: News<'_>) {
        if self.person {
            self.report.step(Step::Setup(news));
        }
    }

    /// A person decides for themselves how long they wait.
    fn limit(&self, limit: Duration) -> Option<Duration> {
        (!self.person).then_some(limit)
    }
}
