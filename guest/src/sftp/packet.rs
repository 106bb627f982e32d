//! The packets of SFTP version 3: pure parsing and encoding, no input or output.
//!
//! Owns the grammar. A packet that does not parse is answered if its number could be read, and ends the connection if not.

/// Version of the protocol that is spoken.
pub(super) const VERSION: u32 = 3;
/// Longest packet, its length field not counted.
pub(super) const MAX_PACKET: usize = 256 * 1024;
/// Most bytes of one read or write; leaves room for the header and the handle.
pub(super) const MAX_DATA: usize = MAX_PACKET - 1024;

const INIT: u8 = 1;
const VERSION_REPLY: u8 = 2;
const OPEN: u8 = 3;
const CLOSE: u8 = 4;
const READ: u8 = 5;
const WRITE: u8 = 6;
const LSTAT: u8 = 7;
const FSTAT: u8 = 8;
const SETSTAT: u8 = 9;
const FSETSTAT: u8 = 10;
const OPENDIR: u8 = 11;
const READDIR: u8 = 12;
const REMOVE: u8 = 13;
const MKDIR: u8 = 14;
const RMDIR: u8 = 15;
const REALPATH: u8 = 16;
const STAT: u8 = 17;
const RENAME: u8 = 18;
const READLINK: u8 = 19;
const SYMLINK: u8 = 20;
const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;
const NAME: u8 = 104;
const ATTRS: u8 = 105;
const EXTENDED: u8 = 200;
const EXTENDED_REPLY: u8 = 201;

const ATTR_SIZE: u32 = 1;
const ATTR_OWNER: u32 = 2;
const ATTR_MODE: u32 = 4;
const ATTR_TIMES: u32 = 8;
const ATTR_EXTENDED: u32 = 0x8000_0000;

/// The extensions offered in the first answer, with their versions.
const EXTENSIONS: [(&str, &str); 11] = [
    ("posix-rename@openssh.com", "1"),
    ("statvfs@openssh.com", "2"),
    ("fstatvfs@openssh.com", "2"),
    ("hardlink@openssh.com", "1"),
    ("fsync@openssh.com", "1"),
    ("lsetstat@openssh.com", "1"),
    ("limits@openssh.com", "1"),
    ("expand-path@openssh.com", "1"),
    ("copy-data", "1"),
    ("home-directory", "1"),
    ("users-groups-by-id@openssh.com", "1"),
];

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Code {
    Ok = 0,
    Eof = 1,
    NoSuchFile = 2,
    PermissionDenied = 3,
    Failure = 4,
    BadMessage = 5,
    Unsupported = 8,
}

/// Attributes of a file, each only where known or wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Attrs {
    pub(super) size: Option<u64>,
    /// User and group.
    pub(super) owner: Option<(u32, u32)>,
    /// Type and permission bits.
    pub(super) mode: Option<u32>,
    /// Access and modification time, in seconds since 1970.
    pub(super) times: Option<(u32, u32)>,
}

/// How a file is to be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpenMode(u32);

impl OpenMode {
    pub(super) fn read(self) -> bool {
        self.0 & 1 != 0
    }
    pub(super) fn write(self) -> bool {
        self.0 & 2 != 0
    }
    pub(super) fn append(self) -> bool {
        self.0 & 4 != 0
    }
    pub(super) fn create(self) -> bool {
        self.0 & 8 != 0
    }
    pub(super) fn truncate(self) -> bool {
        self.0 & 0x10 != 0
    }
    pub(super) fn exclusive(self) -> bool {
        self.0 & 0x20 != 0
    }
}

/// What the client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request<'a> {
    Open { path: &'a [u8], mode: OpenMode, attrs: Attrs },
    Close { handle: &'a [u8] },
    Read { handle: &'a [u8], offset: u64, length: u32 },
    Write { handle: &'a [u8], offset: u64, data: &'a [u8] },
    Lstat { path: &'a [u8] },
    Stat { path: &'a [u8] },
    Fstat { handle: &'a [u8] },
    Setstat { path: &'a [u8], attrs: Attrs },
    Lsetstat { path: &'a [u8], attrs: Attrs },
    Fsetstat { handle: &'a [u8], attrs: Attrs },
    Opendir { path: &'a [u8] },
    Readdir { handle: &'a [u8] },
    Remove { path: &'a [u8] },
    Mkdir { path: &'a [u8], attrs: Attrs },
    Rmdir { path: &'a [u8] },
    Realpath { path: &'a [u8] },
    Rename { old: &'a [u8], new: &'a [u8] },
    PosixRename { old: &'a [u8], new: &'a [u8] },
    Readlink { path: &'a [u8] },
    Symlink { target: &'a [u8], link: &'a [u8] },
    Hardlink { old: &'a [u8], new: &'a [u8] },
    Statvfs { path: &'a [u8] },
    Fstatvfs { handle: &'a [u8] },
    Fsync { handle: &'a [u8] },
    Limits,
    ExpandPath { path: &'a [u8] },
    CopyData { from: &'a [u8], from_offset: u64, length: u64, to: &'a [u8], to_offset: u64 },
    HomeDirectory { user: &'a [u8] },
    NamesById { uids: Vec<u32>, gids: Vec<u32> },
}

impl Request<'_> {
    /// Whether it would change something.
    pub(super) fn changes(&self) -> bool {
        match self {
            Self::Open { mode, .. } => mode.write() || mode.append() || mode.create() || mode.truncate(),
            Self::Write { .. }
            | Self::Setstat { .. }
            | Self::Lsetstat { .. }
            | Self::Fsetstat { .. }
            | Self::Remove { .. }
            | Self::Mkdir { .. }
            | Self::Rmdir { .. }
            | Self::Rename { .. }
            | Self::PosixRename { .. }
            | Self::Symlink { .. }
            | Self::Hardlink { .. }
            | Self::CopyData { .. } => true,
            Self::Close { .. }
            | Self::Read { .. }
            | Self::Lstat { .. }
            | Self::Stat { .. }
            | Self::Fstat { .. }
            | Self::Opendir { .. }
            | Self::Readdir { .. }
            | Self::Realpath { .. }
            | Self::Readlink { .. }
            | Self::Statvfs { .. }
            | Self::Fstatvfs { .. }
            | Self::Fsync { .. }
            | Self::Limits
            | Self::ExpandPath { .. }
            | Self::HomeDirectory { .. }
            | Self::NamesById { .. } => false,
        }
    }
}

/// A packet from the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet<'a> {
    /// The greeting.
    Init,
    /// A request with its number.
    Request(u32, Request<'a>),
}

/// Why a packet is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ParseError {
    /// Nothing of it can be trusted.
    #[error("packet that cannot be understood")]
    Fatal,
    /// Its number is known, its content does not parse.
    #[error("request {0} that does not parse")]
    Malformed(u32),
    /// Its number is known, its kind is not.
    #[error("request {0} of an unknown kind")]
    Unsupported(u32),
}

/// The length of the first packet's payload in `bytes`, if that much is known.
pub(super) fn payload_length(bytes: &[u8]) -> Result<Option<usize>, ParseError> {
    let Some(head) = bytes.first_chunk::<4>() else { return Ok(None) };
    match u32::from_be_bytes(*head) as usize {
        length if (1..=MAX_PACKET).contains(&length) => Ok(Some(length)),
        _ => Err(ParseError::Fatal),
    }
}

/// Parses a packet's payload.
pub(super) fn parse(payload: &[u8]) -> Result<Packet<'_>, ParseError> {
    let mut fields = Fields(payload);
    let kind = fields.byte().ok_or(ParseError::Fatal)?;
    let number = fields.u32().ok_or(ParseError::Fatal)?;
    if kind == INIT {
        // The number is the client's version here; every client down to 3 is served in 3, as the protocol wants.
        return if number >= VERSION { Ok(Packet::Init) } else { Err(ParseError::Fatal) };
    }
    match request(kind, &mut fields) {
        Some(Some(request)) => Ok(Packet::Request(number, request)),
        Some(None) => Err(ParseError::Unsupported(number)),
        None => Err(ParseError::Malformed(number)),
    }
}

/// `None`: does not parse; `Some(None)`: a kind that is not known.
fn request<'a>(kind: u8, fields: &mut Fields<'a>) -> Option<Option<Request<'a>>> {
    Some(Some(match kind {
        OPEN => {
            Request::Open { path: fields.string()?, mode: OpenMode(fields.u32()?), attrs: fields.attrs()? }
        }
        CLOSE => Request::Close { handle: fields.string()? },
        READ => Request::Read { handle: fields.string()?, offset: fields.u64()?, length: fields.u32()? },
        WRITE => Request::Write { handle: fields.string()?, offset: fields.u64()?, data: fields.string()? },
        LSTAT => Request::Lstat { path: fields.string()? },
        FSTAT => Request::Fstat { handle: fields.string()? },
        SETSTAT => Request::Setstat { path: fields.string()?, attrs: fields.attrs()? },
        FSETSTAT => Request::Fsetstat { handle: fields.string()?, attrs: fields.attrs()? },
        OPENDIR => Request::Opendir { path: fields.string()? },
        READDIR => Request::Readdir { handle: fields.string()? },
        REMOVE => Request::Remove { path: fields.string()? },
        MKDIR => Request::Mkdir { path: fields.string()?, attrs: fields.attrs()? },
        RMDIR => Request::Rmdir { path: fields.string()? },
        REALPATH => Request::Realpath { path: fields.string()? },
        STAT => Request::Stat { path: fields.string()? },
        RENAME => Request::Rename { old: fields.string()?, new: fields.string()? },
        READLINK => Request::Readlink { path: fields.string()? },
        // OpenSSH sends the target first, against the draft; every client in use follows it.
        SYMLINK => Request::Symlink { target: fields.string()?, link: fields.string()? },
        EXTENDED => return extended(fields),
        _ => return Some(None),
    }))
}

fn extended<'a>(fields: &mut Fields<'a>) -> Option<Option<Request<'a>>> {
    Some(Some(match fields.string()? {
        b"posix-rename@openssh.com" => Request::PosixRename { old: fields.string()?, new: fields.string()? },
        b"statvfs@openssh.com" => Request::Statvfs { path: fields.string()? },
        b"fstatvfs@openssh.com" => Request::Fstatvfs { handle: fields.string()? },
        b"hardlink@openssh.com" => Request::Hardlink { old: fields.string()?, new: fields.string()? },
        b"fsync@openssh.com" => Request::Fsync { handle: fields.string()? },
        b"lsetstat@openssh.com" => Request::Lsetstat { path: fields.string()?, attrs: fields.attrs()? },
        b"limits@openssh.com" => Request::Limits,
        b"expand-path@openssh.com" => Request::ExpandPath { path: fields.string()? },
        b"copy-data" => Request::CopyData {
            from: fields.string()?,
            from_offset: fields.u64()?,
            length: fields.u64()?,
            to: fields.string()?,
            to_offset: fields.u64()?,
        },
        b"home-directory" => Request::HomeDirectory { user: fields.string()? },
        b"users-groups-by-id@openssh.com" => {
            Request::NamesById { uids: numbers(fields.string()?)?, gids: numbers(fields.string()?)? }
        }
        _ => return Some(None),
    }))
}

fn numbers(bytes: &[u8]) -> Option<Vec<u32>> {
    let (chunks, rest) = bytes.as_chunks::<4>();
    rest.is_empty().then(|| chunks.iter().map(|chunk| u32::from_be_bytes(*chunk)).collect())
}

/// What is left of a payload.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()? as usize;
        self.take(length)
    }

    fn attrs(&mut self) -> Option<Attrs> {
        let flags = self.u32()?;
        let mut attrs = Attrs::default();
        if flags & ATTR_SIZE != 0 {
            attrs.size = Some(self.u64()?);
        }
        if flags & ATTR_OWNER != 0 {
            attrs.owner = Some((self.u32()?, self.u32()?));
        }
        if flags & ATTR_MODE != 0 {
            attrs.mode = Some(self.u32()?);
        }
        if flags & ATTR_TIMES != 0 {
            attrs.times = Some((self.u32()?, self.u32()?));
        }
        if flags & ATTR_EXTENDED != 0 {
            for _ in 0..self.u32()? {
                self.string()?;
                self.string()?;
            }
        }
        Some(attrs)
    }
}

/// Answers, appended to one buffer.
#[derive(Debug, Default)]
pub(super) struct Answers(pub(super) Vec<u8>);

impl Answers {
    pub(super) fn version(&mut self) {
        self.packet(VERSION_REPLY, VERSION, |out| {
            for (name, version) in EXTENSIONS {
                put_string(out, name.as_bytes());
                put_string(out, version.as_bytes());
            }
        });
    }

    pub(super) fn status(&mut self, number: u32, code: Code, text: &str) {
        self.packet(STATUS, number, |out| {
            put_u32(out, code as u32);
            put_string(out, text.as_bytes());
            put_string(out, b"");
        });
    }

    pub(super) fn handle(&mut self, number: u32, handle: &[u8]) {
        self.packet(HANDLE, number, |out| put_string(out, handle));
    }

    pub(super) fn attrs(&mut self, number: u32, attrs: &Attrs) {
        self.packet(ATTRS, number, |out| put_attrs(out, attrs));
    }

    /// One name without attributes, as for a resolved path.
    pub(super) fn name(&mut self, number: u32, name: &[u8]) {
        self.packet(NAME, number, |out| {
            put_u32(out, 1);
            put_name(out, name, name, &Attrs::default());
        });
    }

    /// The entries of a directory, as `names` has collected them.
    pub(super) fn names(&mut self, number: u32, names: &Names) {
        self.packet(NAME, number, |out| {
            put_u32(out, names.count);
            out.extend_from_slice(&names.bytes);
        });
    }

    /// Reserves `length` bytes of data, lets `fill` write them and cuts to what it says; nothing stays on an error
    /// or when there is nothing.
    pub(super) fn data<E>(
        &mut self,
        number: u32,
        length: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        const HEAD: usize = 13;
        let start = self.0.len();
        self.0.resize(start + HEAD + length, 0);
        let filled = match fill(&mut self.0[start + HEAD..]) {
            Ok(filled) if filled > 0 => filled,
            other => {
                self.0.truncate(start);
                return other;
            }
        };
        self.0.truncate(start + HEAD + filled);
        let head = &mut self.0[start..start + HEAD];
        head[..4].copy_from_slice(&length_field(HEAD - 4 + filled));
        head[4] = DATA;
        head[5..9].copy_from_slice(&number.to_be_bytes());
        head[9..].copy_from_slice(&length_field(filled));
        Ok(filled)
    }

    /// The answer to an extension: numbers one after the other.
    pub(super) fn numbers(&mut self, number: u32, values: &[u64]) {
        self.packet(EXTENDED_REPLY, number, |out| {
            for value in values {
                out.extend_from_slice(&value.to_be_bytes());
            }
        });
    }

    /// The answer to an extension: strings one after the other.
    pub(super) fn strings(&mut self, number: u32, values: &[&[u8]]) {
        self.packet(EXTENDED_REPLY, number, |out| {
            for value in values {
                put_string(out, value);
            }
        });
    }

    fn packet(&mut self, kind: u8, number: u32, body: impl FnOnce(&mut Vec<u8>)) {
        let start = self.0.len();
        self.0.extend_from_slice(&[0, 0, 0, 0, kind]);
        put_u32(&mut self.0, number);
        body(&mut self.0);
        let length = length_field(self.0.len() - start - 4);
        self.0[start..start + 4].copy_from_slice(&length);
    }
}

/// Directory entries being collected for one answer.
#[derive(Debug, Default)]
pub(super) struct Names {
    count: u32,
    bytes: Vec<u8>,
}

impl Names {
    pub(super) fn push(&mut self, name: &[u8], long: &[u8], attrs: &Attrs) {
        self.count += 1;
        put_name(&mut self.bytes, name, long, attrs);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn is_full(&self) -> bool {
        // One more entry (a name of 255 bytes twice) stays within what the oldest clients take in one packet.
        self.bytes.len() > 24 * 1024
    }
}

/// Strings of strings, for an answer that carries lists.
pub(super) fn list(values: &[String]) -> Vec<u8> {
    let mut out = Vec::new();
    for value in values {
        put_string(&mut out, value.as_bytes());
    }
    out
}

fn put_name(out: &mut Vec<u8>, name: &[u8], long: &[u8], attrs: &Attrs) {
    put_string(out, name);
    put_string(out, long);
    put_attrs(out, attrs);
}

fn put_attrs(out: &mut Vec<u8>, attrs: &Attrs) {
    let flag = |present: bool, flag: u32| if present { flag } else { 0 };
    put_u32(
        out,
        flag(attrs.size.is_some(), ATTR_SIZE)
            | flag(attrs.owner.is_some(), ATTR_OWNER)
            | flag(attrs.mode.is_some(), ATTR_MODE)
            | flag(attrs.times.is_some(), ATTR_TIMES),
    );
    if let Some(size) = attrs.size {
        out.extend_from_slice(&size.to_be_bytes());
    }
    if let Some((user, group)) = attrs.owner {
        put_u32(out, user);
        put_u32(out, group);
    }
    if let Some(mode) = attrs.mode {
        put_u32(out, mode);
    }
    if let Some((access, modification)) = attrs.times {
        put_u32(out, access);
        put_u32(out, modification);
    }
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&length_field(bytes.len()));
    out.extend_from_slice(bytes);
}

fn length_field(length: usize) -> [u8; 4] {
    // Everything that is sent fits in one packet, so the conversion cannot lose anything.
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn payload(kind: u8, number: u32, parts: &[&[u8]]) -> Vec<u8> {
        let mut out = vec![kind];
        put_u32(&mut out, number);
        for part in parts {
            out.extend_from_slice(part);
        }
        out
    }

    fn string(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_string(&mut out, bytes);
        out
    }

    #[test]
    fn a_symbolic_link_names_its_target_first() {
        let bytes = payload(SYMLINK, 7, &[&string(b"target"), &string(b"link")]);
        assert_eq!(
            parse(&bytes),
            Ok(Packet::Request(7, Request::Symlink { target: b"target", link: b"link" }))
        );
    }

    #[test]
    fn an_unknown_kind_or_extension_is_answered_by_its_number() {
        assert_eq!(parse(&payload(99, 5, &[])), Err(ParseError::Unsupported(5)));
        let bytes = payload(EXTENDED, 6, &[&string(b"no-such@example.com")]);
        assert_eq!(parse(&bytes), Err(ParseError::Unsupported(6)));
    }

    #[test]
    fn lengths_beyond_the_limit_and_empty_packets_end_the_connection() {
        assert_eq!(payload_length(&[0, 0, 0]), Ok(None));
        assert_eq!(payload_length(&[0, 4, 0, 0]), Ok(Some(MAX_PACKET)));
        assert_eq!(payload_length(&[0, 4, 0, 1]), Err(ParseError::Fatal));
        assert_eq!(payload_length(&[0, 0, 0, 0]), Err(ParseError::Fatal));
    }

    #[test]
    fn an_older_protocol_is_refused_and_a_newer_one_served() {
        assert_eq!(parse(&payload(INIT, 2, &[])), Err(ParseError::Fatal));
        assert_eq!(parse(&payload(INIT, 6, &[])), Ok(Packet::Init));
    }

    #[test]
    fn data_that_is_cut_short_keeps_a_true_header() {
        let mut answers = Answers::default();
        answers.status(1, Code::Ok, "");
        let before = answers.0.len();
        let filled = answers.data(9, 100, |room| {
            room[..3].copy_from_slice(b"abc");
            Ok::<_, ()>(3)
        });
        assert_eq!(filled, Ok(3));
        assert_eq!(answers.0[before..], [0, 0, 0, 12, DATA, 0, 0, 0, 9, 0, 0, 0, 3, b'a', b'b', b'c']);
        let end = answers.0.len();
        assert_eq!(answers.data(10, 100, |_| Err::<usize, _>("no")), Err("no"));
        assert_eq!(answers.0.len(), end);
    }

    fn attrs() -> impl Strategy<Value = Attrs> {
        (any::<Option<u64>>(), any::<Option<(u32, u32)>>(), any::<Option<u32>>(), any::<Option<(u32, u32)>>())
            .prop_map(|(size, owner, mode, times)| Attrs { size, owner, mode, times })
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = payload_length(&bytes);
            let _ = parse(&bytes);
        }

        #[test]
        fn garbage_behind_a_known_kind_never_panics(
            kind in prop_oneof![1u8..21, Just(EXTENDED)],
            bytes in proptest::collection::vec(prop_oneof![Just(0u8), Just(4u8), any::<u8>()], 0..200),
        ) {
            let mut packet = vec![kind];
            packet.extend(bytes);
            let _ = parse(&packet);
        }

        #[test]
        fn attributes_survive_the_way_there_and_back(attrs in attrs(), path in proptest::collection::vec(any::<u8>(), 0..50)) {
            let mut encoded = Vec::new();
            put_attrs(&mut encoded, &attrs);
            let bytes = payload(SETSTAT, 3, &[&string(&path), &encoded]);
            prop_assert_eq!(parse(&bytes), Ok(Packet::Request(3, Request::Setstat { path: &path, attrs })));
        }

        #[test]
        fn a_packet_cut_anywhere_is_refused(cut in 1usize..40) {
            let bytes = payload(WRITE, 3, &[&string(b"abcd"), &7u64.to_be_bytes(), &string(b"some data to write")]);
            prop_assume!(cut < bytes.len());
            let expected = if cut < 5 { ParseError::Fatal } else { ParseError::Malformed(3) };
            prop_assert_eq!(parse(&bytes[..cut]), Err(expected));
        }
    }
}
