//! Lines of key files, and what sshd gets of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use podspawn::server::keys::{Forced, KeyLine};

fuzz_target!(|text: &[u8]| {
    let (good, bad) = KeyLine::parse_file(text);
    assert_eq!(good.len() + bad.len(), KeyLine::count(text));
    for (_, error) in bad {
        let message = error.to_string();
        assert!(!message.contains(char::is_control), "{message:?}");
    }
    let forced = Forced::new("/usr/bin/podspawn spawn".into(), false).expect("a command");
    for key in good {
        // One line, which begins with what is forced, and which forces nothing else.
        let line = key.authorized(&forced);
        assert!(!line.contains(char::is_control), "{line:?}");
        assert!(line.starts_with("command=\"/usr/bin/podspawn spawn\",restrict"), "{line}");
        assert_eq!(line.matches("command=").count(), 1 + key.stored().matches("command=").count(), "{line}");
        // What is kept reads as the same key.
        assert_eq!(KeyLine::parse(&key.stored()).ok().as_ref(), Some(&key));
    }
});
