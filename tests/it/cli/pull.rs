//! Images that the engine does not have yet.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::harness::engines::fact;
use crate::harness::{EngineName, Env};

/// An image under a name of its own in the loopback registry, in no engine; removed from everywhere when dropped.
pub struct Pushed {
    /// Its name.
    pub name: String,
    digest: String,
    engine: EngineName,
}

impl Pushed {
    fn new(env: &Env) -> Self {
        Self::of("IMAGE_BUSYBOX", &env.user, env.engine.expect("an engine"))
    }

    /// An image of the set-up under this name, which that engine is to pull.
    pub fn of(image: &str, name: &str, engine: EngineName) -> Self {
        Self::copy_of(fact(image), name, engine)
    }

    /// The same of any image that Docker has.
    pub fn copy_of(image: &str, name: &str, engine: EngineName) -> Self {
        let name = format!("{}/podspawn-test/{name}:1", fact("REGISTRY"));
        // Docker pushes, whatever engine pulls.
        let docker = EngineName::Docker;
        docker.run(&["tag", image, &name]);
        let answer = docker.run(&["push", &name]);
        docker.run(&["rmi", &name]);
        let digest =
            answer.split("digest: ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a digest");
        Self { digest: digest.into(), name, engine }
    }
}

impl Drop for Pushed {
    fn drop(&mut self) {
        // The machine is gone first: see the order in the stories.
        let _ = self.engine.cli().args(["rmi", "-f", &self.name]).output();
        let Some((repository, _)) = self.name.trim_start_matches(fact("REGISTRY")).rsplit_once(':') else {
            return;
        };
        if let Ok(mut stream) = TcpStream::connect(fact("REGISTRY")) {
            let request = format!(
                "DELETE /v2{repository}/manifests/{} HTTP/1.0\r\nHost: {}\r\n\r\n",
                self.digest,
                fact("REGISTRY")
            );
            let _ = stream.write_all(request.as_bytes());
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
}

on_engines! {
    [docker, podman]
    fn a_missing_image_is_pulled_with_plain_lines(env: Env) {
        let image = Pushed::new(&env);
        let run = env.podspawn(["create", "dev", "--image", &image.name]).run().ok();
        let lines: Vec<&str> = run.stderr.lines().collect();
        assert_eq!(lines.first(), Some(&format!("Pulling {}", image.name).as_str()), "{}", run.stderr);
        assert!(lines.contains(&format!("Pulled {}", image.name).as_str()), "{}", run.stderr);
        assert_eq!(lines.last(), Some(&format!("✓ Creating dev ({})", image.name).as_str()), "{}", run.stderr);
        assert!(!run.stderr.contains(['\x1b', '\r']), "{:?}", run.stderr);
        let _ = env.podspawn(["rm", "--force", "dev"]).run().ok();
        drop(image);
    }
}

on_engines! {
    [docker, podman]
    fn a_person_watches_the_pull(env: Env) {
        let image = Pushed::new(&env);
        let mut terminal = env.terminal(["create", "dev", "--image", &image.name]);
        terminal.expect(&format!("Pulling {}", image.name));
        terminal.expect(&format!("Creating dev ({})", image.name));
        let (status, screen) = terminal.wait();
        assert_eq!(status, 0, "{screen}");
        let _ = env.podspawn(["rm", "--force", "dev"]).run().ok();
        drop(image);
    }
}
