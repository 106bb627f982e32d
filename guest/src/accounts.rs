//! The texts of `/etc/passwd`, `/etc/group` and `/etc/shadow`: pure, so that the host side edits prepared files by the same
//! rules as the guest does inside. Needs no tool and no C library of the image.
//!
//! The rules: the account gets the ids, home and shell asked for; whoever else has its user id goes; a group that has its
//! group id goes too, unless it is another account's primary group: then it stays, behind the account's own. Applying them
//! twice changes nothing. Lines that are not understood stay as they are.

use std::fmt;

use podspawn_wire::User;

/// The account files' texts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Files {
    /// `/etc/passwd`.
    pub passwd: Vec<u8>,
    /// `/etc/group`.
    pub group: Vec<u8>,
    /// `/etc/shadow`, where the image has one.
    pub shadow: Option<Vec<u8>>,
}

/// Why an account cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountError {
    /// A field that cannot stand in an account file.
    Field(&'static str),
    /// User or group id 0 asked for, or the name of an account or group of root.
    Superuser(String),
}

impl fmt::Display for AccountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(field) => write!(f, "the account's {field} cannot stand in an account file"),
            Self::Superuser(name) => write!(f, "the account `{name}` would be, or replace, the superuser"),
        }
    }
}

impl std::error::Error for AccountError {}

/// An account as `/etc/passwd` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Home directory.
    pub home: String,
    /// Shell.
    pub shell: String,
}

/// The texts with the account in them.
pub fn provision(files: &Files, user: &User) -> Result<Files, AccountError> {
    check(user)?;
    let (passwd, displaced) = passwd(&files.passwd, user)?;
    let group = group(&files.group, &passwd, user, &displaced)?;
    let shadow = files.shadow.as_ref().map(|text| shadow(text, user, &displaced));
    Ok(Files { passwd, group, shadow })
}

/// All groups of an account: its own first, then those that list it.
pub fn groups_of(group: &[u8], name: &str, gid: u32) -> Vec<u32> {
    let mut all = vec![gid];
    for line in lines(group) {
        let fields = fields(line);
        if let [_, _, number, members] = fields[..]
            && members.split(|b| *b == b',').any(|member| member == name.as_bytes())
            && let Some(number) = parse(number)
            && !all.contains(&number)
        {
            all.push(number);
        }
    }
    all
}

/// The group id of a group.
pub fn group_id(group: &[u8], name: &str) -> Option<u32> {
    lines(group).map(fields).find(|f| f.len() >= 3 && f[0] == name.as_bytes()).and_then(|f| parse(f[2]))
}

/// The name of the first group that has that id.
pub fn group_name(group: &[u8], gid: u32) -> Option<String> {
    let found = lines(group).map(fields).find(|f| f.len() >= 3 && parse(f[2]) == Some(gid));
    found.map(|f| String::from_utf8_lossy(f[0]).into_owned())
}

/// The account of that name.
pub fn by_name(passwd: &[u8], name: &str) -> Option<Account> {
    lines(passwd).filter_map(account).find(|account| account.name == name)
}

/// The first account that has that user id.
pub fn by_uid(passwd: &[u8], uid: u32) -> Option<Account> {
    lines(passwd).filter_map(account).find(|account| account.uid == uid)
}

fn account(line: &[u8]) -> Option<Account> {
    let fields = fields(line);
    let [name, _, uid, gid, _, home, shell] = fields[..] else { return None };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(Account {
        name: text(name),
        uid: parse(uid)?,
        gid: parse(gid)?,
        home: text(home),
        shell: text(shell),
    })
}

fn check(user: &User) -> Result<(), AccountError> {
    let plain = |text: &str| !text.contains([':', ',']) && !text.contains(char::is_control);
    let named = !user.name.is_empty() && !user.name.starts_with(['-', '+', '#']);
    if !named || !plain(&user.name) || user.name.contains(['/', ' ']) {
        return Err(AccountError::Field("name"));
    }
    if !user.home.starts_with('/') || !plain(&user.home) {
        return Err(AccountError::Field("home"));
    }
    if !user.shell.starts_with('/') || !plain(&user.shell) {
        return Err(AccountError::Field("shell"));
    }
    if user.uid == 0 || user.gid == 0 {
        return Err(AccountError::Superuser(user.name.clone()));
    }
    Ok(())
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|b| *b == b'\n').filter(|line| !line.is_empty())
}

fn fields(line: &[u8]) -> Vec<&[u8]> {
    line.split(|b| *b == b':').collect()
}

fn parse(number: &[u8]) -> Option<u32> {
    std::str::from_utf8(number).ok()?.parse().ok()
}

fn put(text: &mut Vec<u8>, line: &[u8]) {
    text.extend_from_slice(line);
    text.push(b'\n');
}

fn passwd(text: &[u8], user: &User) -> Result<(Vec<u8>, Vec<Vec<u8>>), AccountError> {
    let (mut out, mut displaced, mut found) = (Vec::new(), Vec::new(), false);
    for line in lines(text) {
        let fields = fields(line);
        if fields.len() < 4 {
            put(&mut out, line);
        } else if fields[0] == user.name.as_bytes() {
            if parse(fields[2]) == Some(0) {
                return Err(AccountError::Superuser(user.name.clone()));
            }
            if !found {
                let password = String::from_utf8_lossy(fields[1]);
                let about = fields.get(4).copied().unwrap_or_default();
                let mut line = format!("{}:{password}:{}:{}:", user.name, user.uid, user.gid).into_bytes();
                line.extend_from_slice(about);
                line.extend_from_slice(format!(":{}:{}", user.home, user.shell).as_bytes());
                put(&mut out, &line);
            }
            found = true;
        } else if parse(fields[2]) == Some(user.uid) {
            displaced.push(fields[0].to_vec());
        } else {
            put(&mut out, line);
        }
    }
    if !found {
        let User { name, uid, gid, home, shell } = user;
        put(&mut out, format!("{name}:x:{uid}:{gid}::{home}:{shell}").as_bytes());
    }
    Ok((out, displaced))
}

fn group(text: &[u8], passwd: &[u8], user: &User, displaced: &[Vec<u8>]) -> Result<Vec<u8>, AccountError> {
    let others_primary = |gid: u32| {
        lines(passwd).filter_map(account).any(|account| account.gid == gid && account.name != user.name)
    };
    let own = |password: &[u8], members: &[u8]| {
        let mut line = user.name.clone().into_bytes();
        line.push(b':');
        line.extend_from_slice(password);
        line.extend_from_slice(format!(":{}:", user.gid).as_bytes());
        line.extend_from_slice(members);
        line
    };
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let mut own_line = None;
    for line in lines(text) {
        let fields = fields(line);
        let gid = fields.get(2).and_then(|number| parse(number));
        if fields.len() < 3 {
            put(if own_line.is_some() { &mut after } else { &mut before }, line);
            continue;
        }
        let members = without(fields.get(3).copied().unwrap_or_default(), displaced);
        if fields[0] == user.name.as_bytes() {
            if gid == Some(0) {
                return Err(AccountError::Superuser(user.name.clone()));
            }
            own_line.get_or_insert_with(|| own(fields[1], &members));
        } else if gid == Some(user.gid) {
            // Behind the account's own group, so that the group's number is shown with the account's name.
            if others_primary(user.gid) {
                put(&mut after, line);
            }
        } else {
            let out = if own_line.is_some() { &mut after } else { &mut before };
            match fields.get(3) {
                Some(old) if **old != members[..] => {
                    let kept = line.len() - old.len();
                    put(out, &[&line[..kept], &members].concat());
                }
                _ => put(out, line),
            }
        }
    }
    put(&mut before, &own_line.unwrap_or_else(|| own(b"x", b"")));
    before.extend_from_slice(&after);
    Ok(before)
}

fn without(members: &[u8], displaced: &[Vec<u8>]) -> Vec<u8> {
    let kept: Vec<&[u8]> =
        members.split(|b| *b == b',').filter(|member| !displaced.iter().any(|d| d == member)).collect();
    kept.join(&b','.to_owned())
}

fn shadow(text: &[u8], user: &User, displaced: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut found = false;
    for line in lines(text) {
        let name = fields(line)[0];
        found |= name == user.name.as_bytes();
        if !displaced.iter().any(|d| d == name) {
            put(&mut out, line);
        }
    }
    if !found {
        // No password fits `*`, and an account without dates does not expire.
        put(&mut out, format!("{}:*:::::::", user.name).as_bytes());
    }
    out
}

#[cfg(test)]
#[path = "accounts_tests.rs"]
mod tests;
