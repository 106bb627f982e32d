use super::*;

fn parse(text: &str) -> Result<Dockerfile, String> {
    Dockerfile::parse(text.as_bytes(), &BTreeMap::new(), None)
}

#[track_caller]
fn refused(text: &str) -> String {
    match parse(text) {
        Ok(read) => panic!("{text:?} was taken: {read:?}"),
        Err(why) => why,
    }
}

/// What the builder gets, with the names of images in capitals instead of ids.
#[track_caller]
fn pinned(text: &str, args: &[(&str, &str)], target: Option<&str>) -> String {
    let args = args.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let read =
        Dockerfile::parse(text.as_bytes(), &args, target).unwrap_or_else(|why| panic!("{text:?}: {why}"));
    let base = |image: &ImageRef| Base { id: image.as_str().to_uppercase(), architecture: "amd64".into() };
    let bases = read.images().into_iter().map(|image| (image, base(image))).collect();
    read.pinned(&bases).unwrap_or_else(|why| panic!("{text:?}: {why}"))
}

#[test]
fn every_image_is_named_by_its_id_and_every_stage_by_its_name() {
    let text = "# a comment\nFROM debian:12 AS Builder\nRUN x\n\nfrom builder as two\nFROM scratch\nFROM\tdebian:12\nCOPY --from=Builder a b\n";
    let wanted = "# a comment\nFROM DEBIAN:12 AS Builder\nRUN x\n\nFROM Builder AS two\nFROM scratch\nFROM DEBIAN:12\nCOPY --from=Builder a b\n";
    assert_eq!(pinned(text, &[], None), wanted);
    assert_eq!(parse(text).unwrap().images().len(), 1);
    // A stage is one only further down.
    assert_eq!(pinned("FROM one\nFROM a AS one\n", &[], None), "FROM ONE\nFROM A AS one\n");
}

#[test]
fn an_instruction_stands_on_one_line_however_it_was_cut() {
    let text = "\u{feff}FR\\\nOM \\  \r\n# a comment\n\n deb\\\nian\nRUN a && \\\n    b\r\n  RUN c \\\\\nd\nRUN `e`\nRUN f \\";
    assert_eq!(pinned(text, &[], None), "FROM DEBIAN\nRUN a &&     b\nRUN c \\d\nRUN `e`\nRUN f \n");
}

#[test]
fn only_what_is_built_for_the_wanted_stage_is_looked_at() {
    let text = "FROM a AS one\nRUN x\nFROM b AS two\nRUN --mount=x y\nFROM ${C}\n";
    assert_eq!(pinned(text, &[], Some("one")), "FROM A AS one\nRUN x\n");
    assert!(Dockerfile::parse(text.as_bytes(), &BTreeMap::new(), Some("two")).is_err());
    assert!(Dockerfile::parse(text.as_bytes(), &BTreeMap::new(), Some("none")).is_err());
}

#[test]
fn arguments_before_the_first_stage_name_images() {
    let text = "ARG A=one B='two'\nARG C=\"$A-${B}\"\nARG D\nFROM $C AS x\nFROM ${D:-three}:${A:+1}\n";
    assert_eq!(
        pinned(text, &[], None).lines().skip(3).collect::<Vec<_>>(),
        ["FROM ONE-TWO AS x", "FROM THREE:1"]
    );
    let given = pinned(text, &[("A", "uno"), ("D", "quattro"), ("E", "x")], None);
    assert_eq!(given.lines().skip(3).collect::<Vec<_>>(), ["FROM UNO-TWO AS x", "FROM QUATTRO:1"]);
    for text in [
        "FROM $A\n",
        "ARG A\nFROM $A\n",
        "FROM x\nARG A=y\nFROM $A\n",
        "FROM scratch\nARG A=y\nFROM $A\n",
        "ARG A=x\nFROM ${A#x}\n",
        "ARG A=x\nFROM ${A\n",
        "ARG A=a\\ b\nFROM $A\n",
        "FROM $\n",
        "FROM ${}\n",
        "FROM 'x\n",
    ] {
        assert!(refused(text).contains("names no image"), "{text}");
    }
}

#[test]
fn what_begins_no_stage_is_refused() {
    for text in [
        "FROM\n",
        "FROM a b\n",
        "FROM a AS\n",
        "FROM a AS b c\n",
        "FROM a AS b$c\n",
        "FROM docker-archive:/etc/image.tar\n",
        "FROM oci:/home/x\n",
        "FROM dir:/home/x\n",
        "FROM ../x\n",
        "FROM --x=y a\n",
        "FR\u{f6}M a\n",
        "ONBU\u{130}LD RUN --mount=x\n",
    ] {
        refused(text);
    }
    assert!(Dockerfile::parse(b"FROM \xff\n", &BTreeMap::new(), None).is_err());
}

#[test]
fn a_run_with_flags_is_refused_however_it_is_written() {
    for text in [
        "FROM x\nRUN --mount=type=bind,source=/x ls",
        "run\t--mount=x y",
        "RUN --mo\\\nunt=type=cache x",
        "RUN --mo\\  \n# a comment\n  unt=type=cache x",
        "R\\\nUN --mount=x",
        "ONBUILD RUN \\-\\-mount=x\nRUN --\\mount=x y",
        "ONBUILD RUN --mount=x y",
        "ONBUILD onbuild RUN --mount=x y",
        "ARG M=mount\nFROM x\nRUN --$M=type=bind y",
        "RUN --m\"oun\"t=x y",
        "RUN --network=none --mount=x y",
        "RUN --network=none\u{e0}--mount=x y",
        "RUN --network=$N y",
        "RUN --network=host y",
        "RUN\u{a0}--mount=x",
        "RUN <<END\nRUN --mount=x y\nEND\n",
        "RUN x\n# escape=`\nRUN --mo\\\nunt=y",
    ] {
        assert!(refused(text).contains("it uses `RUN --"), "{text}");
    }
    for text in [
        "FROM x\nRUN mount; ls --mount\n",
        "# RUN --mount=x\nFROM x\n",
        "RUN cargo run --release",
        "RUN --network=default x",
        "RUN [\"--mount\"]",
    ] {
        assert!(parse(text).is_ok(), "{text}");
    }
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    for text in ["# escape=`\nRUN x", "#\tESCAPE = `\nRUN x", "\n # escape=`\nRUN x"] {
        assert!(refused(text).contains("escape character"), "{text}");
    }
    assert!(parse("# escape=\\\nFROM x\n# escape=`\nRUN `date`").is_ok());
    for text in ["RUN <<END\nF\\\nROM x\nEND\n", "RUN a \\\\", "RUN a\\\u{a0}\nRUN b"] {
        assert!(refused(text).contains("ends in a backslash"), "{text}");
    }
    assert!(refused(&format!("RUN {}", "x".repeat(LONGEST_LINE))).contains("bytes"));
}

#[test]
fn no_stage_begins_in_a_here_document() {
    let text = "FROM x\nRUN <<END cat <<-'LAST' > /y\n# kept\n  a  b\nEND\nRUN z\n\tLAST\nRUN a <<< b && c << d\nFROM y\n";
    assert_eq!(pinned(text, &[], None), text.replace("FROM x", "FROM X").replace("FROM y", "FROM Y"));
    for text in [
        "RUN <<END\nFROM x AS y\nEND\nFROM y\n",
        "RUN <<END\n END\nFROM x AS y\nEND\nFROM y\n",
        "COPY <<-END /x\nEND \nFROM x AS y\nEND\nFROM y\n",
        "ONBUILD ADD <<a <<b /x\na\nFROM x AS y\nb\nFROM y\n",
    ] {
        assert!(refused(text).contains("here-document must not begin with `FROM`"), "{text}");
    }
    for text in
        ["RUN <<;END\nFROM x AS y\n;END\n", "RUN <<$E\n", "RUN <<E\"N\"D\n", "RUN <<\\END\n", "RUN <<''\n"]
    {
        assert!(refused(text).contains("plain word"), "{text}");
    }
}

#[test]
fn a_platform_is_the_one_that_there_is() {
    let text = "ARG P=linux/amd64\nFROM --platform=$P a\nFROM --platform=$BUILDPLATFORM b\n";
    assert_eq!(pinned(text, &[], None), "ARG P=linux/amd64\nFROM A\nFROM B\n");
    let other = parse("FROM --platform=linux/arm64 a\n").unwrap();
    let base = Base { id: "A".into(), architecture: "amd64".into() };
    let why =
        other.pinned(&other.images().into_iter().map(|image| (image, base.clone())).collect()).unwrap_err();
    assert_eq!(why, "line 1: `--platform=linux/arm64` is not that of `a` here, linux/amd64");
}

#[test]
fn what_an_image_brings_along_is_harmless_or_named() {
    let triggers = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let fine = triggers(&[
        "COPY . /app",
        " run make --mount",
        "ENV A=`b`",
        "",
        "RUN --network=none x",
        "WORKDIR /a",
    ]);
    assert_eq!(harmful(&fine), None);
    for bad in [
        "RUN --mount=type=bind,from=x,source=/l,target=/m cat /m/etc/passwd",
        "RUN --$M=type=bind x",
        "run\t--m'oun't=x y",
        "RUN x\nRUN --mount=x y",
        "R\\\nUN --mount=x y",
        "RUN \\",
        "ONBUILD RUN x",
        "FROM x",
        "# escape=`",
        "DANCE",
        "ADD http://x /x",
        "COPY --from=dir:/x / /",
        "RÜN x",
    ] {
        assert_eq!(harmful(&triggers(&["ENV A=b", bad])), Some(bad));
    }
}
