//! Files that are copied in or mounted belong to whom they should, inside and outside.

use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::Path;

use podspawn::session::SessionError;
use podspawn::spec::{CopySpec, HostMount, SessionSpec};
use podspawn::state::AttachWay;
use podspawn_runtimes::{Engine, EngineKind};

use super::lab::{Place, drive};
use crate::harness::engines::fact;

fn tree(root: &Path) {
    std::fs::create_dir_all(root.join(".git/objects")).expect("mkdir");
    std::fs::create_dir_all(root.join("src/deep")).expect("mkdir");
    std::fs::write(root.join("src/deep/main.txt"), "content\n").expect("write");
    std::fs::write(root.join("large"), vec![b'x'; 40 << 20]).expect("write");
    symlink("/etc/shadow", root.join("link")).expect("symlink");
}

on_engines! {
    [docker, docker26, podman, gvisor]
    fn a_copy_is_there_before_the_session_is_and_belongs_to_its_user(engine: EngineName) {
        drive(async {
            let place = Place::on(engine).await;
            let source = place.dir.path().join("project");
            tree(&source);
            let mut spec = place.spec();
            spec.environment.copy = Some(CopySpec { source, with_git: false, target: "/workspace/app".into() });
            let session = place.acquire(&spec).await;
            // By its ids: a sandbox may keep what is written to its root, accounts too, from the engine.
            let user = format!("{0}:{0}", spec.account.uid);
            // Not `stat` or `ls`: their newer system call is unknown to an old gVisor.
            let look = "cd /workspace && perl -e 'for (@ARGV) { my @s = lstat; printf \"%s %d:%d %o\\n\", $_, @s[4, 5], $s[2] & 07777 }' \
                        . app app/src/deep/main.txt && wc -c < app/large && readlink app/link && cat app/src/deep/main.txt && cd app && echo * && ! test -e .git && cd .. && touch app/new app/src/deep/new && echo ok";
            let seen = place.inside_as(&session.record.container_id, Some(&user), look).await;
            let wanted = "1000:1000 755\napp 1000:1000 755\napp/src/deep/main.txt 1000:1000 644\n41943040\n\
                          /etc/shadow\ncontent\nlarge link src\nok";
            assert_eq!(seen, format!(". {wanted}"));
        });
    }
}

on_engines! {
    [docker]
    fn a_copy_into_a_read_only_root_is_refused_before_anything_is_made(engine: EngineName) {
        drive(async {
            let place = Place::on(engine).await;
            let mut spec = place.spec();
            spec.security.readonly_rootfs = true;
            spec.environment.copy = Some(CopySpec { source: place.dir.path().into(), with_git: false, target: "/w".into() });
            let error = place.try_acquire(&spec).await.expect_err("it cannot be");
            assert!(matches!(error, SessionError::Impossible(_)), "{error}");
            assert_eq!(place.objects().await, (0, 0, 0));
        });
    }
}

/// Mounts a directory of `owner` and lets the session's user write there; who owns the file outside.
async fn written_by(place: &Place, mut spec: SessionSpec, owner: u32) -> (SessionSpec, u32) {
    let source = place.dir.path().join(format!("of-{owner}"));
    std::fs::create_dir(&source).expect("mkdir");
    chown(&source, Some(owner), Some(owner)).expect("chown");
    spec.mounts =
        vec![HostMount { source: source.clone(), target: "/workspace/app".into(), read_only: false }];
    let session = place.acquire(&spec).await;
    assert_eq!(session.record.attach, AttachWay::Direct, "whoever this process is");
    let user = spec.account.name.clone();
    let write = "echo x > /workspace/app/file && stat -c %u /workspace/app /workspace/app/file";
    let inside = place.inside_as(&session.record.container_id, Some(&user), write).await;
    assert_eq!(inside, format!("{0}\n{0}", spec.account.uid));
    // The guest is the first process as ever: an account with a home, and sudo.
    let look = "id -u; test -O ~ && echo home; sudo -n id -u";
    let who = place
        .inside_as(&session.record.container_id, Some(&user), &format!("HOME=/home/{user}; {look}"))
        .await;
    assert_eq!(who, format!("{}\nhome\n0", spec.account.uid));
    let outside = std::fs::metadata(source.join("file")).expect("the file").uid();
    (spec, outside)
}

on_engines! {
    [docker, docker26]
    fn files_of_a_mounted_directory_belong_outside_to_its_owner(engine: EngineName) {
        drive(async {
            let place = Place::on(engine).await;
            // Who is not root has directories of their own only.
            let uid = rustix::process::getuid().as_raw();
            let owners = if uid == 0 { vec![1000, 1234] } else { vec![uid] };
            for owner in owners {
                let mut spec = place.spec();
                (spec.account.uid, spec.account.gid) = (owner, owner);
                let (spec, outside) = written_by(&place, spec, owner).await;
                assert_eq!(outside, owner);
                place.destroy(&spec).await;
            }
        });
    }

    [podman]
    fn files_of_a_mounted_directory_belong_outside_to_the_engines_account(engine: EngineName) {
        drive(async {
            let place = Place::on(engine).await;
            let account: u32 = fact("PODMAN_UID").parse().expect("a uid");
            for inside in [1000, 1234] {
                let mut spec = place.spec();
                (spec.account.uid, spec.account.gid) = (inside, inside);
                spec.environment.services = vec![place.service("greeter", "greeter", &[7000]).await];
                std::fs::remove_dir_all(place.dir.path().join(format!("of-{account}"))).unwrap_or_default();
                let (spec, outside) = written_by(&place, spec, account).await;
                assert_eq!(outside, account);
                place.destroy(&spec).await;
            }
            assert_eq!(place.engine().facts().kind, EngineKind::Podman);
        });
    }
}
