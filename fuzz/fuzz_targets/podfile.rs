//! Any Podfile, and any Podfile that it extends: what stands behind a line `%` is what GitHub answers.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use podspawn::podfile::{Fetch, Places, load_text};

struct Answer<'a>(&'a str);

impl Fetch for Answer<'_> {
    fn get(&self, _: &str) -> Result<String, String> {
        Ok(self.0.to_owned())
    }
}

fuzz_target!(|text: &str| {
    let (top, answer) = text.split_once("\n%\n").unwrap_or((text, ""));
    // Nothing can be kept there, and nothing found.
    let places = Places { cache: "/dev/null/cache".into(), github: "http://web".into() };
    match load_text(Path::new("/dev/null/repo/podfile.yaml"), top, &places, &Answer(answer)) {
        Err(error) => {
            let message = error.to_string();
            assert!(!message.contains(char::is_control), "{message:?}");
            assert!(message.chars().count() < 3000, "{message}");
        }
        Ok(loaded) => {
            assert!(loaded.podfile.env.values().all(|value| !value.contains(['\n', '\r', '\0'])));
            assert!(loaded.podfile.env.keys().all(|name| !name.contains('=')));
            for service in &loaded.podfile.services {
                assert!(service.volumes.iter().all(|volume| volume.target.starts_with('/')));
            }
            assert!(loaded.podfile.workspace.is_none_or(|path| path.starts_with('/') && !path.contains("..")));
            assert!(loaded.warnings.iter().all(|warning| !warning.contains(char::is_control)));
        }
    }
});
