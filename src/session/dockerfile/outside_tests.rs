use super::*;

const DOCKER: Reads = Reads { transports: false, here_documents: true };
const PODMAN: Reads = Reads { transports: true, here_documents: true };
/// One without here-documents.
const OLD: Reads = Reads { transports: true, here_documents: false };

fn read(text: &str, args: &[(&str, &str)], reads: Reads) -> Result<(), String> {
    let args = args.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    check(text.as_bytes(), &args, reads)
}

/// By whatever builder.
#[track_caller]
fn refused(text: &str) -> String {
    for reads in [PODMAN, OLD] {
        assert!(read(text, &[], reads).is_err(), "{text:?} was taken");
    }
    match read(text, &[], DOCKER) {
        Ok(()) => panic!("{text:?} was taken"),
        Err(why) => why,
    }
}

#[track_caller]
fn taken(text: &str) {
    for reads in [DOCKER, PODMAN, OLD] {
        read(text, &[], reads).unwrap_or_else(|why| panic!("{text:?}: {why}"));
    }
}

#[test]
fn what_the_engine_would_fetch_itself_is_refused_however_it_is_written() {
    for text in [
        "ADD http://127.0.0.1:9090/x /x",
        "add\thttps://x /x",
        "ADD HTTP://x /x",
        "ADD ftp://x /x",
        "ADD git://x/y /x",
        "ADD ssh://git@x/y /x",
        "ADD git@x:y/z.git /x",
        "ADD other@x:y /x",
        "ADD github.com/x/y /x",
        "ADD a b http://x /x",
        "ADD --chown=1:1 --checksum=sha256:00 http://x /x",
        "ADD --chown=\"1 1\" http://x /x",
        "ADD --chown=1\u{1140} http://x /x",
        "ADD [\"http://x\", \"/x\"]",
        "ADD [ \"a\",\"\\u0068ttp://x\", \"/x\" ]",
        "ADD [\"http://x\",\"/x\"] and more",
        "ADD [\"a\",\"/x\"] http://x /x",
        "ADD [\"\\u0068ttp://x\",\"\\ud800\"]",
        "ADD --chown=1 [\"http://x\", \"/x\"]",
        "ADD \"http\"://x /x",
        "ADD 'http://x' /x",
        "ADD h\\ttp://x /x",
        "ADD \\\n  # a comment\n\n  http://x \\\n /x",
        "AD\\\nD ht\\\ntp://x /x",
        "ADD a \\\n  # http://x /x",
        "ADD a \\\\\nhttp://x /x",
        "ADD a \\\u{a0}\nhttp://x /x",
        "# escape=`\nADD a `\nhttp://x /x",
        "#\tESCAPE = `\nAD`\nD h`ttp://x /x",
        "# syntax=docker/dockerfile:1\n# escape=`\nADD a `\nhttp://x /x",
        "ONBUILD ADD http://x /x",
        "onbuild ONBUILD add http://x /x",
        "ONBU\u{130}LD ADD http://x /x",
        "ADD $X /x",
        "ADD ${X} /x",
        "ADD ${X:-http://x} /x",
        "ADD ht$X /x",
        "ADD http:/$X /x",
        "ADD [\"$X\", \"/x\"]",
        "ADD http://${X} /x",
        "ADD github.com/$X /x",
        "\u{feff}ADD http://x /x",
        "ADD http://x /x\r",
    ] {
        let text = format!("FROM a\n{text}\n");
        let why =
            refused(if text.contains("# escape") || text.contains("ESCAPE") || text.contains('\u{feff}') {
                text.strip_prefix("FROM a\n").unwrap()
            } else {
                &text
            });
        assert!(why.contains("`ADD ") && why.starts_with("line "), "{text:?}: {why}");
    }
    assert_eq!(
        refused("FROM a\n\nADD --chown=1 http://127.0.0.1:9090/x /x\n"),
        "line 3: `ADD http://127.0.0.1:9090/x` would be fetched by the engine itself, in the network of its host: use `RUN \
         curl -fsSLO …` or `RUN wget …`, which fetch it in the build's own network"
    );
    assert!(refused("ADD $X /x").contains("begin it with `./` if it is a file of the repository"));
    assert!(check(b"FROM a\n# \xff\nADD http://x /\xff\n", &BTreeMap::new(), DOCKER).is_err());
}

#[test]
fn files_of_the_repository_are_added() {
    for text in [
        "FROM a\nADD . /app\n",
        "ADD a b\\ c $HOME/",
        "ADD ./$X dir/${Y}.tar.gz /x",
        "ADD /$X /x",
        "ADD --chown=$U:$G a /x",
        "ADD [\"a b\", \"./$X\", \"$Y\"]",
        "ADD http.conf https /etc/",
        "ADD dir/http://x /x",
        "ADD vendor/github.com/x@1:2 /x",
        "# ADD http://x /x\n  # ADD http://x /x\nFROM a\n",
        "COPY a /x\nRUN wget \\\n  http://x\n",
        "RUN echo \\\n  # ADD http://x /x\n  x\n",
        "ENV X=http://x\nLABEL add=\"ADD http://x /x\"\nADD",
        "# escape=`\nFROM a\nCOPY a c:\\\nRUN b `\n  c\n",
        "# syntax=docker.io/docker/dockerfile:1.4@sha256:00\n# check=skip=all\nFROM a\n",
    ] {
        taken(text);
    }
}

#[test]
fn a_here_document_is_no_instruction_where_the_builder_knows_it() {
    for begin in [
        "RUN <<EOF",
        "RUN cat <<EOF > /x",
        "COPY <<'EOF' <<-\"END\" /x",
        "ADD <<EOF /x",
        "RUN --network=none 3<<EOF x",
    ] {
        let ends = if begin.contains("END") { "EOF\nADD http://x /y\n\t\tEND" } else { "EOF" };
        let text = format!("FROM a\n{begin}\nADD http://x /x \\\n{ends}\n");
        for reads in [DOCKER, PODMAN] {
            read(&text, &[], reads).unwrap_or_else(|why| panic!("{text:?}: {why}"));
            for version in ["1.7", "1.7-labs", "1-labs", "labs", "1"] {
                let syntax = format!("# syntax=docker/dockerfile:{version}\n{text}");
                read(&syntax, &[], reads).unwrap_or_else(|why| panic!("{syntax:?}: {why}"));
                // The classic builder does not look at that line.
                assert!(read(&syntax, &[], OLD).is_err(), "{text:?}");
            }
        }
        assert!(read(&text, &[], OLD).is_err(), "{text:?}");
        assert!(read(&format!("# syntax=docker/dockerfile:1.3\n{text}"), &[], DOCKER).is_err(), "{text:?}");
        // Behind it there are instructions again.
        refused(&format!("{text}ADD http://x /x\n"));
    }
}

#[test]
fn what_may_be_no_here_document_hides_nothing() {
    for begin in [
        "RUN a<<CMD",
        "RUN << CMD",
        "RUN echo \"<<CMD\"",
        "RUN echo \" <<CMD \"",
        "RUN [\"a\", \"<<CMD\"]",
        "RUN echo ${ <<CMD",
        "RUN a <<<CMD",
        "RUN \\<<CMD",
        "RUN <<C\"M\"D",
        "RUN <<$CMD",
        "RUN <<END",
        "ONBUILD RUN <<CMD",
        "ENV A=<<CMD",
        "CMD <<CMD",
        "RUN a \\\\",
    ] {
        refused(&format!("FROM a\n{begin}\nADD http://x /x\nCMD\n"));
        taken(&format!("FROM a\n{begin}\nfrom x import y\nRUN x && \\\n  y\nCMD\n"));
    }
    let many = "RUN a<<b\n".repeat(20_000);
    assert!(refused(&many).contains("too long"));
}

#[test]
fn no_other_program_reads_the_text() {
    for text in [
        "# syntax=evil/frontend\nFROM a\n",
        "# a\n#  SyNTax = docker/dockerfile-upstream:master\nFROM a\n",
        "#!/bin/x\n#syntax=x.example/docker/dockerfile:1\nFROM a\n",
        "//syntax=evil/frontend\nFROM a\n",
        "#!/bin/x\n // syntax=evil/frontend\n",
        " {\"syntax\": \"evil/frontend\"}",
    ] {
        refused(text);
    }
    taken("# syntax=docker/dockerfile\n\nFROM a\n# syntax=other\n");
}

#[test]
fn a_run_has_no_network_but_the_builds_own() {
    for text in [
        "RUN --network=host x",
        "run --mount=type=cache,target=/x --network=host x",
        "RUN --mount=\"type=x y\" --network=host x",
        "RUN --net\"wor\"k='host' x",
        "RUN --net\\\\work=h\\ost x",
        "RUN --network=\\\n  host x",
        "RUN --network=$N x",
        "RUN --$N=host x",
        "RUN --network=private x",
        "RUN --network x",
        "RUN --security=insecure x",
        "ONBUILD RUN --network=host x",
        "RUN --mount=type=x,y=\u{e0}--network=host x",
    ] {
        let why = refused(&format!("FROM a\n{text}\n"));
        assert!(why.starts_with("line 2: it uses `RUN --"), "{text}: {why}");
    }
    assert!(refused("RUN --network=host x").ends_with("only `none` and `default` are allowed"));
    for text in [
        "RUN --network=none x",
        "RUN --network=default --mount=type=cache,target=$HOME/.cache,from=b x",
        "RUN --security=sandbox x",
        "RUN docker run --network=host x",
        "RUN -- --network=host",
        "RUN [\"x\", \"--network=host\"]",
    ] {
        taken(&format!("FROM a\n{text}\n"));
    }
}

#[test]
fn no_image_comes_from_a_file_of_the_host() {
    for text in [
        "FROM docker-archive:/x",
        "from --platform=linux/amd64 OCI:/x AS b",
        "FROM --platform=\"x y\" oci-archive:x",
        "FROM \"dir\":/x",
        "FROM d\\ir:/x",
        "FROM dir:$X",
        "ARG X=dir\nFROM $X:/x",
        "ARG X=dir:\nARG Y=${X}/x\nFROM ${Y}",
        "ARG TARGETVARIANT=x/\nFROM ${TARGETVARIANT}dir:/x",
        "FROM a\nFROM containers-storage:x",
        "FROM a\nCOPY --from=docker-daemon:x:1 / /",
        "FROM a\nADD --from=ostree:x / /",
        "FROM a\nCOPY --fr\"o\"m=dir:/x / /",
        "FROM a\nCOPY --from=$X / /",
        "FROM a\nCOPY --$X=dir:/x / /",
        "FROM a\nRUN --mount=type=bind,from=oci:/x,target=/x y",
        "FROM a\nRUN --mount=type=bind,\"from=$X\" y",
        "FROM a\nONBUILD COPY --from=sif:/x / /",
    ] {
        refused(text);
    }
    let given = "ARG X=a\nFROM $X\n";
    assert!(read(given, &[("X", "dir:/x")], DOCKER).is_err() && read(given, &[("X", "b:1")], PODMAN).is_ok());
    // Only Podman looks there: what is not understood may be an image elsewhere.
    assert!(read("FROM ${X#y}\n", &[], PODMAN).unwrap_err().contains("names no image"));
    assert!(read("FROM ${X#y}\n", &[], DOCKER).is_ok());
    for text in [
        "FROM docker://x/y",
        "FROM localhost:5000/dir:1 AS dir",
        "FROM scratch\nFROM x@sha256:00\nCOPY --from=0 --from=dir --from=x/y:1 / /",
        "ARG V\nARG W=bookworm\nFROM x-${TARGETARCH}:${W}\nFROM ${V:-x}",
        "FROM a\nARG X=dir:/x\nCOPY $X /x\nCOPY --chown=$U a /x",
    ] {
        taken(text);
    }
}

proptest::proptest! {
    #[test]
    fn whatever_stands_there_is_survived(text in "(?s)((ADD|RUN|FROM|ONBUILD|ARG|EOF|[a\u{e0}\u{1140}]|--|=|<<|[\\\\\"'\\[\\],$`#{} \t\r\n\u{a0}]){1,3}){0,40}") {
        for reads in [DOCKER, PODMAN, OLD] {
            let _ = check(text.as_bytes(), &BTreeMap::new(), reads);
        }
    }
}
