//! Answering administrators' commands.

use std::sync::Arc;
use std::time::Duration;

use podspawn_runtimes::{Engine, Gap};
use serde_json::{Value, json};

use super::tell::{Refusal, chain};
use super::{ASKER, Broker, asker};
use crate::engine::label;
use crate::names::{ImageRef, MachineName, ProjectName, SessionKey, UserName};
use crate::server::admin::{AdminRequest, BuiltProject, Cleaned, Examined, Numbers, Removed};
use crate::server::projects;
use crate::session::{Cancel, EngineSource, Filter, Listed, Reason, SessionError, Silent};
use crate::state::{SessionRecord, Status};
use crate::system::accounts::user_by_uid;

/// How long after its end a session may still be there before that counts as a fault.
const LATE: Duration = Duration::from_secs(90);

/// The answers to an account, one JSON text each. Whoever cancels ends what can be begun anew at any time, which is a build or
/// the check of an image; everything else is done to its end.
pub(super) async fn answer(
    broker: &Arc<Broker>,
    uid: u32,
    request: &str,
    cancel: Cancel,
) -> Result<Vec<String>, Refusal> {
    let request: AdminRequest = serde_json::from_str(request)
        .map_err(|_| Refusal::new("the broker is of another version of podspawn"))?;
    let inner = broker.clone();
    let work = move || {
        // An account that the system does not name has its number.
        let account = user_by_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |found| found.name);
        inner.handle.block_on(ASKER.scope(account, inner.admin(request, &cancel)))
    };
    let answered = tokio::task::spawn_blocking(work).await;
    let answers = answered.map_err(|panic| Refusal::new(format!("the broker failed: {panic}")))??;
    Ok(answers.iter().map(Value::to_string).collect())
}

/// Administrators are told everything.
fn whole(error: &SessionError) -> Refusal {
    match error {
        SessionError::Engine(_) => Refusal::new(format!("failed to {}", chain(error))),
        _ => Refusal::new(chain(error)),
    }
}

impl Broker {
    async fn admin(&self, request: AdminRequest, cancel: &Cancel) -> Result<Vec<Value>, Refusal> {
        let value = |value: Result<Value, serde_json::Error>| {
            value.map_err(|error| Refusal::new(format!("the answer cannot be written: {error}")))
        };
        match request {
            AdminRequest::List { measured } => {
                let now = self.core.clock.now();
                let views = self.core.list(&Filter::default()).map_err(|error| whole(&error))?;
                let mut listed: Vec<_> = views.iter().map(|view| Listed::new(view, now)).collect();
                if measured {
                    self.core.measure(&mut listed).await;
                }
                listed.iter().map(|one| value(serde_json::to_value(one))).collect()
            }
            AdminRequest::Status { check } => {
                Ok(vec![value(serde_json::to_value(self.numbers(check).await?))?])
            }
            AdminRequest::Examine => Ok(vec![value(serde_json::to_value(self.examined().await?))?]),
            AdminRequest::Stop { user, project } => {
                let name = match project.as_str() {
                    "" => None,
                    name => Some(name.parse::<MachineName>().map_err(bad_name)?),
                };
                let key = SessionKey { user: user.parse().map_err(bad_name)?, name };
                let destroyed = self
                    .core
                    .destroy(&key, Reason::Stop, &mut Silent)
                    .await
                    .map_err(|error| whole(&error))?;
                self.changed.notify_one();
                Ok(vec![json!(destroyed.map(|destroyed| destroyed.record.container_name))])
            }
            AdminRequest::Cleanup => {
                let report = self.core.cleanup().await.map_err(|error| whole(&error))?;
                self.changed.notify_one();
                let cleaned = Cleaned { lines: report.lines(), failures: report.failures };
                Ok(vec![value(serde_json::to_value(cleaned))?])
            }
            AdminRequest::Count { user } => {
                let user: UserName = user.parse().map_err(bad_name)?;
                let records =
                    self.core.store.of_user(&user).map_err(|error| Refusal::new(error.to_string()))?;
                // Nobody has anything to lose in what only lends its network to forwarding. One that is being made counts:
                // somebody is about to work in it.
                Ok(vec![json!(records.iter().filter(|record| record.attached).count())])
            }
            AdminRequest::BuildProject { project } => {
                Ok(vec![value(serde_json::to_value(self.build_project(&project, cancel).await?))?])
            }
            AdminRequest::VerifyImage { image } => {
                let image: ImageRef = image.parse().map_err(bad_name)?;
                let pulled = self.core.ensure_image(&image, None, &mut Silent, cancel).await;
                pulled.map_err(|error| whole(&error))?;
                let owner = UserName::derive(&asker().unwrap_or_default());
                let checks = self.core.verify_image(&owner, &image, cancel).await;
                let checks = checks.map_err(|error| whole(&error))?;
                checks.iter().map(|check| value(serde_json::to_value(check))).collect()
            }
            AdminRequest::Remove { user } => {
                let user: UserName = user.parse().map_err(bad_name)?;
                let records =
                    self.core.store.of_user(&user).map_err(|error| Refusal::new(error.to_string()))?;
                let mut removed = Removed { containers: Vec::new(), failures: Vec::new() };
                for record in records {
                    tracing::info!(user = %user, container = record.container_name, "destroying session");
                    match self.core.destroy(&record.key, Reason::Remove, &mut Silent).await {
                        Ok(Some(destroyed)) if destroyed.record.attached => {
                            removed.containers.push(record.container_name);
                        }
                        Ok(_) => {}
                        Err(error) => removed.failures.push(chain(&error)),
                    }
                }
                self.changed.notify_one();
                Ok(vec![value(serde_json::to_value(removed))?])
            }
        }
    }

    /// Makes the image that a project's new clone asks for, in the engine that sessions are made in.
    async fn build_project(&self, project: &str, cancel: &Cancel) -> Result<BuiltProject, Refusal> {
        let name: ProjectName = project.parse().map_err(bad_name)?;
        let layers = self.installation.load().map_err(|error| Refusal::new(error.to_string()))?;
        let directory = projects::new_clone_of(&layers.config, &name);
        let asked =
            projects::image_of(&layers, &name, &directory).map_err(|error| Refusal::new(chain(&error)))?;
        if let Some(recipe) = &asked.recipe {
            let built = self.core.ensure_image(&asked.image, Some(recipe), &mut Silent, cancel).await;
            built.map_err(|error| whole(&error))?;
        }
        let hash = asked.hash().map(|hash| hash.as_str().to_owned());
        Ok(BuiltProject { image: asked.image.to_string(), hash, warnings: asked.warnings })
    }

    async fn examined(&self) -> Result<Examined, Refusal> {
        let records = self.core.store.all().map_err(|error| Refusal::new(error.to_string()))?;
        let late = self.core.clock.now() - LATE;
        let is_overdue = |record: &&SessionRecord| {
            [record.grace_expiry, record.max_lifetime].into_iter().flatten().any(|end| end < late)
        };
        let engine = self.core.engines.engine().await.map(|engine| {
            let kind = self.core.engines.choose().map_or("engine", |chosen| label(chosen.kind));
            format!("{kind} {}", engine.facts().version)
        });
        let networks = match self.core.engines.engine().await {
            Ok(engine) => !engine.facts().lacks(Gap::JoinNetwork),
            Err(_) => true,
        };
        let orphans = match engine {
            Ok(_) => self.core.orphans().await.ok(),
            Err(_) => None,
        };
        Ok(Examined {
            sessions: records.len(),
            overdue: records.iter().filter(is_overdue).count(),
            engine: engine.map_err(|error| chain(&error)),
            networks,
            orphans,
        })
    }

    async fn numbers(&self, check: bool) -> Result<Numbers, Refusal> {
        let mut views = self.core.list(&Filter::default()).map_err(|error| whole(&error))?;
        // Half-made sessions are in no count.
        views.retain(|view| view.record.status != Status::Creating);
        let now = self.core.clock.now();
        let with = |status| views.iter().filter(|view| view.record.status == status).count();
        let recorded = views
            .iter()
            .map(|view| usize::from(!view.record.container_id.is_empty()) + view.record.service_ids.len());
        let containers = if check { self.core.containers_in_engine().await } else { recorded.sum() };
        Ok(Numbers {
            sessions: views.len(),
            running: with(Status::Running),
            grace: with(Status::GracePeriod),
            connections: views.iter().map(|view| view.connections).sum(),
            containers,
            engine: self.core.engines.choose().map_or("Docker", |chosen| label(chosen.kind)).to_owned(),
            oldest_seconds: views
                .iter()
                .map(|view| view.record.created_at)
                .min()
                .map(|oldest| u64::try_from(now.duration_since(oldest).as_secs()).unwrap_or(0)),
        })
    }
}

fn bad_name(error: crate::names::NameError) -> Refusal {
    Refusal::new(error.to_string())
}
