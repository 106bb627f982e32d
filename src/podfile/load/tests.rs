use std::fs;

use tempfile::TempDir;

use super::*;

struct NoWeb;

impl Fetch for NoWeb {
    fn get(&self, _: &str) -> Result<String, String> {
        Err("no web here".into())
    }
}

fn read(path: &Path) -> Loaded {
    let places = Places { cache: path.with_file_name("cache"), github: "https://github.com".into() };
    load(path, &places, &NoWeb).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_first_place_that_has_a_file_counts() {
    let dir = TempDir::new().unwrap();
    assert_eq!(locate(dir.path()), Ok(None));
    for location in LOCATIONS.iter().rev() {
        let path = dir.path().join(location);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "base: x\n").unwrap();
        assert_eq!(locate(dir.path()), Ok(Some(path)));
    }
    let dangling = TempDir::new().unwrap();
    std::os::unix::fs::symlink("nowhere", dangling.path().join("podfile.yaml")).unwrap();
    fs::write(dangling.path().join(".devcontainer.json"), "{}").unwrap();
    assert_eq!(
        locate(dangling.path()),
        Ok(Some(dangling.path().join("podfile.yaml"))),
        "a broken file hides the next one"
    );
}

#[test]
fn every_byte_of_a_podfile_that_stands_alone_counts() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("podfile.yaml");
    for text in ["base: x\n", "base: x\n# a word\n", "\u{feff}base: x"] {
        fs::write(&path, text).unwrap();
        assert_eq!(read(&path).canonical, text);
    }
}

#[test]
fn with_extends_the_values_count_and_not_the_words() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("podfile.yaml");
    let base = dir.path().join("base.yaml");
    fs::write(&base, "base: x\nenv: {B: b, A: a}\n").unwrap();
    fs::write(&path, "extends: base.yaml\npackages: [git]\n").unwrap();
    let canonical = read(&path).canonical;
    fs::write(&path, "# a word\npackages: ['git']\nextends: ./base.yaml\n").unwrap();
    fs::write(&base, "env: {A: a, B: b}\nbase: x\n").unwrap();
    assert_eq!(read(&path).canonical, canonical);
    fs::write(&base, "base: y\nenv: {A: a, B: b}\n").unwrap();
    assert_ne!(read(&path).canonical, canonical, "a changed base changes the image");
}

#[test]
fn the_same_file_gives_the_same_result_wherever_the_repository_lies() {
    let canonical = || {
        let dir = TempDir::new().unwrap();
        fs::write(
            dir.path().join("podfile.yaml"),
            "extends: minimal\nservices: [{name: a, image: b, volumes: ['d:/d']}]\n",
        )
        .unwrap();
        read(&dir.path().join("podfile.yaml")).canonical
    };
    assert_eq!(canonical(), canonical());
}

/// A project with a devcontainer.json that asks for everything that a directory's place could get into.
const ASKING: &str = r#"{
    "image": "x",
    "containerEnv": {"AT": "${localWorkspaceFolder}", "IN": "${containerWorkspaceFolder}"},
    "remoteEnv": {"CALLED": "${localWorkspaceFolderBasename}", "ID": "${devcontainerId}"},
    "forwardPorts": [3000],
    "remoteUser": "node",
    "postCreateCommand": "make ${containerWorkspaceFolder}"
}"#;

/// A directory of that name with those files, and what holds it.
fn directory(name: &str, files: &[(&str, &str)]) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let root = dir.path().canonicalize().unwrap().join(name);
    for (file, text) in files {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    (dir, root)
}

fn read_for(path: &Path, repository: Repository<'_>) -> Result<Loaded, PodfileError> {
    let places = Places { cache: path.with_file_name("cache"), github: "https://github.com".into() };
    load_for(path, repository, &places, &NoWeb)
}

#[test]
fn a_project_is_the_same_in_whatever_directory_it_is_just_now() {
    let image = |directory_name: &str| {
        let (_dir, root) = directory(directory_name, &[(".devcontainer/devcontainer.json", ASKING)]);
        let repository = Repository { directory: &root, name: Some("api") };
        let path = locate(&root).unwrap().unwrap();
        let loaded = read_for(&path, repository).unwrap();
        let image = loaded.image("api", &crate::config::Config::default().packages.sources).unwrap().0;
        (loaded.podfile, loaded.canonical, image)
    };
    let (podfile, canonical, name) = image("api");
    assert_eq!(podfile.workspace.as_deref(), Some("/workspace/api"));
    assert_eq!(podfile.hooks.create[0].dir.as_deref(), Some("/workspace/api"));
    assert_eq!(podfile.env["AT"], "/workspace/api");
    assert_eq!(podfile.env["CALLED"], "api");
    for elsewhere in [".new-api-17", ".tmp-review-4", "fix"] {
        assert_eq!(image(elsewhere), (podfile.clone(), canonical.clone(), name.clone()), "{elsewhere}");
    }
}

#[test]
fn without_a_name_a_project_is_called_as_its_directory() {
    let (_dir, root) = directory("shop", &[(".devcontainer.json", ASKING)]);
    let loaded =
        read_for(&root.join(".devcontainer.json"), Repository { directory: &root, name: None }).unwrap();
    assert_eq!(loaded.podfile.hooks.create[0].dir.as_deref(), Some("/workspace/shop"));
    assert_eq!(loaded.podfile.env["AT"], root.to_str().unwrap());
    assert_eq!(loaded, read(&root.join(".devcontainer.json")));
}

#[test]
fn a_named_file_may_name_what_lies_in_its_project_and_nothing_else() {
    let files = [
        ("ci/dev.yaml", "extends: ../base.yaml\n"),
        ("base.yaml", "base: x\n"),
        ("ci/out.yaml", "extends: ../../base.yaml\n"),
        ("Dockerfile", "FROM x\n"),
        (
            ".devcontainer/py/devcontainer.json",
            r#"{"build": {"dockerfile": "../../Dockerfile", "context": "../.."},
            "containerEnv": {"AT": "${localWorkspaceFolder}"}}"#,
        ),
    ];
    let (dir, root) = directory("api", &files);
    fs::write(dir.path().join("base.yaml"), "base: y\n").unwrap();
    let here = Repository { directory: &root, name: None };
    assert!(matches!(read_for(&root.join("ci/dev.yaml"), here).unwrap().podfile.base, Base::Image(_)));
    let loaded = read_for(&root.join(".devcontainer/py/devcontainer.json"), here).unwrap();
    assert_eq!(loaded.podfile.env["AT"], root.to_str().unwrap());
    let Base::Build(build) = loaded.podfile.base else { panic!("a build") };
    assert_eq!((build.context, build.dockerfile.as_str()), (root.clone(), "Dockerfile"));
    let error = read_for(&root.join("ci/out.yaml"), here).unwrap_err().to_string();
    assert!(error.contains("leads out of the repository"), "{error}");
    // One that lies elsewhere stays in its own directory.
    let inside = root.join("ci");
    let error =
        read_for(&root.join("ci/dev.yaml"), Repository { directory: &inside, name: None }).unwrap_err();
    assert!(error.to_string().contains("leads out of the repository"), "{error}");
    let elsewhere = Repository { directory: Path::new("/nonexistent"), name: None };
    assert!(read_for(&root.join("ci/dev.yaml"), elsewhere).is_err());
}

#[test]
fn an_image_is_at_hand_where_no_context_has_to_be_read() {
    let name = |dockerfile: &str| {
        let json = r#"{"build": {"dockerfile": "Dockerfile"}}"#;
        let (_dir, root) = directory("api", &[(".devcontainer.json", json), ("Dockerfile", dockerfile)]);
        let loaded = read(&root.join(".devcontainer.json"));
        let sources = crate::config::Config::default().packages.sources;
        let at_hand = loaded.image_at_hand("api", &sources);
        assert!(at_hand.is_none() || at_hand == Some(loaded.image("api", &sources).unwrap().0));
        at_hand
    };
    assert!(name("FROM x\nRUN true\n").is_some());
    assert_eq!(name("FROM x\nCOPY . /src\n"), None);
}
