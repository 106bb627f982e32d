//! What must not go wrong: configurations that are broken already, changes that come out otherwise, processes that are
//! killed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::lab::{Lab, run};

#[test]
fn a_broken_configuration_is_refused_before_anything_is_changed() {
    let lab = Lab::new("UsePAM yes\nPortt 22\n");
    let before = lab.snapshot();
    let run = lab.setup(&[]).run().status(1);
    assert!(run.stderr.contains("Bad configuration option: Portt"), "{}", run.stderr);
    assert!(run.stderr.contains("repair it first"), "{}", run.stderr);
    assert!(before == lab.snapshot());
}

#[test]
fn a_program_that_others_could_replace_is_refused_before_anything_is_changed() {
    let lab = Lab::new("UsePAM yes\n");
    let open = lab.path("open");
    fs::create_dir(&open).expect("mkdir");
    fs::hard_link(lab.path("podspawn"), open.join("podspawn")).expect("link");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o775)).expect("chmod");
    let before = lab.snapshot();
    let run = lab.setup_as(&open.join("podspawn"), &[]).run().status(1);
    assert!(run.stderr.contains(&format!("{} must belong to root", open.display())), "{}", run.stderr);
    assert!(before == lab.snapshot());
}

/// The file is included a second time, at a place where one of its lines is not allowed: nothing but sshd can tell, and it
/// can only when the file is there.
#[test]
fn what_sshd_does_not_accept_in_the_end_is_taken_back() {
    let lab = Lab::new("UsePAM yes\nMatch User daemon\n    Include HERE/ssh/*.conf\n");
    let before = lab.read("ssh/sshd_config");
    let run = lab.setup(&["--max-startups", "100:30:200"]).run().status(1);
    assert!(run.stderr.contains("MaxStartups"), "{}", run.stderr);
    let as_it_was = format!("{} is as it was", lab.sshd_config().display());
    assert!(run.stderr.contains(&as_it_was), "{}", run.stderr);
    assert_eq!(lab.read("ssh/sshd_config"), before);
    assert!(!lab.path("ssh/podspawn.conf").exists());
    assert!(lab.is_valid());

    // Without that line it does, and a later attempt leaves what works.
    let _ = lab.setup(&[]).run().ok();
    let works = (lab.read("ssh/sshd_config"), lab.read("ssh/podspawn.conf"));
    let _ = lab.setup(&["--max-startups", "100:30:200"]).run().status(1);
    assert_eq!((lab.read("ssh/sshd_config"), lab.read("ssh/podspawn.conf")), works);
    assert!(lab.is_valid());
}

#[test]
fn whoever_kills_it_at_any_moment_leaves_a_valid_configuration() {
    const ROUNDS: u32 = 20;
    let lab = Lab::new("UsePAM yes\nMatch User daemon\n    X11Forwarding no\n");
    let original = lab.read("ssh/sshd_config");
    let pam = lab.read("pam");
    let mut took = [&[][..], &["--remove"]].map(|flags| lab.setup(flags).run().ok().took);
    assert_eq!(lab.read("ssh/sshd_config"), original);

    let mut killed = 0;
    for round in 0..ROUNDS {
        // In and out by turns, each a little later than before, up to a little past its end.
        let turn = usize::from(round % 2 == 1);
        let flags: &[&str] = if turn == 0 { &[] } else { &["--remove"] };
        let moment = took[turn].mul_f64(f64::from(round / 2) / f64::from(ROUNDS / 2 - 1));
        let running = lab.setup(flags).start();
        let never = std::os::unix::net::UnixDatagram::unbound().expect("a socket");
        let until = Instant::now() + moment;
        crate::harness::system::readable(&[std::os::fd::AsFd::as_fd(&never)], until);
        running.signal(Signal::KILL);
        let run = running.wait(Duration::from_secs(60));
        if run.status == 137 {
            killed += 1;
        } else {
            // The machine has less to do than at first: later moments are parts of what it takes now.
            took[turn] = took[turn].min(run.took);
        }
        assert!(lab.is_valid(), "round {round}, after {moment:?}: {}", lab.read("ssh/sshd_config"));
        let text = lab.read("ssh/sshd_config");
        assert!(text.ends_with(&original), "round {round}: {text}");
        assert_eq!(podspawn::server::pam::unwired(&lab.read("pam")), pam, "round {round}");
    }
    assert!(killed >= ROUNDS / 2, "only {killed} were killed");

    // The next one finishes, and nothing that was left behind stays.
    let _ = lab.setup(&[]).run().ok();
    assert!(lab.read("ssh/podspawn.conf").contains(&lab.group));
    let _ = lab.setup(&["--remove"]).run().ok();
    assert_eq!((lab.read("ssh/sshd_config"), lab.read("pam")), (original, pam));
    let mut left: Vec<_> = fs::read_dir(lab.path("ssh"))
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    left.sort();
    assert_eq!(left, ["sshd_config", "sshd_config.podspawn.bak"]);
}

/// A file system with room for so many small files, over a directory. Unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn over(path: PathBuf, files: u32) -> Self {
        let disk = Self(path);
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &disk.options(files), "podspawn-it"])
            .arg(&disk.0));
        disk
    }

    fn options(&self, files: u32) -> String {
        format!("mode=0755,size={}k", 4 * files)
    }

    fn grow(&self) {
        let options = format!("remount,{}", self.options(64));
        run(Command::new("mount").args(["-o", &options]).arg(&self.0));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_is_full_leaves_what_was_there_and_no_part_of_anything_new() {
    let lab = Lab::new("UsePAM yes\nMatch User daemon\n    X11Forwarding no\n");
    let (original, pam) = (lab.read("ssh/sshd_config"), lab.read("pam"));
    let mut failed = 0;
    // Besides the file itself: its copy, our own file, the new one in its place.
    for room in 0..=4 {
        let disk = SmallDisk::over(lab.path("ssh"), 1 + room);
        fs::write(lab.sshd_config(), &original).expect("write");
        let run = lab.setup(&[]).run();
        assert!(lab.is_valid(), "{room}: {}", lab.read("ssh/sshd_config"));
        if run.status != 0 {
            failed += 1;
            assert_eq!(run.status, 1, "{room}");
            assert!(run.stderr.contains("No space left on device"), "{room}: {}", run.stderr);
            assert_eq!(lab.read("ssh/sshd_config"), original, "{room}");
        }
        disk.grow();
        let _ = lab.setup(&[]).run().ok();
        assert!(lab.read("ssh/podspawn.conf").contains(&lab.group), "{room}");
        let _ = lab.setup(&["--remove"]).run().ok();
        assert_eq!((lab.read("ssh/sshd_config"), lab.read("pam")), (original.clone(), pam.clone()), "{room}");
    }
    assert!((1..=4).contains(&failed), "{failed}");
}
