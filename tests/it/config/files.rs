//! Files that are no configuration at all: refused in bounded time and memory, with the file and the reason.

use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::Place;

/// Far more than any of them takes, far less than reading what they hold or waiting for somebody would.
const LIMIT: Duration = Duration::from_secs(5);

fn refused(place: &Place) -> String {
    let start = Instant::now();
    let error = place.error();
    assert!(start.elapsed() < LIMIT, "{error}: took {:?}", start.elapsed());
    assert!(error.chars().count() < 400, "{error}");
    assert!(!error.contains(char::is_control), "{error:?}");
    error
}

fn says(text: impl AsRef<[u8]>, expected: &str) {
    assert_eq!(refused(&Place::local().file(text)), expected);
}

#[test]
fn no_file_and_an_empty_one_mean_the_defaults() {
    let defaults = Place::local().layers().config.defaults;
    for text in ["", "\n\n", "# nothing yet\n", "---\n", "defaults:\n", "defaults: {}\nlocal:\n", "\u{feff}"]
    {
        assert_eq!(Place::local().file(text).layers().config.defaults, defaults, "{text:?}");
    }
}

#[test]
fn a_file_that_is_not_yaml_is_refused_with_its_line() {
    let malformed = |rest: &str| format!("~/.podspawn/config.yaml:{rest}");
    says(
        "defaults:\n  image: 'debian\n",
        &malformed("2: not a valid configuration file: unclosed quote (column 10)"),
    );
    says(
        "a: b: c\n",
        &malformed(
            "1: not a valid configuration file: mapping values are not allowed in this context (column 5)",
        ),
    );
    says(
        "[Unit]\nAfter=x\n",
        &malformed("2: not a valid configuration file: did not find expected <document start> (column 1)"),
    );
    says(
        "hello\n",
        &malformed("1: not a valid configuration file: expected `key: value` lines, found a text"),
    );
    says(
        "session:\n  mode: persistent\nsession:\n  mode: persistent\n",
        &malformed(
            "3: not a valid configuration file: duplicate mapping key `session` is not allowed here (column 1)",
        ),
    );
    says(
        b"defaults:\n  image: \xff\xfe\n",
        "read the configuration file `~/.podspawn/config.yaml`: it is not UTF-8 text (line 2)",
    );
    refused(&Place::local().file(b"\x7fELF\x02\x01\x01\x00\x00\x00"));
    refused(&Place::local().file("{\"defaults\": {\"image\": "));
}

#[test]
fn hostile_yaml_is_refused_in_bounded_time() {
    let deep: String = (0..5_000).map(|depth| format!("{}a:\n", " ".repeat(depth % 100))).collect();
    refused(&Place::local().file(deep));
    let nested: String = (0..100).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    assert!(refused(&Place::local().file(nested)).ends_with("it is nested deeper than 16 levels"));
    refused(&Place::local().file("[".repeat(1_000_000)));
    refused(&Place::local().file("{a: ".repeat(250_000)));
    refused(&Place::local().file("- ".repeat(500_000)));
    refused(&Place::local().file("? ".repeat(500_000)));
    refused(&Place::local().file("&a ".repeat(300_000)));
    refused(&Place::local().file("!!x ".repeat(250_000)));
    refused(&Place::local().file(format!("a: \"{}\"\n", "\\u1b5b".repeat(150_000))));
    refused(&Place::local().file((0..100_000).map(|key| format!("k{key}: 1\n")).collect::<String>()));

    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..40 {
        bomb.push_str(&format!(
            "a{level}: &a{level} [{}]\n",
            vec![format!("*a{}", level - 1); 10].join(", ")
        ));
    }
    assert!(refused(&Place::local().file(bomb)).ends_with("its aliases (`*name`) expand to too much"));
    refused(&Place::local().file("a: &a [*a, *a]\n"));
    let merge = format!("a: &a {{b: 1}}\nc:\n{}", "  <<: *a\n".repeat(50_000));
    refused(&Place::local().file(merge));
}

#[test]
fn a_file_of_100_mb_is_refused_without_being_read() {
    let place = Place::local();
    let file = std::fs::File::create(place.path()).unwrap();
    file.set_len(100 * 1024 * 1024).unwrap();
    let expected = "read the configuration file `~/.podspawn/config.yaml`: it is larger than 1024 KiB";
    assert_eq!(refused(&place), expected);
    says("a: b\n".repeat(250_000), expected);
}

#[test]
fn what_is_no_regular_file_is_refused_without_waiting() {
    let place = Place::local();
    mknodat(CWD, place.path(), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    assert_eq!(
        refused(&place),
        "read the configuration file `~/.podspawn/config.yaml`: it is a FIFO, not a regular file"
    );

    let place = Place::local();
    std::fs::create_dir(place.path()).unwrap();
    assert_eq!(refused(&place), "read the configuration file `~/.podspawn/config.yaml`: it is a directory");

    let place = Place::local();
    let _listener = std::os::unix::net::UnixListener::bind(place.path()).unwrap();
    assert_eq!(
        refused(&place),
        "read the configuration file `~/.podspawn/config.yaml`: it is a socket, not a regular file"
    );

    for device in ["/dev/zero", "/dev/tty", "/dev/null"] {
        let place = Place::local();
        symlink(device, place.path()).unwrap();
        assert_eq!(
            refused(&place),
            "read the configuration file `~/.podspawn/config.yaml`: it is a device, not a regular file"
        );
    }

    let place = Place::local();
    symlink(place.path(), place.path()).unwrap();
    assert_eq!(
        refused(&place),
        "read the configuration file `~/.podspawn/config.yaml`: too many symbolic links"
    );
}

#[test]
fn a_symlink_to_a_configuration_file_is_followed() {
    let place = Place::local();
    let elsewhere = place.home.path().join("dotfiles.yaml");
    std::fs::write(&elsewhere, "defaults: {image: debian:12}\n").unwrap();
    symlink(&elsewhere, place.path()).unwrap();
    assert_eq!(place.layers().config.defaults.image.as_str(), "debian:12");
    std::fs::remove_file(&elsewhere).unwrap();
    assert_eq!(place.layers().config.defaults.image.as_str(), "ubuntu:24.04", "a dangling link is no file");
}
