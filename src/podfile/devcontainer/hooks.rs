//! The lifecycle commands: a text is for a shell, a list is an argument vector, an object runs all of its values at once. They
//! run where the project lies.

use super::Reader;
use super::json::{Json, Node};
use super::variables::InContainer;
use crate::config::nearest;
use crate::names::quoted;
use crate::podfile::parse::MAX_SCRIPT;
use crate::podfile::{Hook, HookCommand, Hooks, PodfileError};

/// Most commands that one hook runs at the same time.
const MAX_AT_ONCE: usize = 50;

/// What `waitFor` may say. Nobody works in a container before the last of the commands that prepare it has ended, so that
/// there is nothing to choose.
const WAIT_FOR: &[&str] = &[
    "initializeCommand",
    "onCreateCommand",
    "updateContentCommand",
    "postCreateCommand",
    "postStartCommand",
];

/// The commands, with the keys that they stand under.
pub(super) struct Commands {
    pub(super) initialize: Option<Node>,
    pub(super) create: [(&'static str, Option<Node>); 3],
    pub(super) boot: (&'static str, Option<Node>),
    pub(super) start: (&'static str, Option<Node>),
    pub(super) wait_for: Option<Node>,
    /// There is a directory of the project that they run in.
    pub(super) folder: bool,
}

/// Bytes of the longest process that a command starts.
fn longest(command: &HookCommand) -> usize {
    match command {
        HookCommand::Script(text) => text.len(),
        HookCommand::Argv(argv) => argv.iter().map(|word| word.len() + 1).sum(),
        HookCommand::Parallel(commands) => {
            commands.iter().map(|(_, command)| longest(command)).max().unwrap_or(0)
        }
    }
}

impl Reader<'_> {
    pub(super) fn hooks(&mut self, commands: Commands) -> Result<Hooks, PodfileError> {
        let Commands { initialize, create, boot, start, wait_for, folder } = commands;
        if let Some(node) = initialize {
            let key = "initializeCommand";
            if !self.command(key, &node)?.is_none_or(|command| command.is_empty()) {
                self.warn(node.line, key, "is not run: it would run on the host");
            }
        }
        if let Some(node) = wait_for
            && let Some((line, text)) = self.optional_text(&node, "waitFor")?
            && !WAIT_FOR.contains(&text.as_str())
        {
            let near =
                nearest(&text, WAIT_FOR).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            let reason = format!("{} is none of {}{near}", quoted(&text), WAIT_FOR.join(", "));
            return Err(self.wrong(line, "waitFor", reason));
        }
        let mut hooks = Hooks::default();
        for command in create {
            hooks.create.extend(self.hook(command, folder)?);
        }
        hooks.boot.extend(self.hook(boot, folder)?);
        hooks.start.extend(self.hook(start, folder)?);
        Ok(hooks)
    }

    fn hook(
        &mut self,
        (key, node): (&'static str, Option<Node>),
        folder: bool,
    ) -> Result<Option<Hook>, PodfileError> {
        let Some(node) = node else { return Ok(None) };
        let Some(command) = self.command(key, &node)?.filter(|command| !command.is_empty()) else {
            return Ok(None);
        };
        let longest = longest(&command);
        if longest > MAX_SCRIPT && !self.variables.too_much {
            let reason = format!(
                "it has {longest} bytes, at most {MAX_SCRIPT} are allowed: put it into a script of the repository"
            );
            return Err(self.wrong(node.line, key, reason));
        }
        self.variables.asked_for_folder |= folder;
        let dir = folder.then(|| self.variables.container_folder.clone());
        Ok(Some(Hook { name: key.to_owned(), command, dir }))
    }

    fn command(&mut self, key: &str, node: &Node) -> Result<Option<HookCommand>, PodfileError> {
        if let Json::Object(_) = &node.value {
            let entries = self.object(node, key)?;
            if entries.len() > MAX_AT_ONCE {
                let reason =
                    format!("{} commands at the same time, at most {MAX_AT_ONCE} are allowed", entries.len());
                return Err(self.wrong(node.line, key, reason));
            }
            let mut commands = Vec::new();
            for (name, node) in entries {
                let command = self.simple(&format!("{key}.{name}"), node, "a text or a list of texts")?;
                commands.extend(
                    command.filter(|command| !command.is_empty()).map(|command| (name.clone(), command)),
                );
            }
            return Ok(Some(HookCommand::Parallel(commands)));
        }
        self.simple(key, node, "a text, a list of texts or an object")
    }

    fn simple(
        &mut self,
        key: &str,
        node: &Node,
        expected: &str,
    ) -> Result<Option<HookCommand>, PodfileError> {
        match &node.value {
            Json::Null => Ok(None),
            Json::Text(text) => {
                // The shell inside knows the container's environment.
                self.text_of(key, node, text, InContainer::Shell).map(|text| Some(HookCommand::Script(text)))
            }
            Json::List(items) => {
                let mut argv = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    let key = format!("{key}[{index}]");
                    let Json::Text(text) = &item.value else {
                        return Err(self.expected(item, &key, "a text"));
                    };
                    argv.push(self.text_of(&key, item, text, InContainer::Unknown)?);
                }
                if argv.first().is_some_and(String::is_empty) {
                    return Err(self.wrong(node.line, key, "the first item must name a program".into()));
                }
                Ok(Some(HookCommand::Argv(argv)))
            }
            _ => Err(self.expected(node, key, expected)),
        }
    }

    fn text_of(
        &mut self,
        key: &str,
        node: &Node,
        text: &str,
        inside: InContainer,
    ) -> Result<String, PodfileError> {
        if text.contains('\0') {
            return Err(self.wrong(node.line, key, "it contains a zero byte".into()));
        }
        Ok(self.variables.expand(text, inside))
    }
}
