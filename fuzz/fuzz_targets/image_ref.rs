//! Image references.
#![no_main]

use libfuzzer_sys::fuzz_target;
use podspawn::names::ImageRef;

fuzz_target!(|text: &str| match text.parse::<ImageRef>() {
    Ok(image) => {
        let text = image.as_str();
        assert!(!text.starts_with('-') && text.is_ascii());
        assert!(!text.contains(|c: char| c.is_whitespace() || c.is_control()));
        assert!(!text.split('/').any(|part| matches!(part, "" | "." | "..")));
    }
    Err(error) => {
        assert!(!error.to_string().contains(char::is_control));
        if let Some(near) = error.suggestion {
            assert!(near.parse::<ImageRef>().is_ok(), "{near:?} is suggested and refused");
        }
    }
});
