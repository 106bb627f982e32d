//! What the Podfile of a checkout means for machines of a project.
//!
//! Calls `podfile` and `spec`; the one place where a project's environment is looked for.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use podspawn_runtimes::Engine;

use super::context::{Context, Settings};
use crate::config::Mode;
use crate::names::{BranchName, ProjectName};
use crate::podfile::PodfileError;
use crate::session::{Cancel, EngineSource, Report, SessionError};
use crate::spec::ProjectRequest;
use crate::system::files::open_path_in_root;

/// Where a repository's Podfile may be, first choice first.
const PLACES: [&str; 2] = [".podspawn/podfile.yaml", "podfile.yaml"];

/// Why a link is no Podfile: it leads to wherever it was made to.
const LINK: &str = "a symbolic link stands in its place";

/// The Podfile of a checkout.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The file.
    pub path: PathBuf,
}

impl Loaded {
    /// Branch of machines of the project.
    pub fn branch(&self) -> Option<&BranchName> {
        None
    }

    /// Where the checkout is mounted.
    pub fn workspace(&self) -> Option<&str> {
        None
    }

    /// What tells whether an image has to be built anew.
    pub fn hash(&self) -> Option<String> {
        None
    }
}

/// The Podfile of a checkout, if it has one. A link in its place leads out of the repository and is refused.
pub fn podfile_of(directory: &Path) -> Result<Option<Loaded>, PodfileError> {
    let read = |path: PathBuf, reason: String| PodfileError::Read { path, reason };
    let root = File::open(directory).map_err(|error| read(directory.to_owned(), error.to_string()))?;
    for place in PLACES {
        let path = directory.join(place);
        match open_path_in_root(&root, Path::new(place), false).map(File::from) {
            Ok(file) => match file.metadata() {
                Ok(facts) if facts.is_file() => return Ok(Some(Loaded { path })),
                Ok(facts) if facts.is_symlink() => return Err(read(path, LINK.into())),
                Ok(_) => return Err(read(path, "it is not a regular file".into())),
                Err(error) => return Err(read(path, error.to_string())),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                return Err(read(path, LINK.into()));
            }
            Err(error) => return Err(read(path, error.to_string())),
        }
    }
    Ok(None)
}

/// What machines of a project are made with; none for what configuration says.
pub fn project_request(
    loaded: Option<&Loaded>,
    project: &ProjectName,
    mode: Option<Mode>,
    settings: &Settings,
) -> Result<Option<ProjectRequest>, PodfileError> {
    tracing::debug!(
        %project, ?mode, owner = %settings.owner, podfile = ?loaded.map(|loaded| &loaded.path),
        "machines of this project get the configured environment"
    );
    Ok(None)
}

/// Makes the image of a project where the engine does not have it.
pub async fn ensure_image(
    context: &Context,
    request: &ProjectRequest,
    _: &mut dyn Report,
    _: &Cancel,
) -> Result<(), SessionError> {
    let image = request.image.to_string();
    match context.core.engines.engine().await?.image(&image).await? {
        Some(_) => Ok(()),
        None => Err(SessionError::ImageMissing { image }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_choice_wins_and_links_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(podfile_of(dir.path()).unwrap(), None);
        std::fs::write(dir.path().join("podfile.yaml"), "").unwrap();
        assert_eq!(podfile_of(dir.path()).unwrap().unwrap().path, dir.path().join("podfile.yaml"));
        std::fs::create_dir(dir.path().join(".podspawn")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join(".podspawn/podfile.yaml")).unwrap();
        let error = podfile_of(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("a symbolic link stands in its place"), "{error}");
        std::fs::remove_dir_all(dir.path().join(".podspawn")).unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join(".podspawn")).unwrap();
        assert!(podfile_of(dir.path()).is_err());
        std::fs::remove_file(dir.path().join(".podspawn")).unwrap();
        std::fs::create_dir_all(dir.path().join(".podspawn/podfile.yaml")).unwrap();
        assert!(podfile_of(dir.path()).unwrap_err().to_string().ends_with("not a regular file"));
    }
}
