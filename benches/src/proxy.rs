//! Stands between a program and an engine's socket and counts the requests.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Result;

/// The end of a request's first line.
const MARK: &[u8] = b" HTTP/1.1\r\n";

/// Counts for as long as the process lives.
pub(crate) struct Proxy {
    socket: PathBuf,
    requests: Arc<AtomicUsize>,
}

impl Proxy {
    /// Listens at `socket` and passes everything on to `engine`.
    pub(crate) fn start(socket: PathBuf, engine: &Path) -> Result<Self> {
        let listener = UnixListener::bind(&socket)?;
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        let engine = engine.to_owned();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(std::result::Result::ok) {
                if let Ok(server) = UnixStream::connect(&engine) {
                    serve(client, server, &counter);
                }
            }
        });
        Ok(Self { socket, requests })
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Requests since the last call.
    pub(crate) fn take(&self) -> usize {
        self.requests.swap(0, Ordering::SeqCst)
    }
}

fn serve(client: UnixStream, server: UnixStream, counter: &Arc<AtomicUsize>) {
    let (Ok(from_client), Ok(to_server)) = (client.try_clone(), server.try_clone()) else { return };
    let counter = Arc::clone(counter);
    std::thread::spawn(move || {
        copy(from_client, to_server, |head| {
            counter.fetch_add(head, Ordering::SeqCst);
        })
    });
    std::thread::spawn(move || copy(server, client, |_| {}));
}

/// Copies until the end, telling how many first lines ended in each part.
fn copy(mut from: UnixStream, mut to: UnixStream, mut seen: impl FnMut(usize)) {
    let mut buffer = vec![0; 64 * 1024];
    let mut tail: Vec<u8> = Vec::new();
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        tail.extend_from_slice(&buffer[..length]);
        seen(tail.windows(MARK.len()).filter(|window| *window == MARK).count());
        // one byte less than the mark: it cannot be counted twice
        let keep = tail.len().saturating_sub(MARK.len() - 1);
        tail.drain(..keep);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // the other side may have ended first: nothing is left to do then
    let _ = to.shutdown(Shutdown::Write);
}
