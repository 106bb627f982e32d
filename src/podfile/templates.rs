//! Templates that `init` begins a Podfile with, as they are built in. They are whole Podfiles.

/// Name and text of each.
const TEMPLATES: &[(&str, &str)] = &[
    ("go", include_str!("templates/go.yaml")),
    ("node", include_str!("templates/node.yaml")),
    ("python", include_str!("templates/python.yaml")),
    ("rust", include_str!("templates/rust.yaml")),
    ("fullstack", include_str!("templates/fullstack.yaml")),
    ("minimal", include_str!("templates/minimal.yaml")),
];

/// The built-in template of this name.
pub fn built_in(name: &str) -> Option<&'static str> {
    TEMPLATES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml::parse;
    use crate::podfile::check_package;

    #[test]
    fn every_template_is_a_clean_document_with_known_packages() {
        for (name, text) in TEMPLATES {
            assert!(
                text.starts_with(
                    "# yaml-language-server: $schema=https://podspawn.dev/schema/podfile.json\n"
                )
            );
            assert!(!text.contains("/home/"), "{name}: the home is not always the same");
            let document = parse(text).unwrap_or_else(|error| panic!("{name}: {error:?}"));
            assert!(
                document.values.contains_key("base") != document.values.contains_key("extends"),
                "{name}"
            );
            for package in document.values["packages"].as_array().expect(name) {
                check_package(package.as_str().expect(name)).expect(name);
            }
            for key in ["packages", "resources", "on_start"] {
                assert!(document.values.contains_key(key), "{name}: {key}");
            }
        }
        assert_eq!(built_in("nothing"), None);
    }
}
