//! Any devcontainer.json.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use podspawn::podfile::{Base, devcontainer};

fuzz_target!(|text: &str| {
    let repository = Path::new("/nonexistent/api");
    let path = repository.join(".devcontainer/devcontainer.json");
    let said = match devcontainer(text, &path, repository) {
        Ok((podfile, warnings)) => {
            assert!(matches!(podfile.base, Base::Image(_)), "nothing there can be built");
            for path in podfile.volumes.iter().map(|volume| &volume.target).chain(&podfile.workspace) {
                assert!(path.starts_with('/') && path.len() > 1, "{path:?}");
                assert!(!path.split('/').any(|part| part == ".."), "{path:?}");
                for taken in ["/proc", "/sys", "/dev", "/.podspawn", "/run/podspawn"] {
                    assert!(path != taken && !path.starts_with(&format!("{taken}/")), "{path:?}");
                }
            }
            for value in podfile.env.values() {
                assert!(!value.contains(char::is_control), "{value:?}");
            }
            warnings
        }
        Err(error) => vec![error.to_string()],
    };
    for line in said {
        assert!(!line.contains(char::is_control), "{line:?}");
        assert!(line.chars().count() < 2500, "{line}");
    }
});
