//! Answers requests: the loop over standard input and output, and the table of open files.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Resource;

use super::files::{self, Target};
use super::listing;
use super::packet::{self, Answers, Code, MAX_DATA, MAX_PACKET, Names, Packet, ParseError, Request};
use crate::database::Database;

/// Answers are written out at the latest when this much has gathered.
const FLUSH_AT: usize = 256 * 1024;

/// Something that a handle stands for.
enum Open {
    File { fd: OwnedFd, append: bool },
    Directory(Dir),
}

/// Why a request failed.
enum Refusal {
    /// The system refused.
    System(Errno),
    /// The directory or file has no more.
    End,
    /// No such handle, or one of the other kind.
    Handle,
    /// The server changes nothing.
    ReadOnly,
}

impl From<Errno> for Refusal {
    fn from(error: Errno) -> Self {
        Self::System(error)
    }
}

/// One client's conversation.
pub(super) struct Server {
    read_only: bool,
    greeted: bool,
    open: Vec<Option<Open>>,
    accounts: Option<Database>,
    answers: Answers,
}

impl Server {
    pub(super) fn new(read_only: bool) -> Self {
        Self { read_only, greeted: false, open: Vec::new(), accounts: None, answers: Answers::default() }
    }

    /// Until end of file.
    pub(super) fn serve(mut self, input: BorrowedFd<'_>, output: BorrowedFd<'_>) -> io::Result<()> {
        let mut input = File::from(input.try_clone_to_owned()?);
        let mut output = File::from(output.try_clone_to_owned()?);
        let mut buffer = vec![0; 2 * (MAX_PACKET + 4)];
        let (mut start, mut end) = (0, 0);
        loop {
            let used = self.answer_all(&buffer[start..end], &mut output)?;
            start += used;
            output.write_all(&self.answers.0)?;
            self.answers.0.clear();
            if start == end {
                (start, end) = (0, 0);
            } else if buffer.len() - end < MAX_PACKET {
                buffer.copy_within(start..end, 0);
                (start, end) = (0, end - start);
            }
            match input.read(&mut buffer[end..]) {
                Ok(0) if start == end => return Ok(()),
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                Ok(count) => end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Answers every complete packet; returns how many bytes they took.
    fn answer_all(&mut self, bytes: &[u8], output: &mut File) -> io::Result<usize> {
        let mut used = 0;
        while let Some(length) = packet::payload_length(&bytes[used..]).map_err(io::Error::other)? {
            let Some(payload) = bytes.get(used + 4..used + 4 + length) else { break };
            self.answer(payload).map_err(io::Error::other)?;
            used += 4 + length;
            if self.answers.0.len() >= FLUSH_AT {
                output.write_all(&self.answers.0)?;
                self.answers.0.clear();
            }
        }
        Ok(used)
    }

    fn answer(&mut self, payload: &[u8]) -> Result<(), ParseError> {
        match packet::parse(payload) {
            Ok(Packet::Init) if !self.greeted => {
                self.greeted = true;
                self.answers.version();
            }
            Ok(Packet::Request(number, request)) if self.greeted => {
                if let Err(refusal) = self.request(number, &request) {
                    self.refuse(number, &refusal);
                }
            }
            Ok(_) => return Err(ParseError::Fatal),
            Err(ParseError::Malformed(number)) => {
                self.answers.status(number, Code::BadMessage, "the request does not parse");
            }
            Err(ParseError::Unsupported(number)) => {
                self.answers.status(number, Code::Unsupported, "this request is not supported");
            }
            Err(ParseError::Fatal) => return Err(ParseError::Fatal),
        }
        Ok(())
    }

    fn refuse(&mut self, number: u32, refusal: &Refusal) {
        let error = match refusal {
            Refusal::End => return self.answers.status(number, Code::Eof, "end of file"),
            Refusal::Handle => return self.answers.status(number, Code::Failure, "no such handle"),
            Refusal::ReadOnly => {
                return self.answers.status(number, Code::PermissionDenied, "the server is read-only");
            }
            Refusal::System(error) => *error,
        };
        let code = match error {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Code::NoSuchFile,
            Errno::PERM | Errno::ACCESS => Code::PermissionDenied,
            Errno::NOSYS | Errno::OPNOTSUPP => Code::Unsupported,
            _ => Code::Failure,
        };
        let text = io::Error::from(error).to_string();
        // The number of the error says nothing to a person at the other end.
        let text = text.split(" (os error").next().unwrap_or_default();
        self.answers.status(number, code, text);
    }

    fn request(&mut self, number: u32, request: &Request<'_>) -> Result<(), Refusal> {
        if self.read_only && request.changes() {
            return Err(Refusal::ReadOnly);
        }
        match request {
            Request::Open { path, mode, attrs } => {
                let fd = files::open(path, *mode, attrs)?;
                let handle = self.keep(Open::File { fd, append: mode.append() });
                self.answers.handle(number, &handle);
                return Ok(());
            }
            Request::Opendir { path } => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let directory = Dir::new(rustix::fs::open(*path, flags, Mode::empty())?)?;
                let handle = self.keep(Open::Directory(directory));
                self.answers.handle(number, &handle);
                return Ok(());
            }
            Request::Read { handle, offset, length } => return self.read(number, handle, *offset, *length),
            Request::Readdir { handle } => return self.read_directory(number, handle),
            Request::Stat { path } => {
                self.answers.attrs(number, &files::attrs(&rustix::fs::stat(*path)?));
                return Ok(());
            }
            Request::Lstat { path } => {
                self.answers.attrs(number, &files::attrs(&rustix::fs::lstat(*path)?));
                return Ok(());
            }
            Request::Fstat { handle } => {
                let stat = rustix::fs::fstat(self.descriptor(handle)?)?;
                self.answers.attrs(number, &files::attrs(&stat));
                return Ok(());
            }
            Request::Realpath { path } => {
                self.answers.name(number, &files::real_path(path)?);
                return Ok(());
            }
            Request::ExpandPath { path } => {
                let path = self.expand(path)?;
                self.answers.name(number, &files::real_path(&path)?);
                return Ok(());
            }
            Request::Readlink { path } => {
                self.answers.name(number, rustix::fs::readlink(*path, Vec::new())?.as_bytes());
                return Ok(());
            }
            Request::Statvfs { path } => {
                self.answers.numbers(number, &files::file_system(&rustix::fs::statvfs(*path)?));
                return Ok(());
            }
            Request::Fstatvfs { handle } => {
                let statvfs = rustix::fs::fstatvfs(self.descriptor(handle)?)?;
                self.answers.numbers(number, &files::file_system(&statvfs));
                return Ok(());
            }
            Request::Limits => {
                // Some descriptors are not the client's: the standard streams and a few in reserve.
                let files = rustix::process::getrlimit(Resource::Nofile)
                    .current
                    .map_or(0, |files| files.saturating_sub(8));
                self.answers.numbers(number, &[MAX_PACKET as u64, MAX_DATA as u64, MAX_DATA as u64, files]);
                return Ok(());
            }
            Request::HomeDirectory { user } => {
                let home = self.home(user)?;
                self.answers.name(number, &home);
                return Ok(());
            }
            Request::NamesById { uids, gids } => {
                let accounts = self.accounts();
                let users: Vec<String> =
                    uids.iter().map(|uid| accounts.user_name(*uid).unwrap_or_default()).collect();
                let groups: Vec<String> =
                    gids.iter().map(|gid| accounts.group_name(*gid).unwrap_or_default()).collect();
                self.answers.strings(number, &[&packet::list(&users), &packet::list(&groups)]);
                return Ok(());
            }
            Request::Close { handle } => {
                let index = index(handle)?;
                self.open.get_mut(index).and_then(Option::take).ok_or(Refusal::Handle)?;
            }
            Request::Write { handle, offset, data } => match self.find(handle)? {
                Open::File { fd, append } => files::write(fd.as_fd(), data, (!*append).then_some(*offset))?,
                Open::Directory(_) => return Err(Refusal::Handle),
            },
            Request::Setstat { path, attrs } => files::set_attrs(Target::Path(path), attrs)?,
            Request::Lsetstat { path, attrs } => files::set_attrs(Target::Link(path), attrs)?,
            Request::Fsetstat { handle, attrs } => {
                files::set_attrs(Target::File(self.descriptor(handle)?), attrs)?;
            }
            Request::Remove { path } => rustix::fs::unlink(*path)?,
            Request::Mkdir { path, attrs } => files::mkdir(path, attrs)?,
            Request::Rmdir { path } => rustix::fs::rmdir(*path)?,
            Request::Rename { old, new } => files::rename(old, new)?,
            Request::PosixRename { old, new } => rustix::fs::rename(*old, *new)?,
            Request::Symlink { target, link } => rustix::fs::symlink(*target, *link)?,
            Request::Hardlink { old, new } => rustix::fs::link(*old, *new)?,
            Request::Fsync { handle } => rustix::fs::fsync(self.descriptor(handle)?)?,
            Request::CopyData { from, from_offset, length, to, to_offset } => {
                let (Open::File { fd: from, .. }, Open::File { fd: to, .. }) =
                    (self.find(from)?, self.find(to)?)
                else {
                    return Err(Refusal::Handle);
                };
                files::copy(from, *from_offset, *length, to, *to_offset)?;
            }
        }
        self.answers.status(number, Code::Ok, "");
        Ok(())
    }

    fn read(&mut self, number: u32, handle: &[u8], offset: u64, length: u32) -> Result<(), Refusal> {
        let Some(Some(Open::File { fd, .. })) = self.open.get(index(handle)?) else {
            return Err(Refusal::Handle);
        };
        let length = (length as usize).min(MAX_DATA);
        match self.answers.data(number, length, |room| files::read(fd.as_fd(), room, offset))? {
            0 if length > 0 => Err(Refusal::End),
            0 => {
                self.answers.status(number, Code::Ok, "");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn read_directory(&mut self, number: u32, handle: &[u8]) -> Result<(), Refusal> {
        self.accounts();
        let (Some(accounts), Some(Some(Open::Directory(directory)))) =
            (&self.accounts, self.open.get_mut(index(handle)?))
        else {
            return Err(Refusal::Handle);
        };
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
        let mut names = Names::default();
        while !names.is_full() {
            let Some(entry) = directory.read().transpose()? else { break };
            // An entry that is gone by now is none.
            let Ok(stat) = rustix::fs::statat(directory.fd()?, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
            else {
                continue;
            };
            let name = |name: Option<String>, id: u32| name.unwrap_or_else(|| id.to_string());
            let owner = name(accounts.user_name(stat.st_uid), stat.st_uid);
            let group = name(accounts.group_name(stat.st_gid), stat.st_gid);
            let bytes = entry.file_name().to_bytes();
            names.push(bytes, &listing::long_name(bytes, &stat, &owner, &group, now), &files::attrs(&stat));
        }
        if names.is_empty() {
            return Err(Refusal::End);
        }
        self.answers.names(number, &names);
        Ok(())
    }

    /// `~` and `~user` at the beginning of a path.
    fn expand(&mut self, path: &[u8]) -> Result<Vec<u8>, Refusal> {
        let Some(rest) = path.strip_prefix(b"~") else { return Ok(path.to_vec()) };
        let (user, below) = rest.split_at(rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len()));
        let mut expanded = self.home(user)?;
        expanded.extend_from_slice(below);
        Ok(expanded)
    }

    /// A user's home; one's own for an empty name.
    fn home(&mut self, user: &[u8]) -> Result<Vec<u8>, Refusal> {
        let uid = rustix::process::getuid().as_raw();
        let accounts = self.accounts();
        let found = match user {
            [] => accounts.user_by_id(uid),
            name => std::str::from_utf8(name).ok().and_then(|name| accounts.user_by_name(name)),
        };
        found.map(|user| user.home.into_bytes()).ok_or(Refusal::System(Errno::NOENT))
    }

    fn accounts(&mut self) -> &Database {
        self.accounts.get_or_insert_with(Database::read)
    }

    fn keep(&mut self, open: Open) -> [u8; 4] {
        let free = self.open.iter().position(Option::is_none).unwrap_or_else(|| {
            self.open.push(None);
            self.open.len() - 1
        });
        self.open[free] = Some(open);
        // Descriptors run out long before numbers of 32 bits do.
        u32::try_from(free).unwrap_or(u32::MAX).to_be_bytes()
    }

    fn find(&self, handle: &[u8]) -> Result<&Open, Refusal> {
        self.open.get(index(handle)?).and_then(Option::as_ref).ok_or(Refusal::Handle)
    }

    fn descriptor(&self, handle: &[u8]) -> Result<BorrowedFd<'_>, Refusal> {
        match self.find(handle)? {
            Open::File { fd, .. } => Ok(fd.as_fd()),
            Open::Directory(directory) => Ok(directory.fd()?),
        }
    }
}

fn index(handle: &[u8]) -> Result<usize, Refusal> {
    <[u8; 4]>::try_from(handle).map(|bytes| u32::from_be_bytes(bytes) as usize).map_err(|_| Refusal::Handle)
}
