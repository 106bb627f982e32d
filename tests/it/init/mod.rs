//! Stories of `init`: what is recognised, asked, written and fetched. No engine is needed.

mod update;
mod wizard;

use std::path::PathBuf;

use crate::harness::Env;

/// A place without an engine, in whose home the commands work.
struct Project {
    env: Env,
}

impl Project {
    /// With these files at its top.
    fn with(files: &[&str]) -> Self {
        let mut env = Env::without_engine();
        env.set("NO_COLOR", "1");
        let project = Self { env };
        for file in files {
            project.write(file, "");
        }
        project
    }

    fn path(&self, name: &str) -> PathBuf {
        self.env.home().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("mkdir");
        std::fs::write(path, text).expect("write a file");
    }

    fn podfile(&self) -> String {
        std::fs::read_to_string(self.path("podfile.yaml")).expect("a podfile.yaml")
    }

    /// Names at the top that `init` made.
    fn made(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.env.home()).expect("a home");
        let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        names.filter(|name| name.contains("podfile")).collect()
    }
}
