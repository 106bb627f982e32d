//! `--project`, `--branch` and `--image`: what a machine is made of.

use super::UsageError;
use crate::names::{BranchName, ImageRef, ProjectName};

/// What a machine is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MadeOf {
    /// An image; none for the configured one.
    Image(Option<ImageRef>),
    /// A registered project.
    Project {
        /// Its name.
        project: ProjectName,
        /// Branch, if one was named.
        branch: Option<BranchName>,
    },
}

impl MadeOf {
    /// Puts the three flags together.
    pub(super) fn new(
        image: Option<String>,
        project: Option<String>,
        branch: Option<String>,
    ) -> Result<Self, UsageError> {
        match (image, project, branch) {
            (Some(_), Some(_), _) => Err(UsageError::argument(
                "`--image` and `--project` cannot be used together",
                "a project's Podfile names its image: leave `--image` out",
            )),
            (_, None, Some(_)) => Err(UsageError::argument(
                "`--branch` needs `--project`",
                "name the project that has the branch: `--project <project>`",
            )),
            (image, None, None) => Ok(Self::Image(image.map(|image| image.parse()).transpose()?)),
            (None, Some(project), branch) => Ok(Self::Project {
                project: project.parse()?,
                branch: branch.map(|branch| branch.parse()).transpose()?,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(image: Option<&str>, project: Option<&str>, branch: Option<&str>) -> Result<MadeOf, String> {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        MadeOf::new(owned(image), owned(project), owned(branch)).map_err(|error| error.to_string())
    }

    #[test]
    fn what_makes_no_sense_together_is_refused() {
        assert_eq!(made(None, None, None), Ok(MadeOf::Image(None)));
        assert!(made(Some("debian:12"), Some("api"), None).unwrap_err().contains("together"));
        assert!(made(None, None, Some("main")).unwrap_err().contains("needs `--project`"));
        assert!(made(None, Some("api"), Some("--upload-pack=x")).unwrap_err().contains("branch name"));
        assert!(made(None, Some("api"), Some("feat/x")).is_ok());
    }
}
