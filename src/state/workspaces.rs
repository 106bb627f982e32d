//! Checkouts that outlive containers: the table `workspaces`.

use std::path::PathBuf;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::record::Timestamp;
use super::rows::Time;
use crate::names::{BranchName, GitUrl, MachineName, NameError, ProjectName, UserName};

/// A row of the table `workspaces`: the checkout of one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// Unique id.
    pub id: String,
    /// Owner.
    pub user: UserName,
    /// Name of the machine.
    pub name: MachineName,
    /// Registered project.
    pub project: ProjectName,
    /// Repository that it was cloned from.
    pub repo_url: GitUrl,
    /// Branch that is checked out.
    pub branch: BranchName,
    /// The checkout on this host. It is there once it is whole: until then the row tells what is being made.
    pub path: PathBuf,
    /// Where it is mounted.
    pub target: String,
    /// Made at.
    pub created_at: Timestamp,
    /// The setup of the machine's last container came to its end.
    pub initialized: bool,
    /// HEAD after that; none if it is not known.
    pub head_commit: Option<String>,
}

const COLUMNS: &str = "id, user, name, project, repo_url, branch, workspace_path, workspace_target, created_at, \
     initialized, head_commit";

/// Writes a new row; false if the name is taken.
pub(super) fn insert(connection: &Connection, workspace: &Workspace) -> rusqlite::Result<bool> {
    let statement = format!(
        "INSERT INTO workspaces ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) \
         ON CONFLICT (user, name) DO NOTHING"
    );
    write(connection, &statement, workspace)
}

/// Writes another row over the one of its machine; false if there is none.
pub(super) fn replace(connection: &Connection, workspace: &Workspace) -> rusqlite::Result<bool> {
    let statement = format!(
        "UPDATE workspaces SET ({COLUMNS}) = (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) WHERE user = ?2 AND name = ?3"
    );
    write(connection, &statement, workspace)
}

/// Runs a statement whose parameters are all columns.
fn write(connection: &Connection, statement: &str, workspace: &Workspace) -> rusqlite::Result<bool> {
    let rows = connection.execute(
        statement,
        params![
            workspace.id,
            workspace.user.as_str(),
            workspace.name.as_str(),
            workspace.project.as_str(),
            workspace.repo_url.as_str(),
            workspace.branch.as_str(),
            workspace.path.to_string_lossy(),
            workspace.target,
            Time(workspace.created_at),
            workspace.initialized,
            workspace.head_commit.as_deref().unwrap_or_default(),
        ],
    )?;
    Ok(rows > 0)
}

/// Writes what may change in a row's life; false if it is gone.
pub(super) fn update(connection: &Connection, workspace: &Workspace) -> rusqlite::Result<bool> {
    let rows = connection.execute(
        "UPDATE workspaces SET (branch, workspace_target, initialized, head_commit) = (?2, ?3, ?4, ?5) WHERE id = ?1",
        params![
            workspace.id,
            workspace.branch.as_str(),
            workspace.target,
            workspace.initialized,
            workspace.head_commit.as_deref().unwrap_or_default(),
        ],
    )?;
    Ok(rows > 0)
}

pub(super) fn delete(connection: &Connection, id: &str) -> rusqlite::Result<usize> {
    connection.execute("DELETE FROM workspaces WHERE id = ?1", [id])
}

pub(super) fn find(
    connection: &Connection,
    user: &UserName,
    name: &MachineName,
) -> rusqlite::Result<Option<Workspace>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM workspaces WHERE user = ?1 AND name = ?2"))?
        .query_row(params![user.as_str(), name.as_str()], read)
        .optional()
}

pub(super) fn of_user(connection: &Connection, user: &UserName) -> rusqlite::Result<Vec<Workspace>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM workspaces WHERE user = ?1 ORDER BY name"))?
        .query_map([user.as_str()], read)?
        .collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Workspace> {
    fn name<T: std::str::FromStr<Err = NameError>>(row: &Row<'_>, index: usize) -> rusqlite::Result<T> {
        let text: String = row.get(index)?;
        text.parse().map_err(|error: NameError| {
            rusqlite::Error::FromSqlConversionFailure(index, Type::Text, error.into())
        })
    }
    let head: String = row.get(10)?;
    Ok(Workspace {
        id: row.get(0)?,
        user: name(row, 1)?,
        name: name(row, 2)?,
        project: name(row, 3)?,
        repo_url: name(row, 4)?,
        branch: name(row, 5)?,
        path: PathBuf::from(row.get::<_, String>(6)?),
        target: row.get(7)?,
        created_at: row.get::<_, Time>(8)?.0,
        initialized: row.get(9)?,
        head_commit: Some(head).filter(|head| !head.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Store;

    fn workspace(user: &str, name: &str) -> Workspace {
        Workspace {
            id: format!("{user}-{name}"),
            user: user.parse().unwrap(),
            name: name.parse().unwrap(),
            project: "api".parse().unwrap(),
            repo_url: "github.com/company/api".parse().unwrap(),
            branch: "feat/x".parse().unwrap(),
            path: format!("/home/{user}/.podspawn/workspaces/{name}").into(),
            target: "/workspace/api".into(),
            created_at: Timestamp::from_microsecond(1_700_000_000_123_456).unwrap(),
            initialized: false,
            head_commit: None,
        }
    }

    #[test]
    fn a_workspace_lives_from_its_row_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("state.db")).unwrap();
        let mut dev = workspace("ann", "dev");
        assert!(store.insert_workspace(&dev).unwrap());
        assert!(!store.insert_workspace(&Workspace { id: "other".into(), ..dev.clone() }).unwrap());
        assert!(store.insert_workspace(&workspace("bob", "dev")).unwrap());
        assert!(store.insert_workspace(&workspace("ann", "api")).unwrap());
        assert_eq!(store.workspace(&dev.user, &dev.name).unwrap(), Some(dev.clone()));
        let names: Vec<_> =
            store.workspaces(&dev.user).unwrap().iter().map(|one| one.name.to_string()).collect();
        assert_eq!(names, ["api", "dev"]);

        dev.branch = "main".parse().unwrap();
        dev.initialized = true;
        dev.head_commit = Some("0123abc".into());
        assert!(store.update_workspace(&dev).unwrap());
        assert_eq!(store.workspace(&dev.user, &dev.name).unwrap(), Some(dev.clone()));
        let other = Workspace { id: "other".into(), path: "/elsewhere".into(), ..dev.clone() };
        assert!(store.replace_workspace(&other).unwrap());
        assert_eq!(store.workspace(&dev.user, &dev.name).unwrap(), Some(other.clone()));
        assert!(store.replace_workspace(&dev).unwrap());
        store.delete_workspace(&dev.id).unwrap();
        assert_eq!(store.workspace(&dev.user, &dev.name).unwrap(), None);
        assert!(!store.replace_workspace(&other).unwrap());
        assert!(!store.update_workspace(&dev).unwrap());
        assert_eq!(store.workspaces(&"bob".parse().unwrap()).unwrap().len(), 1);
    }
}
