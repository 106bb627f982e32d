//! The bundled SFTP server, as OpenSSH's own client and a raw conversation see it.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

const GUEST: &str = env!("CARGO_BIN_EXE_podspawn-guest");

/// A directory of its own, removed at the end.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sftp-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        symlink(GUEST, path.join("sftp-server")).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Runs OpenSSH's client against the server, both in this directory.
    fn sftp(&self, batch: &str) -> Output {
        let mut client = Command::new("timeout")
            .args(["300", "sftp", "-b", "-", "-D"])
            .arg(self.path("sftp-server"))
            .current_dir(&self.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        client.stdin.take().unwrap().write_all(batch.as_bytes()).unwrap();
        client.wait_with_output().unwrap()
    }

    /// As `sftp`, requires success and returns standard output without the echoed commands.
    #[track_caller]
    fn sftp_ok(&self, batch: &str) -> String {
        let output = self.sftp(batch);
        assert!(output.status.success(), "{batch}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().filter(|line| !line.starts_with("sftp>")).map(|line| format!("{line}\n")).collect()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Bytes that do not repeat within any block size of the transfer.
fn noise(length: usize, mut seed: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        bytes.extend_from_slice(&seed.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn hash(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

#[test]
fn a_large_file_arrives_unchanged_in_both_directions() {
    there_and_back(128);
}

#[test]
#[ignore = "a longer proof: make soak"]
fn a_gigabyte_arrives_unchanged_in_both_directions() {
    there_and_back(1024);
}

fn there_and_back(megabytes: u64) {
    let dir = Dir::new();
    let mut source = fs::File::create(dir.path("source")).unwrap();
    let mut block = noise(1 << 20, 0x9e37_79b9_7f4a_7c15);
    for number in 0..megabytes {
        block[..8].copy_from_slice(&number.to_le_bytes());
        source.write_all(&block).unwrap();
    }
    drop(source);
    let expected = hash(&dir.path("source"));
    dir.sftp_ok("put source there\n");
    assert_eq!(hash(&dir.path("there")), expected);
    fs::remove_file(dir.path("source")).unwrap();
    dir.sftp_ok("get there back\n");
    assert_eq!(fs::metadata(dir.path("back")).unwrap().len(), megabytes << 20);
    assert_eq!(hash(&dir.path("back")), expected);
}

#[test]
fn a_cut_transfer_is_resumed_in_both_directions() {
    let dir = Dir::new();
    let content = noise(5_000_003, 7);
    dir.write("whole", &content);
    dir.write("up", &content[..1_234_567]);
    dir.write("down", &content[..7]);
    dir.sftp_ok("reput whole up\nreget whole down\n");
    assert!(dir.read("up") == content);
    assert!(dir.read("down") == content);
}

#[test]
fn files_and_directories_are_renamed_linked_and_removed() {
    let dir = Dir::new();
    dir.write("one", "1");
    dir.write("other", "2");
    dir.sftp_ok("rename one two\nln two three\nsymlink two four\nmkdir d\nrename three d/three\nrm other\n");
    assert_eq!(dir.read("two"), b"1");
    assert_eq!(fs::metadata(dir.path("two")).unwrap().nlink(), 2);
    assert_eq!(fs::read_link(dir.path("four")).unwrap(), Path::new("two"));
    assert!(!dir.path("other").exists());
    dir.sftp_ok("rm d/three\nrmdir d\n");
    assert!(!dir.path("d").exists());
}

#[test]
fn rename_replaces_where_the_client_asks_for_it_and_not_otherwise() {
    let dir = Dir::new();
    dir.write("new", "new");
    dir.write("old", "old");
    assert!(!dir.sftp("rename -l new old\n").status.success());
    assert_eq!(dir.read("old"), b"old");
    dir.sftp_ok("rename new old\n");
    assert_eq!(dir.read("old"), b"new");
    assert!(!dir.path("new").exists());
}

#[test]
fn modes_and_times_are_set_and_kept() {
    let dir = Dir::new();
    dir.write("file", "x");
    fs::set_permissions(dir.path("file"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::File::open(dir.path("file"))
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_234_567_890))
        .unwrap();
    dir.sftp_ok("put -p file copy\nget -p file back\nchmod 4711 file\n");
    for name in ["copy", "back"] {
        let found = fs::metadata(dir.path(name)).unwrap();
        assert_eq!((found.mode() & 0o7777, found.mtime()), (0o640, 1_234_567_890), "{name}");
    }
    assert_eq!(fs::metadata(dir.path("file")).unwrap().mode() & 0o7777, 0o4711);
}

#[test]
fn attributes_of_a_link_itself_are_set_only_where_links_have_them() {
    let dir = Dir::new();
    dir.write("file", "x");
    symlink("file", dir.path("link")).unwrap();
    dir.sftp_ok("chmod -h 600 file\n");
    assert_eq!(fs::metadata(dir.path("file")).unwrap().mode() & 0o777, 0o600);
    assert!(!dir.sftp("chmod -h 644 link\n").status.success());
    assert_eq!(fs::metadata(dir.path("file")).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn ten_thousand_entries_are_listed_once_each() {
    let dir = Dir::new();
    fs::create_dir(dir.path("many")).unwrap();
    for number in 0..10_000 {
        dir.write(&format!("many/entry-{number:05}"), "");
    }
    let listed = dir.sftp_ok("ls -1 many\n");
    let expected: String = (0..10_000).map(|number| format!("many/entry-{number:05}\n")).collect();
    assert!(listed == expected, "{} lines", listed.lines().count());
}

#[test]
fn a_tree_is_copied_recursively() {
    let dir = Dir::new();
    fs::create_dir_all(dir.path("tree/a/b")).unwrap();
    dir.write("tree/top", "top");
    dir.write("tree/a/b/leaf with spaces", "leaf");
    dir.sftp_ok("put -R tree up\nget -R up down\n");
    assert_eq!(dir.read("down/top"), b"top");
    assert_eq!(dir.read("down/a/b/leaf with spaces"), b"leaf");
}

#[test]
fn long_listings_look_like_those_of_ls() {
    let dir = Dir::new();
    fs::create_dir(dir.path("d")).unwrap();
    dir.write("d/file", "hello");
    fs::set_permissions(dir.path("d/file"), fs::Permissions::from_mode(0o640)).unwrap();
    let listed = dir.sftp_ok("ls -l d\n");
    let fields: Vec<&str> = listed.split_whitespace().collect();
    let owner = fs::read_to_string("/etc/passwd").unwrap();
    let uid = fs::metadata(dir.path("d/file")).unwrap().uid().to_string();
    let owner =
        owner.lines().find(|line| line.split(':').nth(2) == Some(&uid)).unwrap().split(':').next().unwrap();
    assert_eq!(
        (fields[0], fields[2], fields[4], fields[8]),
        ("-rw-r-----", owner, "5", "d/file"),
        "{listed}"
    );
}

#[test]
fn space_copies_and_real_paths_are_answered() {
    let dir = Dir::new();
    dir.write("file", noise(300_000, 3));
    symlink(".", dir.path("here")).unwrap();
    let text = dir.sftp_ok("df\ncp file copy\ncd here\npwd\n");
    assert!(text.contains("Avail"), "{text}");
    assert!(dir.read("copy") == dir.read("file"));
    let here = format!("Remote working directory: {}\n", dir.0.canonicalize().unwrap().display());
    assert!(text.ends_with(&here), "{text}");
}

#[test]
fn errors_name_their_cause() {
    let dir = Dir::new();
    dir.write("file", "");
    for (batch, cause) in [
        ("get missing\n", "not found"),
        ("rm missing\n", "No such file or directory"),
        ("cd file\n", "not a directory"),
        ("mkdir file\n", "Failure"),
        ("readlink file\n", "Invalid command"),
    ] {
        let output = dir.sftp(batch);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && text.to_lowercase().contains(&cause.to_lowercase()),
            "{batch}{text}"
        );
    }
}

/// A packet: kind, then its parts.
fn packet(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length = 1 + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut bytes = u32::try_from(length).unwrap().to_be_bytes().to_vec();
    bytes.push(kind);
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn hello() -> Vec<u8> {
    packet(1, &[&3u32.to_be_bytes()])
}

/// Sends `pieces` one by one, closes, and returns all answers (kind and the rest) after the greeting, and the exit.
fn converse(dir: &Dir, args: &[&str], pieces: &[&[u8]]) -> (Vec<(u8, Vec<u8>)>, Output) {
    let mut server = Command::new(GUEST)
        .arg("sftp-server")
        .args(args)
        .current_dir(&dir.0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = server.stdin.take().unwrap();
    let mut stdout = server.stdout.take().unwrap();
    let answers = std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut bytes = Vec::new();
            stdout.read_to_end(&mut bytes).unwrap();
            bytes
        });
        for piece in pieces {
            // A server that has given up has closed its end.
            if stdin.write_all(piece).is_err() {
                break;
            }
        }
        drop(stdin);
        reader.join().unwrap()
    });
    let mut packets = Vec::new();
    let mut rest = answers.as_slice();
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let (payload, tail) = tail.split_at(u32::from_be_bytes(*length) as usize);
        packets.push((payload[0], payload[1..].to_vec()));
        rest = tail;
    }
    if !packets.is_empty() {
        let (kind, version) = packets.remove(0);
        assert_eq!((kind, &version[..4]), (2, &[0, 0, 0, 3][..]));
    }
    (packets, server.wait_with_output().unwrap())
}

#[test]
fn requests_in_one_burst_or_byte_by_byte_give_the_same_answers() {
    let dir = Dir::new();
    let content = noise(400_000, 11);
    dir.write("file", &content);
    let open = packet(3, &[&1u32.to_be_bytes(), &string(b"file"), &1u32.to_be_bytes(), &[0; 4]]);
    let handle = string(&[0; 4]);
    let mut burst = [hello(), open].concat();
    for number in 0u32..20 {
        let offset = u64::from(number) * 20_000;
        let length = 20_000u32.to_be_bytes();
        burst.extend(packet(5, &[&(number + 2).to_be_bytes(), &handle, &offset.to_be_bytes(), &length]));
    }
    burst.extend(packet(5, &[&22u32.to_be_bytes(), &handle, &400_000u64.to_be_bytes(), &1u32.to_be_bytes()]));
    burst.extend(packet(4, &[&23u32.to_be_bytes(), &handle]));
    let (answers, exit) = converse(&dir, &[], &[&burst]);
    assert!(exit.status.success());
    let data: Vec<u8> =
        answers.iter().filter(|(kind, _)| *kind == 103).flat_map(|(_, rest)| rest[8..].to_vec()).collect();
    assert!(data == content);
    assert_eq!(answers[21].1[..8], [0, 0, 0, 22, 0, 0, 0, 1], "end of file");
    assert_eq!(answers[22].1[..8], [0, 0, 0, 23, 0, 0, 0, 0], "closed");

    let bytes: Vec<&[u8]> = burst.chunks(1).collect();
    let (one_by_one, exit) = converse(&dir, &[], &bytes);
    assert!(exit.status.success());
    assert!(one_by_one == answers);
}

#[test]
fn appended_writes_ignore_their_offset() {
    let dir = Dir::new();
    dir.write("log", "first ");
    let open = packet(3, &[&1u32.to_be_bytes(), &string(b"log"), &(2u32 | 4).to_be_bytes(), &[0; 4]]);
    let write = |number: u32, text: &[u8]| {
        packet(6, &[&number.to_be_bytes(), &string(&[0; 4]), &0u64.to_be_bytes(), &string(text)])
    };
    let (answers, _) = converse(&dir, &[], &[&hello(), &open, &write(2, b"second "), &write(3, b"third")]);
    assert_eq!(answers.len(), 3);
    assert_eq!(dir.read("log"), b"first second third");
}

#[test]
fn a_stale_or_foreign_handle_is_a_plain_failure() {
    let dir = Dir::new();
    let numbers = 1u32.to_be_bytes();
    for handle in [&[0; 4][..], &[255; 4], b"", b"much too long"] {
        for kind in [4u8, 8, 12] {
            let (answers, exit) =
                converse(&dir, &[], &[&hello(), &packet(kind, &[&numbers, &string(handle)])]);
            assert_eq!(answers[0].1[..8], [0, 0, 0, 1, 0, 0, 0, 4], "kind {kind}");
            assert!(exit.status.success());
        }
    }
}

#[test]
fn a_read_only_server_changes_nothing() {
    let dir = Dir::new();
    dir.write("file", "x");
    let remove = packet(13, &[&1u32.to_be_bytes(), &string(b"file")]);
    let open = packet(3, &[&2u32.to_be_bytes(), &string(b"new"), &(2u32 | 8).to_be_bytes(), &[0; 4]]);
    let (answers, _) = converse(&dir, &["-R"], &[&hello(), &remove, &open]);
    assert!(answers.iter().all(|(kind, rest)| *kind == 101 && rest[7] == 3));
    assert!(dir.path("file").exists() && !dir.path("new").exists());
}

#[test]
fn nonsense_ends_the_server_with_a_line_and_a_status() {
    let dir = Dir::new();
    let too_long = [hello(), vec![0, 4, 0, 1, 5]].concat();
    let no_greeting = packet(17, &[&1u32.to_be_bytes(), &string(b".")]);
    let cut = hello()[..7].to_vec();
    for input in [too_long, no_greeting, cut, noise(5000, 99)] {
        let (_, exit) = converse(&dir, &[], &[&input]);
        assert_eq!(exit.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&exit.stderr).starts_with("sftp-server: "));
    }
}
