use super::layers::{defaults, merge, profile};
use super::*;

#[test]
fn the_example_file_says_exactly_what_the_defaults_are() {
    let config: Config = merge([&defaults().unwrap()]).extract().unwrap();
    assert_eq!(config, Config::default());
}

#[test]
fn every_profile_is_a_valid_layer_that_chooses_no_profile() {
    let defaults = defaults().unwrap();
    for name in ProfileName::all() {
        let layer = profile(name).unwrap();
        if let Err(error) = check::alone(&defaults, &layer, Deployment::Server) {
            panic!("{name}: {error}");
        }
        let config: Config = merge([&defaults, &layer]).extract().unwrap();
        assert_eq!(config.profile, None, "{name}");
    }
}
