//! Files out of a container with their owners. Podman's archive call gives everything to the container's user, so what was
//! asked for is picked out of an export of the whole root file system, which keeps owners.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::io::AsyncReadExt;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::call::Action;
use crate::endpoint::{Reader, Target, Writer};
use crate::error::Result;
use crate::raw::{self, RawStream, Request};

/// Pieces of output that may wait for their reader.
const WAITING: usize = 4;
/// Size of a piece, in bytes.
const PIECE: usize = 64 * 1024;

/// The file or directory at `path` as a tar archive; none if the export does not have it (a path that leads through a
/// symbolic link).
pub(super) async fn pick(
    target: &Target,
    action: &Action,
    path: &Path,
) -> Result<Option<BoxStream<'static, Result<Bytes>>>> {
    let url = format!("/v4.3.1/libpod/containers/{}/export", action.name);
    let raw = action.wait(raw::open(target, action, &url, Request::Stream)).await?;
    let source = Source::of(raw);
    let (sender, mut receiver) = mpsc::channel(WAITING);
    let (selection, failed) = (Selection::new(path), action.clone());
    tokio::task::spawn_blocking(move || {
        let mut sink = Sink { sender, piece: BytesMut::with_capacity(PIECE) };
        if let Err(error) = selection.copy(source, &mut sink) {
            // Nobody reading any more is how a reader says that it has enough.
            let _ = sink.sender.blocking_send(Err(failed.io(error)));
        }
    });
    let Some(first) = action.wait(async { Ok(receiver.recv().await) }).await? else { return Ok(None) };
    let rest = stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    Ok(Some(stream::iter([first]).chain(rest).boxed()))
}

/// Which entries are wanted, and what they are called in the result.
struct Selection {
    /// Without a leading slash, as the export names it.
    path: PathBuf,
    /// What the result's names begin with instead.
    name: PathBuf,
}

impl Selection {
    fn new(path: &Path) -> Self {
        let path: PathBuf =
            path.components().filter(|part| matches!(part, std::path::Component::Normal(_))).collect();
        let name = path.file_name().map_or_else(|| PathBuf::from("."), PathBuf::from);
        Self { path, name }
    }

    fn rename(&self, found: &Path) -> Option<PathBuf> {
        let found = found.strip_prefix(".").unwrap_or(found);
        let below = found.strip_prefix(&self.path).ok()?;
        Some(if below.as_os_str().is_empty() { self.name.clone() } else { self.name.join(below) })
    }

    fn copy(&self, source: Source, sink: &mut Sink) -> io::Result<()> {
        let (mut result, mut found) = (tar::Builder::new(sink), false);
        for entry in tar::Archive::new(source).entries()? {
            let mut entry = entry?;
            let Some(name) = self.rename(&entry.path()?) else { continue };
            found = true;
            let mut header = entry.header().clone();
            header.set_size(entry.size());
            match (header.entry_type(), entry.link_name()?) {
                (tar::EntryType::Link, Some(link)) => {
                    let link = self.rename(&link).ok_or_else(|| {
                        let message = format!("{} is a hard link to what was not asked for", name.display());
                        io::Error::other(message)
                    })?;
                    result.append_link(&mut header, name, link)?;
                }
                (tar::EntryType::Symlink, Some(link)) => {
                    let link = link.into_owned();
                    result.append_link(&mut header, name, link)?;
                }
                _ => result.append_data(&mut header, name, &mut entry)?,
            }
        }
        // An archive of nothing is not sent.
        if found { result.into_inner()?.flush() } else { Ok(()) }
    }
}

/// An answer, for a reader that waits.
pub(super) struct Source {
    handle: Handle,
    reader: Reader,
    rest: BytesMut,
    _writer: Writer,
}

impl Source {
    /// Of an answer that is a stream of bytes. Belongs to the runtime that makes it.
    pub(super) fn of(raw: RawStream) -> Self {
        Self { handle: Handle::current(), reader: raw.reader, rest: raw.rest, _writer: raw.writer }
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            return self.handle.block_on(self.reader.read(buffer));
        }
        let size = buffer.len().min(self.rest.len());
        self.rest.copy_to_slice(&mut buffer[..size]);
        Ok(size)
    }
}

/// The result, in pieces.
struct Sink {
    sender: mpsc::Sender<Result<Bytes>>,
    piece: BytesMut,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = self.piece.split().freeze();
        self.sender.blocking_send(Ok(piece)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_at_or_below_the_path_is_taken_and_named_after_it() {
        let selection = Selection::new(Path::new("/srv/tree/"));
        let renamed = |path: &str| selection.rename(Path::new(path)).map(|name| name.display().to_string());
        assert_eq!(renamed("srv/tree").as_deref(), Some("tree"));
        assert_eq!(renamed("./srv/tree/sub/x").as_deref(), Some("tree/sub/x"));
        for other in ["srv", "srv/trees", "other/srv/tree"] {
            assert_eq!(renamed(other), None, "{other}");
        }
        let all = Selection::new(Path::new("/"));
        assert_eq!(all.rename(Path::new("etc/passwd")).unwrap(), Path::new("./etc/passwd"));
    }
}
