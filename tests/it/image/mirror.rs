//! A mirror of the places where releases of languages come from: a web server of this test, with archives that have the
//! layout of the real ones and programs in them that print their version.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;

use podspawn::config::PackageSources;
use tempfile::TempDir;

/// See the module. Its threads end with the test's process.
pub struct Mirror {
    root: TempDir,
    port: u16,
}

impl Mirror {
    pub fn start() -> Self {
        let root = tempfile::Builder::new().prefix("podspawn-mirror-").tempdir().expect("a directory");
        nodejs(&root.path().join("node"));
        go(&root.path().join("go"));
        python(&root.path().join("python"));
        rust(&root.path().join("rust"));
        // A build cannot reach this host's loopback, only its other addresses.
        let listener = TcpListener::bind("0.0.0.0:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let files = root.path().to_owned();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (files, client) = (files.clone(), client.expect("a connection"));
                // What the client makes of it is what the test looks at.
                std::thread::spawn(move || drop(serve(&files, client)));
            }
        });
        Self { root, port }
    }

    pub fn sources(&self) -> PackageSources {
        let url = |path: &str| format!("http://{}:{}/{path}", address(), self.port).parse().expect("a URL");
        PackageSources { nodejs: url("node"), go: url("go"), python: url("python"), rust: url("rust") }
    }

    pub fn file(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }
}

/// An address of this host that is not loopback. Nothing is sent.
fn address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    socket.connect("192.0.2.200:9").expect("a route");
    socket.local_addr().expect("an address").ip()
}

fn serve(files: &Path, client: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default().trim_matches('/').replace("%2B", "+");
    let mut place = files.join(path);
    if place.is_dir() {
        place.push("index.html");
    }
    let mut client = client;
    match fs::read(&place) {
        Ok(body) => {
            write!(client, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", body.len())?;
            client.write_all(&body)
        }
        Err(_) => write!(client, "HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
    }
}

/// A program that prints `text`, whatever it is asked.
fn program(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir_all(path.parent().expect("a directory")).expect("mkdir");
    fs::write(path, format!("#!/bin/sh\necho '{text}'\n")).expect("write");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
}

/// Packs `directory` of `at` into `archive` there, and removes it.
fn pack(at: &Path, directory: &str, archive: &str, how: &str) {
    tool(Command::new("tar").current_dir(at).args(["-c", how, "-f", archive, directory]));
    fs::remove_dir_all(at.join(directory)).expect("remove");
}

fn tool(command: &mut Command) -> String {
    let output = command.output().expect("start a tool");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Writes the sums of all files of `at` into `name`.
fn sums(at: &Path, name: &str) {
    let text = tool(Command::new("sh").current_dir(at).args(["-c", "sha256sum *.tar.*"]));
    fs::write(at.join(name), text).expect("write");
}

fn nodejs(at: &Path) {
    let index = "version\tdate\tfiles\tnpm\tv8\tuv\tzlib\topenssl\tmodules\tlts\tsecurity\n\
                 v25.1.0\t2026-01-01\tx\t1\t1\t1\t1\t1\t1\t-\tfalse\n\
                 v24.9.1\t2026-01-01\tx\t1\t1\t1\t1\t1\t1\tKrypton\tfalse\n\
                 v22.20.0\t2026-01-01\tx\t1\t1\t1\t1\t1\t1\tJod\tfalse\n";
    fs::create_dir_all(at).expect("mkdir");
    fs::write(at.join("index.tab"), index).expect("write");
    for (place, version) in [("latest-v22.x", "v22.20.0"), ("v24.9.1", "v24.9.1")] {
        let place = at.join(place);
        fs::create_dir_all(&place).expect("mkdir");
        for arch in ["x64", "arm64", "x64-musl"] {
            let name = format!("node-{version}-linux-{arch}");
            program(&place.join(&name).join("bin/node"), &format!("{version} {arch}"));
            let npm = place.join(&name).join("lib/node_modules/npm/bin/npm-cli.js");
            program(&npm, "npm of node");
            // Enough of it for a project whose tests are a script.
            let npm_does = "#!/bin/sh\ncase $1 in\ninstall) mkdir -p node_modules && date >>node_modules/installed ;;\n\
                            test) exec ./run-tests ;;\n*) echo 'npm of node' ;;\nesac\n";
            fs::write(&npm, npm_does).expect("write");
            let link = place.join(&name).join("bin/npm");
            std::os::unix::fs::symlink("../lib/node_modules/npm/bin/npm-cli.js", link).expect("link");
            fs::write(place.join(&name).join("README.md"), "words").expect("write");
            pack(&place, &name, &format!("{name}.tar.xz"), "-J");
        }
        sums(&place, "SHASUMS256.txt");
    }
}

fn go(at: &Path) {
    let mut index = String::from("<pre>\n");
    for version in ["1.9.7", "1.25.0", "1.25.10", "1.26rc1"] {
        for arch in ["amd64", "arm64"] {
            program(&at.join("go/bin/go"), &format!("go version go{version} linux/{arch}"));
            program(&at.join("go/bin/gofmt"), "gofmt");
            let archive = format!("go{version}.linux-{arch}.tar.gz");
            pack(at, "go", &archive, "-z");
            index += &format!("<a href=\"{archive}\">{archive}</a>\n");
        }
    }
    fs::write(at.join("index.html"), index).expect("write");
}

fn python(at: &Path) {
    for version in ["3.12.9", "3.13.2", "3.13.11", "3.15.0a1"] {
        let line: String = version.split('.').take(2).collect::<Vec<_>>().join(".");
        for triple in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "x86_64-unknown-linux-musl"] {
            program(&at.join(format!("python/bin/python{line}")), &format!("Python {version} {triple}"));
            program(&at.join(format!("python/bin/pip{line}")), &format!("pip of {version}"));
            for (link, target) in
                [("python3", "python"), ("python", "python"), ("pip3", "pip"), ("pip", "pip")]
            {
                let link = at.join("python/bin").join(link);
                std::os::unix::fs::symlink(format!("{target}{line}"), link).expect("link");
            }
            let name = format!("cpython-{version}+20260101-{triple}-install_only.tar.gz");
            pack(at, "python", &name, "-z");
        }
    }
    sums(at, "SHA256SUMS");
}

/// As rustup-init does: toolchains in its own directory, one program that acts by the name it is called by.
fn rust(at: &Path) {
    let script = r#"#!/bin/sh
set -eu
while [ $# -gt 0 ]; do case "$1" in --default-toolchain) toolchain=$2; shift ;; esac; shift; done
mkdir -p "$CARGO_HOME/bin" "$RUSTUP_HOME/toolchains/$toolchain"
echo "$toolchain from $RUSTUP_DIST_SERVER" >"$RUSTUP_HOME/settings.toml"
chmod 0600 "$RUSTUP_HOME/settings.toml"
printf '#!/bin/sh\necho "$(basename "$0") $(cat "$RUSTUP_HOME/settings.toml")"\n' >"$CARGO_HOME/bin/rustup"
chmod 0755 "$CARGO_HOME/bin/rustup"
for name in rustc cargo; do ln "$CARGO_HOME/bin/rustup" "$CARGO_HOME/bin/$name"; done
"#;
    for triple in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"] {
        let place = at.join("rustup/dist").join(triple);
        fs::create_dir_all(&place).expect("mkdir");
        fs::write(place.join("rustup-init"), script).expect("write");
        let sum = tool(Command::new("sha256sum").arg(place.join("rustup-init")));
        let sum = sum.split(' ').next().expect("a sum").to_owned();
        fs::write(place.join("rustup-init.sha256"), format!("{sum} *./rustup-init\n")).expect("write");
    }
}
