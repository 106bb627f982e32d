//! The terminal that other stories type on is a real one.

use crate::harness::Env;

#[test]
fn a_person_has_a_controlling_terminal_with_a_window() {
    let env = Env::without_engine();
    let mut terminal = env
        .program("sh", ["-c", "tty; stty size; read line; echo got $line; stty size; exit 3"])
        .terminal(24, 80);
    assert!(terminal.expect("24 80").contains("/dev/pts/"));
    terminal.resize(1, 500).line("hello");
    terminal.expect("got hello");
    let (status, screen) = terminal.wait();
    assert_eq!(status, 3);
    assert!(screen.ends_with("1 500\r\n"), "{screen}");
}

#[test]
#[should_panic(expected = "took longer than")]
fn a_command_that_hangs_fails_its_test_in_bounded_time() {
    let env = Env::without_engine();
    let _ = env.program("sleep", ["1000"]).limit(std::time::Duration::from_millis(200)).run();
}
