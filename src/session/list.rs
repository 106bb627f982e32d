//! What there is, from the store and the leases alone.

use super::core::Core;
use super::error::SessionError;
use crate::names::UserName;
use crate::state::SessionRecord;

/// Which sessions are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Only this owner's.
    pub user: Option<UserName>,
}

/// A session and its connections.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionView {
    /// What the store holds.
    pub record: SessionRecord,
    /// Held leases.
    pub connections: usize,
}

impl<S, G> Core<S, G> {
    /// Sessions, ordered by user and project. Those in the states `creating` and `destroying` are among them.
    pub fn list(&self, filter: &Filter) -> Result<Vec<SessionView>, SessionError> {
        let records = match &filter.user {
            Some(user) => self.store.of_user(user)?,
            None => self.store.all()?,
        };
        records
            .into_iter()
            .map(|record| Ok(SessionView { connections: self.leases().count(&record.id)?, record }))
            .collect()
    }
}
