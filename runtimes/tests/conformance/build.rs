//! Images that are made here.

use std::collections::BTreeMap;
use std::sync::Arc;

use podspawn_runtimes::*;

use crate::images::context;
use crate::lab::Lab;

fn spec(lab: &Lab, dockerfile: &str) -> BuildSpec {
    let tag = format!("{}/built:1", lab.prefix);
    let context_tar = context(&[("sub/Dockerfile", dockerfile.as_bytes()), ("note", b"from the context\n")]);
    BuildSpec {
        tag,
        dockerfile: "sub/Dockerfile".into(),
        context_tar,
        args: BTreeMap::from([("WORD".into(), "argument".into())]),
        target: None,
        labels: Labels::from([("podspawn-conformance-built".into(), lab.prefix.clone())]),
        builder: Builder::Engines,
    }
}

pub(crate) async fn a_build_takes_its_context_arguments_stage_and_labels(lab: Arc<Lab>) {
    let base = &lab.engines.image_busybox;
    let dockerfile = format!(
        "FROM {base} AS wanted\nARG WORD=none\nCOPY note /note\nRUN echo \"$WORD\" > /word && echo said aloud\n\
         ENV MADE=here\nFROM wanted AS beyond\nRUN exit 3\n"
    );
    let spec = BuildSpec { target: Some("wanted".into()), ..spec(&lab, &dockerfile) };
    lab.remember_image(&spec.tag);
    let mut lines = Vec::new();
    let mut note = |step| {
        if let Progress::Line(line) = step {
            lines.push(line);
        }
    };
    let built = lab.engine.build(&spec, &mut note).await.unwrap();
    assert!(built.env.contains(&"MADE=here".into()), "{:?}", built.env);
    assert!(lines.iter().any(|line| line.contains("said aloud")), "{lines:?}");
    let container = ContainerSpec { image: spec.tag.clone(), ..lab.spec("built") };
    let container = lab.start(&container).await;
    let shell = |script: &str| ExecSpec {
        argv: ["sh", "-c", script].map(String::from).to_vec(),
        ..ExecSpec::default()
    };
    let output = lab.exec(&container, shell("cat /note /word; echo $MADE"), &[]).await;
    assert_eq!(output.out, "from the context\nargument\nhere\n", "{output:?}");
    // The image's labels are inherited by its containers.
    let labels = lab.engine.container(&container).await.unwrap().unwrap().labels;
    assert_eq!(labels.get("podspawn-conformance-built"), Some(&lab.prefix));
    lab.engine.remove_container(&container).await.unwrap();
}

pub(crate) async fn a_failed_build_shows_what_failed(lab: Arc<Lab>) {
    let base = &lab.engines.image_busybox;
    let failing = spec(&lab, &format!("FROM {base}\nRUN echo so far so good && exit 3\n"));
    match lab.engine.build(&failing, &mut |_| ()).await {
        Err(EngineError::Build { image, answer }) => {
            assert_eq!(image, failing.tag);
            assert!(answer.contains("so far so good"), "{answer}");
            assert!(answer.contains("exit 3") && answer.contains('3'), "{answer}");
        }
        other => panic!("expected a failed build, got {other:?}"),
    }
    assert_eq!(lab.engine.image(&failing.tag).await.unwrap(), None);
    let nonsense = spec(&lab, &format!("FROM {base}\nDANCE\n"));
    match lab.engine.build(&nonsense, &mut |_| ()).await {
        Err(EngineError::Build { answer, .. }) => {
            assert!(answer.to_uppercase().contains("DANCE"), "{answer}")
        }
        other => panic!("expected a failed build, got {other:?}"),
    }
}

pub(crate) async fn what_an_image_brings_along_for_builds_is_told(lab: Arc<Lab>) {
    let base = lab.engines.image_busybox.clone();
    assert_eq!(lab.engine.on_build(&base).await.unwrap(), Vec::<String>::new());
    // One without a single file has nothing in a store but what is known of it.
    for base in [base.as_str(), "scratch"] {
        let made =
            spec(&lab, &format!("FROM {base}\nONBUILD RUN echo \\\n  a\nONBUILD ENV A=b\nCMD [\"/x\"]\n"));
        lab.remember_image(&made.tag);
        let made = lab.engine.build(&made, &mut |_| ()).await.unwrap();
        let brought = lab.engine.on_build(&made.id).await.unwrap();
        let words = |text: &String| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
        assert_eq!(brought.iter().map(words).collect::<Vec<_>>(), ["RUN echo a", "ENV A=b"], "{base}");
    }
    let missing = lab.engine.on_build(&format!("{}/none:1", lab.prefix)).await.unwrap_err();
    assert!(missing.is_not_found(), "{missing}");
}
