//! What a base image brings along for builds on it (`ONBUILD`): as on Docker where it is harmless, and nothing at all where a
//! builder would let it out.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use podspawn::names::ImageRef;
use podspawn::podfile::{Base, Podfile};
use podspawn::session::SessionError;
use tempfile::TempDir;

use super::lab::Lab;
use crate::harness::engines::fact;
use crate::harness::system::random_hex;

/// An image that reads a file of this host in every build on it, and what stands in that file.
struct Hostile {
    image: ImageRef,
    secret: String,
    _file: TempDir,
}

impl Hostile {
    /// Made as a stranger would. That it works is seen first.
    fn on(lab: &Lab) -> Self {
        let secret = format!("secret-{}", random_hex());
        let dir = tempfile::Builder::new().prefix("podspawn-it-").tempdir().expect("a directory");
        // Any account of this host may read it, but no container has it.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        let file = dir.path().join("key");
        fs::write(&file, &secret).expect("write");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("chmod");
        let linked = lab.made(
            "linked",
            &format!("FROM {}\nRUN ln -s {} /out\n", fact("IMAGE_SUDO"), dir.path().display()),
        );
        let image = lab.made(
            "hostile",
            &format!(
                "FROM {linked}\nONBUILD RUN --mount=type=bind,from={linked},source=/out,destination=/mnt \
                 cat /mnt/key | tee /stolen\n"
            ),
        );
        let (_, told) = lab.plain_build(&lab.named("plain"), &format!("FROM {image}\n"));
        // Distributions mend later versions without naming them otherwise.
        let version = lab.engine.run(&["version", "--format", "{{.Server.Version}}"]);
        let open = told.contains(&secret) || !version.starts_with("4.3.");
        assert!(open, "it does not reach out of a plain build: {told}");
        Self { image, secret, _file: dir }
    }

    /// The error of a Podfile on it, which has made nothing and told nothing.
    #[track_caller]
    fn refusal(&self, lab: &Lab, podfile: &Podfile) -> String {
        let (image, recipe) = lab.recipe(podfile);
        let (outcome, steps) = lab.build(&image, &recipe);
        let error = match outcome {
            Err(error @ SessionError::Impossible(_)) => error.to_string(),
            other => panic!("{other:?}: {steps:#?}"),
        };
        let told = format!("{error}\n{}", steps.join("\n"));
        assert!(!told.contains(&self.secret), "{told}");
        assert!(!lab.has(&image) && !recipe.base_tag.is_some_and(|base| lab.has(&base)), "{told}");
        assert!(!steps.iter().any(|step| step.contains("Building") || step.contains("Preparing")), "{told}");
        error
    }
}

/// What the message says of an image.
fn words(image: &ImageRef) -> String {
    format!("the image `{image}` brings along `ONBUILD RUN --mount=type=bind,")
}

on_engines! {
    [podman]
    fn a_base_image_reaches_no_file_of_the_host(engine: EngineName) {
        let lab = Lab::on(engine);
        let hostile = Hostile::on(&lab);
        let image = &hostile.image;
        let mut podfile = lab.podfile(&[]);
        podfile.base = Base::Image(image.clone());
        let error = hostile.refusal(&lab, &podfile);
        assert!(error.starts_with(&words(image)), "{error}");
        assert!(error.ends_with("build on another image, or use Podman 5.3.2 or Docker"), "{error}");

        let sudo = fact("IMAGE_SUDO");
        for (dockerfile, args) in [
            (format!("FROM {image}\n"), [].as_slice()),
            (format!("FROM {sudo} AS one\nfr\\\nom {image} as two\nFROM one\nCOPY --from=two /etc/hostname /x\n"), &[]),
            (format!("ARG NAME={image}\nFROM ${{NAME}}\n"), &[]),
            (format!("ARG NAME={sudo}\nFROM $NAME\n"), &[("NAME", image.as_str())]),
        ] {
            let context = lab.context(&[("Dockerfile", &dockerfile)]);
            let error = hostile.refusal(&lab, &lab.podfile_on(&context, args));
            assert!(error.starts_with(&words(image)), "{dockerfile}: {error}");
        }
        let context = lab.context(&[("Dockerfile", "FROM $NAME\n")]);
        let error = hostile.refusal(&lab, &lab.podfile_on(&context, &[("NAME", sudo)]));
        assert!(error.starts_with("`Dockerfile`, line 1: `FROM $NAME` names no image: "), "{error}");
    }

    [podman]
    fn a_name_that_is_moved_after_the_look_leads_nowhere(engine: EngineName) {
        let lab = Lab::on(engine);
        let hostile = Hostile::on(&lab);
        let honest = lab.made("honest", &format!("FROM {}\nLABEL a=b\n", fact("IMAGE_SUDO")));
        let name = lab.named("moved");
        let context = lab.context(&[("Dockerfile", &format!("FROM {name}\nRUN touch /built\n"))]);
        let mut direct = lab.podfile(&[]);
        direct.base = Base::Image(name.clone());
        for (podfile, moment) in [(direct, "Preparing"), (lab.podfile_on(&context, &[]), "Building base image")] {
            engine.run(&["tag", honest.as_str(), name.as_str()]);
            let (image, recipe) = lab.recipe(&podfile);
            let (from, to) = (hostile.image.to_string(), name.to_string());
            let (outcome, steps) = lab.build_with(&image, &recipe, move |step| {
                if step.starts_with(moment) {
                    engine.run(&["tag", &from, &to]);
                }
            });
            assert!(outcome.unwrap_or_else(|error| panic!("{error}: {steps:#?}")));
            let id = |name: &str| engine.run(&["image", "inspect", "--format", "{{.Id}}", name]);
            assert_eq!(id(name.as_str()), id(hostile.image.as_str()), "it was moved: {steps:#?}");
            assert_eq!(lab.inside(&image, "ls -d /out /stolen 2>/dev/null || echo none"), "none");
        }
    }

    [podman]
    fn files_of_an_image_are_copied_without_what_it_brings_along(engine: EngineName) {
        let lab = Lab::on(engine);
        let hostile = Hostile::on(&lab);
        let dockerfile = format!(
            "FROM {}\nCOPY --from={} / /copy/\nRUN ls -d /copy/stolen || touch /copy/clean\n",
            fact("IMAGE_SUDO"),
            hostile.image
        );
        let (image, recipe) = lab.recipe(&lab.podfile_on(&lab.context(&[("Dockerfile", &dockerfile)]), &[]));
        let (outcome, steps) = lab.build(&image, &recipe);
        assert!(outcome.unwrap_or_else(|error| panic!("{error}: {steps:#?}")));
        assert_eq!(lab.inside(&image, "ls -d /copy/clean /stolen 2>/dev/null || true"), "/copy/clean");
    }

    [docker, podman; soak: docker26]
    fn what_is_harmless_of_a_base_image_is_done(engine: EngineName) {
        let lab = Lab::on(engine);
        let base = lab.made(
            "brings",
            &format!(
                "FROM {}\nONBUILD ARG WORD=none\nONBUILD RUN echo \"$WORD\" > \\\n /word\nONBUILD ENV BROUGHT=along\n",
                fact("IMAGE_SUDO")
            ),
        );
        let mut direct = lab.podfile(&[]);
        direct.base = Base::Image(base.clone());
        // Here one line, one instruction; what is a comment, and what goes on, stays what it is.
        let dockerfile = format!(
            "# a comment\nARG NAME={base}\nFROM ${{NAME}} AS First\nRUN echo a \\\n  # not this\n  b > /own\n\
             FROM first\nCOPY . /context\n"
        );
        let context = lab.context(&[("Dockerfile", &dockerfile), ("note", "n")]);
        for (podfile, wanted) in
            [(direct, "none along"), (lab.podfile_on(&context, &[("WORD", "given")]), "given along")]
        {
            let (image, recipe) = lab.recipe(&podfile);
            let (outcome, steps) = lab.build(&image, &recipe);
            assert!(outcome.unwrap_or_else(|error| panic!("{error}: {steps:#?}")));
            assert_eq!(lab.inside(&image, "echo $(cat /word) $BROUGHT"), wanted);
            if wanted.starts_with("given") {
                assert_eq!(lab.inside(&image, "cat /own; ls /context"), "a b\nDockerfile\nnote");
            }
        }
    }
}
