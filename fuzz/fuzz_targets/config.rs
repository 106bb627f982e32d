//! Any configuration file, followed by resolving a machine with it.
#![no_main]

use std::collections::BTreeMap;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use podspawn::config::{Deployment, Sources, load_text};
use podspawn::names::SessionKey;
use podspawn::spec::{Kind, Request, resolve, rows};

fuzz_target!(|text: &str| {
    for deployment in [Deployment::Local, Deployment::Server] {
        let sources = Sources {
            deployment,
            local_root: "/home/ann/.podspawn".into(),
            home: Some("/home/ann".into()),
            file: None,
            env: BTreeMap::new(),
            flags: Vec::new(),
        };
        match load_text(&sources, Some((Path::new("config.yaml"), text))) {
            Err(error) => {
                let message = error.to_string();
                assert!(!message.contains(char::is_control), "{message:?}");
                assert!(message.chars().count() < 1000, "{message}");
            }
            Ok(layers) => {
                let key = SessionKey::machine("ann".parse().unwrap(), "dev".parse().unwrap());
                if let Ok(resolved) = resolve(&Request::new(key, Kind::Machine), &layers) {
                    assert_eq!(rows(&resolved).len(), resolved.origins.len());
                    assert_ne!(resolved.spec.account.uid, 0);
                }
            }
        }
    }
});
