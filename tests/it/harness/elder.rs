//! A broker of another version: whatever it is asked, it says so.

use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::{fs, thread};

use podspawn_wire::broker::FromBroker;
use podspawn_wire::encode;

/// It answers until it is dropped.
pub struct Elder {
    socket: PathBuf,
    over: Arc<AtomicBool>,
    answers: Option<JoinHandle<()>>,
}

impl Elder {
    /// In the place of the broker, whose socket is this and which serves this group.
    pub fn listen(socket: &Path, gid: u32) -> Self {
        let _ = fs::remove_file(socket);
        let listener = UnixListener::bind(socket).expect("listen");
        chown(socket, None, Some(gid)).expect("chown");
        fs::set_permissions(socket, fs::Permissions::from_mode(0o660)).expect("chmod");
        let over = Arc::new(AtomicBool::new(false));
        let ended = over.clone();
        let answers = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                answer(stream);
            }
        });
        Self { socket: socket.to_owned(), over, answers: Some(answers) }
    }
}

/// As every version answers what it does not understand.
fn answer(mut stream: UnixStream) {
    let text = "the broker is of another version of podspawn".into();
    let message = FromBroker::Failed { text, hints: vec!["the administrator has to start it again".into()] };
    let _ = stream.read(&mut [0; 4096]);
    // Whoever has gone by now did not want to know.
    let _ = stream.write_all(&encode(&message, 0).expect("encode"));
}

impl Drop for Elder {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // One more, so that it looks.
        let _ = UnixStream::connect(&self.socket);
        let _ = self.answers.take().map(JoinHandle::join);
        let _ = fs::remove_file(&self.socket);
    }
}
