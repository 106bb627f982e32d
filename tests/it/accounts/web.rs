//! An HTTPS server on loopback that behaves as badly as it is told to, and the authority that vouches for it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::lab::{KEY, OTHER, tool};

/// See the module. Its threads end with the test's process.
pub struct Web {
    /// `https://127.0.0.1:<port>`.
    pub url: String,
    /// The certificate of the authority.
    pub authority: PathBuf,
}

impl Web {
    /// Serves from now on; its files lie in `dir`.
    pub fn start(dir: &Path) -> Self {
        Self::with(dir, BTreeMap::new())
    }

    /// The same, with pages: path and text.
    pub fn with(dir: &Path, pages: BTreeMap<String, String>) -> Self {
        let pages = Arc::new(pages);
        let authority = certificates(dir);
        let chain = vec![CertificateDer::from_pem_file(dir.join("server.pem")).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_file(dir.join("server.key")).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("key and certificate");
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("https://127.0.0.1:{}", listener.local_addr().expect("an address").port());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (config, client) = (config.clone(), client.expect("a connection"));
                let pages = Arc::clone(&pages);
                // What the client makes of it is what the test looks at.
                std::thread::spawn(move || drop(serve(config, client, &pages)));
            }
        });
        Self { url, authority }
    }
}

fn serve(
    config: Arc<ServerConfig>,
    client: TcpStream,
    pages: &BTreeMap<String, String>,
) -> std::io::Result<()> {
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(connection, client));
    let mut request = String::new();
    stream.read_line(&mut request)?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
    }
    let mut stream = stream.into_inner();
    let mut answer = |head: &str, body: &str| {
        let length = body.len();
        stream.write_all(format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes())?;
        stream.flush()
    };
    let path = request.split(' ').nth(1).unwrap_or_default();
    if let Some(page) = pages.get(path) {
        return answer("200 OK", page);
    }
    match path {
        "/two.keys" => answer("200 OK", &format!("{KEY}\n{OTHER}\n")),
        "/empty.keys" => answer("200 OK", ""),
        "/options.keys" => answer("200 OK", &format!("cert-authority {KEY}\n")),
        "/moved.keys" => answer("302 Found\r\nLocation: https://127.0.0.1:1/two.keys", ""),
        "/broken.keys" => answer("500 Internal Server Error", KEY),
        "/org/repo/raw/main/good.yaml" => answer("200 OK", "base: debian:12\n"),
        "/org/repo/raw/main/local.yaml" => answer("200 OK", "extends: ./other.yaml\n"),
        "/org/repo/raw/main/moved.yaml" => answer("302 Found\r\nLocation: https://127.0.0.1:1/x", ""),
        "/huge.keys" | "/org/repo/raw/main/huge.yaml" => {
            stream.write_all(
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1_u64 << 30).as_bytes(),
            )?;
            let piece = [b'#'; 1 << 16];
            for _ in 0..(1 << 14) {
                stream.write_all(&piece)?;
            }
            stream.flush()
        }
        "/silent.keys" => {
            // Until the client has had enough.
            std::io::Read::read(&mut stream, &mut [0]).map(drop)
        }
        _ => answer("404 Not Found", "Not Found"),
    }
}

/// An authority and a certificate of 127.0.0.1 signed by it; returns the authority's.
fn certificates(dir: &Path) -> PathBuf {
    let path = |name: &str| dir.join(name).display().to_string();
    let openssl = |args: &[&str]| {
        let output = tool("openssl", args);
        assert!(output.status.success(), "{output:?}");
    };
    let new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let (ca, ca_key) = (path("authority.pem"), path("authority.key"));
    let (server, server_key, request, extension) =
        (path("server.pem"), path("server.key"), path("server.csr"), path("server.ext"));
    let subject = ["-subj", "/CN=podspawn test"];
    openssl(&[&["req", "-x509", "-days", "2", "-keyout", &ca_key, "-out", &ca], &new[..], &subject].concat());
    openssl(&[&["req", "-keyout", &server_key, "-out", &request], &new[..], &subject].concat());
    std::fs::write(&extension, "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").expect("a file");
    openssl(&[
        "x509",
        "-req",
        "-days",
        "2",
        "-in",
        &request,
        "-CA",
        &ca,
        "-CAkey",
        &ca_key,
        "-CAcreateserial",
        "-extfile",
        &extension,
        "-out",
        &server,
    ]);
    ca.into()
}
